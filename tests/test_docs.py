"""The documentation agrees with the code: keys and defaults, commands, links, example policies and metrics."""

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
from edgesbc.dispatch.settings import HealthSettings, MemberSettings, ProbeSettings, SetSettings
from edgesbc.inventory.databases import DatabaseSettings
from edgesbc.ng.flags import FLAGS, KEYS
from edgesbc.ng.flags import LISTS as LISTS_OF_WORDS
from edgesbc.ng.server import COMMANDS
from edgesbc.ng.settings import RtpengineSettings
from edgesbc.policy.load import LISTS, TABLES, parse_policy
from edgesbc.policy.model import (
    BodySettings,
    ChangeSettings,
    CoreSettings,
    EdgeSettings,
    HeaderSettings,
    ListenSettings,
    MediaAddress,
    MediaSettings,
    ObserveSettings,
    PortRange,
    RegistrationSettings,
)
from edgesbc.routing.domains import DomainSettings
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
from edgesbc.screen.trunk import Trunk
from edgesbc.screen.work import WorkSettings

ROOT = Path(__file__).parents[1]
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")})
POLICY = (ROOT / "docs" / "reference" / "policy.md").read_text(encoding="utf-8")
NAMED_PAGE = re.compile(r"\bdocs/(?:[\w-]+/)*[\w-]+(?:\.md|\.py)?")
METRICS = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")

SECTIONS: dict[str, type[Any]] = {
    "[edge]": EdgeSettings,
    "[[listen]]": ListenSettings,
    "[[trunk]]": Trunk,
    "[screen]": ScreenSettings,
    "[screen.conduct]": MisbehaviourSettings,
    "[screen.work]": WorkSettings,
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
    "[destinations.probe]": ProbeSettings,
    "[[route]]": Route,
    "[registrations]": RegistrationSettings,
    "[core]": CoreSettings,
    "[domains]": DomainSettings,
    "[headers]": HeaderSettings,
    "[bodies]": BodySettings,
    "[media]": MediaSettings,
    "[media.address]": MediaAddress,
    "[media.advertise]": MediaAddress,
    "[[media.rtpengine]]": RtpengineSettings,
    "[observe]": ObserveSettings,
    "[change]": ChangeSettings,
}
KINDS = {
    "text": "text", "path": "path", "number": "number", "list of texts": "list", "list of numbers": "list",
    "table of texts": "table", "table of numbers": "table", "text or list of texts": "own", "true or false": "truth",
    "word": "word", "address:port": "own", "host[:port]": "own", "address or list of addresses": "own",
}  # fmt: skip
COMPUTED = {
    "[edge] state_dir": "`/var/lib/edgesbc` for root, otherwise `$XDG_STATE_HOME/edgesbc` or `~/.local/state/edgesbc`",
    "[[listen]] name": "`ZONE-TRANSPORT-PORT`",
    "[media.address] public": "-",
    "[media.address] core": "-",
    "[media.advertise] public": "-",
    "[media.advertise] core": "-",
}
"""Defaults that are computed, as the page writes them."""


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, without separator rows; an escaped bar does not end a cell."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def section(heading: str) -> str:
    """The text under a heading of the policy page, up to the next heading."""
    match = re.search(rf"^##+ `{re.escape(heading)}`$(.*?)(?=^##|\Z)", POLICY, re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/reference/policy.md has no section {heading}"
    return match[1]


def documented(heading: str) -> dict[str, tuple[str, str]]:
    """The type and default of each key in the table of the section."""
    return {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows(section(heading)) if cells[0].startswith("`")}


def keys(cls: type[Any]) -> dict[str, attrs.Attribute[Any]]:
    """The keys that have a row. Nested tables have a section instead."""
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
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def kind(field: attrs.Attribute[Any]) -> str:
    if "structure" in field.metadata:
        return "text" if field.type is PortRange else "own"
    type_ = next((member for member in get_args(field.type) if member is not type(None)), field.type)
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
    page, code = documented(heading), keys(SECTIONS[heading])
    assert sorted(page) == sorted(code)
    for name, field in code.items():
        of_type, default = page[name]
        wanted = COMPUTED.get(f"{heading} {name}") or as_toml(field)
        assert default == wanted, f"{heading} {name}"
        assert KINDS[of_type] == kind(field), f"{heading} {name} is documented as: {of_type}"


def test_the_examples_together_are_one_policy_with_every_key() -> None:
    text = "\n".join(blocks(POLICY))
    parse_policy(text, str(ROOT / "policies" / "example.toml"))  # paths in it are relative to that folder
    for heading, cls in SECTIONS.items():
        tables = in_tables(tomllib.loads(text), heading.strip("[]").split("."))
        written = {key for table in tables for key in table}
        assert set(keys(cls)) <= written, f"the example of {heading} leaves out a key"


def in_tables(data: Any, path: list[str]) -> list[dict[str, Any]]:
    """The tables at a dotted path, through lists of tables."""
    tables = data if isinstance(data, list) else [data]
    if not path:
        return tables
    return [inner for table in tables if path[0] in table for inner in in_tables(table[path[0]], path[1:])]


def test_the_default_buckets_are_documented() -> None:
    (text,) = blocks(section("[[screen.ratelimit]]"))
    buckets = tomllib.loads(text)["screen"]["ratelimit"]
    assert [BucketSettings(**{**bucket, "methods": tuple(bucket["methods"])}) for bucket in buckets] == list(
        DEFAULT_BUCKETS
    )


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
    """The command lines of the edge in a page, in a block or between backticks."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield from re.findall(r"^(?:[#$] )?(?:ExecStart=)?(?:\S*/)?edgesbc +([^#\n]+)", block, re.MULTILINE)
    yield from re.findall(r"`(?:\S*/)?edgesbc +([^`\n]+)`", text)


def test_every_command_in_the_pages_exists() -> None:
    lines = {command for page in PAGES for command in commands(page.read_text(encoding="utf-8"))}
    assert len(lines) > 4
    for line in sorted(lines):
        command: click.Command = main
        for word in line.split():
            if word.startswith("--"):
                known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
                assert word in known, f"edgesbc {line}"
            elif isinstance(command, click.Group):
                assert word in command.commands, f"edgesbc {line}"
                command = command.commands[word]
        assert not isinstance(command, click.Group) or line.startswith("--"), f"edgesbc {line}"


def test_every_make_target_in_the_pages_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert {in_block or in_text for in_block, in_text in named} <= targets, page


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


def test_every_row_of_the_threats_names_its_tests_and_every_test_of_a_threat_its_row() -> None:
    page = ROOT / "docs" / "reference" / "threats.md"
    named: dict[int, set[tuple[Path, str]]] = {}
    for number, _, claim, shown_by in rows(page.read_text(encoding="utf-8"))[1:]:
        tests = named[int(number)] = set()
        for label, target, names in re.findall(r"\[(\w+)\]\(([^)]+)\)((?:,? `\w+`)*)", shown_by):
            file = (page.parent / target).resolve()
            assert file.name == f"test_{label}.py", f"row {number}"
            tests.update((file, name) for name in re.findall(r"`(\w+)`", names))
        assert len(tests) == shown_by.count("`test_"), f"row {number} names a test twice, or without its file"
        assert tests or claim.startswith("not there yet"), f"row {number} names no test"
    assert list(named) == list(range(1, len(named) + 1))
    missing = [
        f"row {number}: {name}" for number, tests in named.items() for file, name in tests if not has(file, name)
    ]
    assert missing == []
    everywhere = {test for tests in named.values() for test in tests}
    for file in ROOT.glob("tests/threats/test_*.py"):
        for name, number in re.findall(r"^(?:async )?def (test_(?:(\d+)_)?\w+)", file.read_text("utf-8"), re.MULTILINE):
            assert (file, name) in (named[int(number)] if number else everywhere), f"{file.name}: {name}"


def has(file: Path, test: str) -> bool:
    return re.search(rf"^(?:async )?def {test}\(", file.read_text(encoding="utf-8"), re.MULTILINE) is not None


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    targets = re.findall(r"\]\(([^)\s#]+)", index.read_text(encoding="utf-8"))
    linked = {(index.parent / target).resolve() for target in targets}
    pages = {page for page in ROOT.glob("docs/*/*.md") if page.parent.name != "adr"}
    assert len(pages) > 20
    assert pages <= linked


def test_the_index_of_decisions_lists_every_record() -> None:
    folder = ROOT / "docs" / "adr"
    linked = re.findall(r"\]\((\d{4}-[^)]*)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert linked == [record.name for record in sorted(folder.glob("0*.md"))]


def test_pages_that_other_files_name_exist() -> None:
    """Paths as ``docs/reference/policy.md`` in code, example policies, the Makefile and configuration."""
    sources = [ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("policies/*.toml")]
    for folder in ("edgesbc", "bench", "docs", "fuzz", "tests"):
        sources += ROOT.glob(f"{folder}/**/*.py")
    named = [(path, source) for source in sources for path in NAMED_PAGE.findall(source.read_text(encoding="utf-8"))]
    assert len(named) > 5
    missing = [f"{source.relative_to(ROOT)}: {path}" for path, source in named if not list(ROOT.glob(f"{path}*"))]
    assert missing == []


# --- the NG protocol ------------------------------------------------------------------------


def test_the_page_of_the_ng_protocol_has_every_key_flag_and_word() -> None:
    page = (ROOT / "docs" / "reference" / "ng.md").read_text(encoding="utf-8")
    sections = {text.partition("\n")[0]: text for text in page.split("\n## ")}
    words = {f"{name}-{word or '*'}": known for name, table in LISTS_OF_WORDS.items() for word, known in table.items()}
    for heading, table in (("Keys", KEYS), ("Flags", FLAGS), ("Words of other lists", words)):
        shown = [cells for cells in rows(sections[heading]) if cells[0].startswith("`")]
        assert shown == [[f"`{name}`", known.effect.value, known.note] for name, known in table.items()]
    commands = [cells[0].strip("`") for cells in rows(sections["Commands"]) if cells[0].startswith("`")]
    options = [cells[0].strip("`").split(" ")[0] for cells in rows(sections["Options"]) if cells[0].startswith("`")]
    assert sorted(commands) == sorted(COMMANDS)
    own = [name for option in main.commands["media"].params for name in option.opts]
    assert sorted(options) == sorted(name for name in own if not name.startswith("--log-"))


# --- metrics --------------------------------------------------------------------------------


async def test_the_metrics_are_those_of_a_running_edge(tmp_path: Path) -> None:
    page = {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows(METRICS) if cells[0].startswith("`")}
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:5060"])) as app:
        families = list(app.metrics.registry.collect())
    own = {exposed(family): (family.type, labels(family)) for family in families if family.name.startswith("edgesbc_")}
    assert page == own
    others = {exposed(family) for family in families if not family.name.startswith("edgesbc_")}
    assert others == set(re.findall(r"`(process_\w+)`", METRICS))


def exposed(family: Metric) -> str:
    """The name that a scrape shows."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def labels(family: Metric) -> str:
    return ", ".join(f"`{name}`" for name in getattr(family, "_labelnames", ())) or "-"
