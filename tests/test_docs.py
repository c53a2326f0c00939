"""What is told to readers is what holds: keys and defaults, commands, links, policies, metrics and reason codes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs
import click
import pytest
from prometheus_client.metrics_core import Metric
from support.running import policy_text, running

from edgesbc.cli import main
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, SetSettings
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.policy.load import LISTS, TABLES, parse_policy
from edgesbc.policy.model import (
    ChangeSettings,
    EdgeSettings,
    ListenSettings,
    MediaAddress,
    MediaSettings,
    ObserveSettings,
    PortRange,
)
from edgesbc.routing.numbers import Rewrite
from edgesbc.routing.table import Route
from edgesbc.screen.misbehaviour import MisbehaviourSettings
from edgesbc.screen.settings import ScreenSettings
from edgesbc.screen.stages.acl import AclSettings, ListenerAcl
from edgesbc.screen.stages.admission import AdmissionSettings
from edgesbc.screen.stages.guess import GuessSettings
from edgesbc.screen.stages.method import MethodSettings
from edgesbc.screen.stages.overload import OverloadSettings
from edgesbc.screen.stages.pike import PikeSettings
from edgesbc.screen.stages.ratelimit import DEFAULT_BUCKETS, BucketSettings
from edgesbc.screen.stages.sanity import SanitySettings
from edgesbc.screen.stages.scanner import ScannerList, ScannerSettings
from edgesbc.screen.standing import Trunk

ROOT = Path(__file__).parents[1]
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")})
POLICY = (ROOT / "docs" / "reference" / "policy.md").read_text(encoding="utf-8")
METRICS = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")

SECTIONS: dict[str, type[Any]] = {
    "[edge]": EdgeSettings,
    "[[listen]]": ListenSettings,
    "[[trunk]]": Trunk,
    "[screen]": ScreenSettings,
    "[screen.conduct]": MisbehaviourSettings,
    "[screen.acl]": AclSettings,
    "[[screen.acl.listeners]]": ListenerAcl,
    "[screen.pike]": PikeSettings,
    "[[screen.ratelimit]]": BucketSettings,
    "[screen.sanity]": SanitySettings,
    "[screen.scanner]": ScannerSettings,
    "[screen.method]": MethodSettings,
    "[screen.guess]": GuessSettings,
    "[screen.admission]": AdmissionSettings,
    "[screen.overload]": OverloadSettings,
    "[[database]]": DatabaseSettings,
    "[[destinations]]": SetSettings,
    "[[destinations.members]]": MemberSettings,
    "[destinations.health]": HealthSettings,
    "[[route]]": Route,
    "[media]": MediaSettings,
    "[media.address]": MediaAddress,
    "[observe]": ObserveSettings,
    "[change]": ChangeSettings,
}
WORDS = {
    "text": "text", "path": "path", "number": "number", "list of texts": "list", "list of numbers": "list",
    "table of texts": "table", "table of numbers": "table", "text or list of texts": "own", "true or false": "truth",
    "word": "word", "address:port": "own", "host[:port]": "own", "address": "own",
}  # fmt: skip
COMPUTED = {
    "[edge] state_dir": "`/var/lib/edgesbc` for root, otherwise `$XDG_STATE_HOME/edgesbc` or `~/.local/state/edgesbc`",
    "[[listen]] name": "`ZONE-TRANSPORT-PORT`",
}
"""Defaults that are worked out from something else, as the page puts them."""


def rows(text: str) -> list[list[str]]:
    """The cells of every line of every table, heads left out; an escaped bar is no end of a cell."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def section(heading: str) -> str:
    """What stands under a heading of the policy page, up to the next heading."""
    found = re.search(rf"^##+ `{re.escape(heading)}`$(.*?)(?=^##|\Z)", POLICY, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/reference/policy.md has no section {heading}"
    return found[1]


def told(heading: str) -> dict[str, tuple[str, str]]:
    """Type and default of each key in the section's table."""
    return {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows(section(heading)) if cells[0].startswith("`")}


def keys(cls: type[Any]) -> dict[str, attrs.Attribute[Any]]:
    """The keys that have a row: tables of their own have a section."""
    attrs.resolve_types(cls)
    fields = {field.name.rstrip("_"): field for field in attrs.fields(cls) if field.init}
    return {name: field for name, field in fields.items() if not inner(field.type)}


def inner(type_: Any) -> type[Any] | None:
    """The settings class of a nested table, or list of tables."""
    of = get_args(type_)[0] if get_origin(type_) is tuple else type_
    return of if of in SECTIONS.values() else None


def as_toml(field: attrs.Attribute[Any]) -> str:
    """The default as the page writes it."""
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = default.factory()  # type: ignore[union-attr]
    if default is attrs.NOTHING:
        return "required"
    if default is None or (default == "" and "structure" in field.metadata):
        return "-"
    if isinstance(default, PortRange):
        default = f"{default.first}-{default.last}"
    elif isinstance(default, tuple) and hasattr(default, "port"):
        default = str(default)
    return f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def kind(field: attrs.Attribute[Any]) -> str:
    if "structure" in field.metadata:
        return "text" if field.type is PortRange else "own"
    type_ = next((each for each in get_args(field.type) if each is not type(None)), field.type)
    origin = get_origin(field.type)
    if origin is tuple:
        return "list"
    if origin is Mapping:
        return "table"
    known = {
        str: "text",
        int: "number",
        float: "number",
        bool: "truth",
        Path: "path",
        ScannerList: "path",
        Rewrite: "table",
    }
    return known.get(type_, "word")


# --- the policy page ---------------------------------------------------------------------------------------


def test_every_settings_class_has_a_section() -> None:
    reached: set[type[Any]] = set()
    waiting = [*TABLES.values(), *LISTS.values()]
    while waiting:
        cls = waiting.pop()
        reached.add(cls)
        attrs.resolve_types(cls)
        for field in attrs.fields(cls):
            of = get_args(field.type)[0] if get_origin(field.type) is tuple else field.type
            if attrs.has(of) and of is not PortRange and of not in reached:
                waiting.append(of)
    assert reached == set(SECTIONS.values())


def test_the_page_has_no_other_section() -> None:
    assert re.findall(r"^##+ `(.*)`$", POLICY, re.MULTILINE) == list(SECTIONS)


@pytest.mark.parametrize("heading", SECTIONS)
def test_keys_defaults_and_types_are_those_of_the_code(heading: str) -> None:
    page, code = told(heading), keys(SECTIONS[heading])
    assert sorted(page) == sorted(code)
    for name, field in code.items():
        of_type, default = page[name]
        wanted = COMPUTED.get(f"{heading} {name}") or as_toml(field)
        assert default == wanted, f"{heading} {name}"
        assert WORDS[of_type] == kind(field), f"{heading} {name} is told to be: {of_type}"


def test_the_examples_together_are_one_policy_with_every_key() -> None:
    text = "\n".join(blocks(POLICY))
    parse_policy(text, str(ROOT / "policies" / "example.toml"))  # paths in it are relative to that folder
    for heading, cls in SECTIONS.items():
        found = in_tables(tomllib.loads(text), heading.strip("[]").split("."))
        written = {key for table in found for key in table}
        assert set(keys(cls)) <= written, f"the example of {heading} leaves out a key"


def in_tables(data: Any, path: list[str]) -> list[dict[str, Any]]:
    """The tables at a dotted path, lists of tables on the way gone through."""
    tables = data if isinstance(data, list) else [data]
    if not path:
        return tables
    return [each for table in tables if path[0] in table for each in in_tables(table[path[0]], path[1:])]


def test_the_buckets_that_are_there_by_default_are_told() -> None:
    (text,) = blocks(section("[[screen.ratelimit]]"))
    buckets = tomllib.loads(text)["screen"]["ratelimit"]
    assert [BucketSettings(**{**each, "methods": tuple(each["methods"])}) for each in buckets] == list(DEFAULT_BUCKETS)


# --- all pages ---------------------------------------------------------------------------------------------


def blocks(text: str, language: str = "toml") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_policies_in_the_pages_are_sound() -> None:
    whole = 0
    for page in PAGES:
        for text in blocks(page.read_text(encoding="utf-8")):
            data = tomllib.loads(text)
            if {"listen", "destinations"} <= set(data):
                whole += 1
                parse_policy(text, str(page))
    assert whole > 0


def commands(text: str) -> Iterator[str]:
    """What pages show as a command line of the edge, in a block or between backticks."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield from re.findall(r"^(?:[#$] )?(?:ExecStart=)?(?:\S*/)?edgesbc +([^#\n]+)", block, re.MULTILINE)
    yield from re.findall(r"`(?:\S*/)?edgesbc +([^`\n]+)`", text)


def test_every_command_in_the_pages_exists() -> None:
    found = {command for page in PAGES for command in commands(page.read_text(encoding="utf-8"))}
    assert len(found) > 4
    for line in sorted(found):
        command: click.Command = main
        for word in line.split():
            if word.startswith("--"):
                known = {option for each in command.params for option in each.opts} | {"--help", "--version"}
                assert word in known, f"edgesbc {line}"
            elif isinstance(command, click.Group):
                assert word in command.commands, f"edgesbc {line}"
                command = command.commands[word]
        assert not isinstance(command, click.Group) or line.startswith("--"), f"edgesbc {line}"


def test_every_make_target_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert {one or other for one, other in named} <= targets, page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


# --- the page of RFCs --------------------------------------------------------------------------------------

CONFORMANCE = (ROOT / "docs" / "reference" / "conformance.md").read_text(encoding="utf-8")
DEVIATIONS = ROOT / "docs" / "reference" / "deviations.md"
TOLD = [cells for cells in rows(CONFORMANCE) if cells[0] != "section"]
_LINK = re.compile(r"\[[^\]]*\]\(([^)]*)\)")


def test_every_row_says_what_holds_and_where_that_can_be_seen() -> None:
    assert len(TOLD) > 100
    for section, asked, edge, code, shown in TOLD:
        row = f"{section} {asked}"
        files, tests = (set(_LINK.findall(cell)) for cell in (code, shown))
        assert asked, row
        assert re.match(r"(kept|differs|absent)\b", edge), row
        assert edge.startswith("absent") or (files and tests), row
        assert all(link.startswith("../../edgesbc/") and link.endswith(".py") for link in files), row
        assert all(link.startswith("../../tests/") and "/test_" in link for link in tests), row
        if "differs" in edge:
            assert "](deviations.md#" in edge, row
        for cell in (code, shown):
            assert all(f"[{Path(link).stem.removeprefix('test_')}]" in cell for link in _LINK.findall(cell)), row


def test_no_link_of_the_page_is_left_out_of_its_tables() -> None:
    in_cells = {link for cells in TOLD for cell in cells for link in _LINK.findall(cell)}
    assert {link for link in _LINK.findall(CONFORMANCE) if link.startswith("../../")} == {
        link for link in in_cells if link.startswith("../../")
    }


def test_every_departure_from_an_rfc_is_found_from_its_row() -> None:
    text = DEVIATIONS.read_text(encoding="utf-8")
    named = set(re.findall(r"RFC (\d+)", text))
    assert len(named) > 20
    headings = "\n".join(re.findall(r"^## (.*)$", CONFORMANCE, re.MULTILINE))
    assert named <= set(re.findall(r"RFC (\d+)", headings)) | set(
        re.findall(r"\b\d{4}\b", "\n".join(c[0] for c in TOLD))
    )
    linked = set(re.findall(r"\(deviations\.md#([^)]*)\)", "\n".join(cells[2] for cells in TOLD)))
    assert linked == anchors(DEVIATIONS) - {"deviations-from-the-rfcs"}


def test_every_section_of_rfc_3261_with_a_departure_has_a_row() -> None:
    """A row of the deviations begins with its sections; here one may be told under what it is a part of."""
    rules = [cells[0] for cells in rows(DEVIATIONS.read_text(encoding="utf-8")) if "RFC" not in cells[0]]
    departed = {each for rule in rules for each in re.findall(r"\b\d+(?:\.\d+)+\b", rule)}
    assert len(departed) > 30
    part_3261 = CONFORMANCE.partition("## RFC 3261")[2].partition("\n## ")[0]
    there = {each for cells in rows(part_3261) for each in re.findall(r"\b\d+(?:\.\d+)*\b", cells[0])}
    missing = {each for each in departed if not any(f"{each}.".startswith(f"{one}.") for one in there)}
    assert missing == set()


# --- the page of threats -----------------------------------------------------------------------------------

THREATS = [
    cells for cells in rows((ROOT / "docs" / "reference" / "threats.md").read_text(encoding="utf-8")) if cells[0] != "#"
]


def named_in(cell: str) -> Iterator[tuple[Path, str]]:
    """File and name of every test in a cell: a link, and the names of tests in that file behind it."""
    for link, names in re.findall(r"\]\(\.\./\.\.(/tests/[^)]+)\)((?: `\w+`,?)+)", cell):
        yield from ((ROOT / link[1:], name) for name in re.findall(r"`(\w+)`", names))


def test_the_threats_are_numbered_without_a_gap() -> None:
    assert [cells[0] for cells in THREATS] == [str(number) for number in range(1, len(THREATS) + 1)]
    assert len(THREATS) >= 38


@pytest.mark.parametrize("cells", THREATS, ids=[cells[0] for cells in THREATS])
def test_every_threat_names_a_test_that_exists(cells: list[str]) -> None:
    _, threat, edge, shown = cells
    assert threat
    assert edge
    found = list(named_in(shown))
    assert found or (edge.startswith("not there yet") and shown == "-")
    assert len(found) == len(re.findall(r"`\w+`", shown)), "a name stands behind no link"
    for file, name in found:
        assert re.search(rf"^(?:async )?def {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE), name


def test_every_test_of_a_threat_is_found_from_its_row() -> None:
    """Those in tests/threats that carry a number in their name."""
    named = {(cells[0], name) for cells in THREATS for _, name in named_in(cells[3])}
    for file in (ROOT / "tests" / "threats").glob("test_*.py"):
        for name, number in re.findall(r"^(?:async )?def (test_(\d+)_\w+)\(", file.read_text("utf-8"), re.MULTILINE):
            assert (number, name) in named, f"{name} is not in row {number} of docs/reference/threats.md"


# --- the page for operators --------------------------------------------------------------------------------


async def test_metrics_are_those_that_a_running_edge_exposes(tmp_path: Path) -> None:
    page = {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows(METRICS) if cells[0].startswith("`")}
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:5060"])) as app:
        families = list(app.metrics.registry.collect())
    own = {exposed(each): (each.type, labels(each)) for each in families if each.name.startswith("edgesbc_")}
    assert page == own
    others = {exposed(each) for each in families if not each.name.startswith("edgesbc_")}
    assert others == set(re.findall(r"`(process_\w+)`", METRICS))


def exposed(family: Metric) -> str:
    """The name that a scrape shows."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def labels(family: Metric) -> str:
    return ", ".join(f"`{name}`" for name in getattr(family, "_labelnames", ())) or "-"
