"""The list of scanners: the shipped one, others in its place, and mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgesbc.base import limits
from edgesbc.base.errors import PolicyErrors
from edgesbc.policy import scanners as scanners_module
from edgesbc.policy.load import load_policy
from edgesbc.policy.scanners import read_scanners, shipped_scanners

SMALL = """
listen = [
  { zone = "public", transport = "udp", bind = "203.0.113.10:5060", name = "carriers" },
  { zone = "core", transport = "udp", bind = "10.0.0.1:5060", name = "inside" },
]
destinations = [{ set = "pbx", members = [{ uri = "sip:10.0.0.11:5060" }] }]
"""


def written(folder: Path, policy: str, scanners: str = "") -> Path:
    (folder / "mine.toml").write_text(scanners)
    (folder / "policy.toml").write_text(SMALL + policy)
    return folder / "policy.toml"


def test_the_shipped_list_is_the_default(tmp_path: Path) -> None:
    scanner = load_policy(written(tmp_path, "")).screen.scanner
    assert scanner.list == shipped_scanners()
    assert "friendly-scanner" in shipped_scanners().user_agents
    assert shipped_scanners().shape


def test_names_are_added_and_lists_replaced(tmp_path: Path) -> None:
    more = load_policy(written(tmp_path, '[screen.scanner]\nuser_agents = ["evilbot"]')).screen.scanner
    assert more.user_agents == ("evilbot",)
    assert more.list == shipped_scanners()
    lists = 'user_agents = ["x"]\n[[shape]]\nname = "y"\nheader = { Subject = "^z$" }\n'
    other = load_policy(written(tmp_path, '[screen.scanner]\nlist = "mine.toml"', lists)).screen.scanner.list
    assert other is not None
    assert other.user_agents == ("x",)
    assert [(shape.name, dict(shape.header)) for shape in other.shape] == [("y", {"Subject": "^z$"})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user_agent = []", "mine.toml: user_agent: unknown key; did you mean 'user_agents'?"),
        ('user_agents = "x"', "mine.toml: user_agents: expected a list, found 'x'"),
        ("shape = [{ name = 'x' }]", "shape[0].header: is missing"),
        ("shape = [{ name = 'x', header = {} }]", "shape[0].header: expected a pattern"),
        ("shape = [{ name = 'x', header = { Via = '(a+)+' } }]", "shape[0].header.Via: expected no repeat inside"),
        ("shape = [{ name = 'x', header = { Via = '(' } }]", "shape[0].header.Via: expected a regular expression"),
        ("shape = [{ name = 'x', header = { f = 'a' } }]", "shape[0].header.f: expected the name as it is usually"),
        ("=", "expected TOML"),
        ("a = " + "[" * 5000, "nested too deeply"),
        (f"user_agents = {['x'] * (limits.SCANNER_TEXTS + 1)}", "user_agents: expected at most 256, found 257"),
    ],
)
def test_mistakes_in_a_list_are_mistakes_of_the_policy(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(PolicyErrors) as caught:
        load_policy(written(tmp_path, '[screen.scanner]\nlist = "mine.toml"', text))
    (error,) = caught.value.errors
    assert error.key == "screen.scanner.list"
    assert expected in error.message


def test_a_missing_list_and_one_over_the_bound(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_scanners(tmp_path / "none.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (limits.POLICY_BYTES + 1))
    with pytest.raises(ValueError, match="expected at most"):
        read_scanners(tmp_path / "large.toml")


@pytest.mark.parametrize(("name", "right"), [("public", True), ("carriers", True), ("inside", False), ("x", False)])
def test_admission_names_existing_listeners(tmp_path: Path, name: str, right: bool) -> None:
    file = written(tmp_path, f'[screen.admission]\nopen = ["public", "{name}"]')
    if right:
        assert load_policy(file).screen.admission.open == ("public", name)
        return
    with pytest.raises(PolicyErrors) as caught:
        load_policy(file)
    (error,) = caught.value.errors
    assert error.key == "screen.admission.open[1]"
    assert error.message == f"expected public or a listener of that zone (carriers), found {name!r}"


def test_a_shipped_list_that_cannot_be_read_is_a_mistake_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the process has no free descriptor for it: a reload is refused then, and does not fail."""
    monkeypatch.setattr(scanners_module, "PACKAGE_FOLDER", tmp_path / "package")
    with pytest.raises(PolicyErrors) as refused:
        load_policy(written(tmp_path, ""))
    (error,) = refused.value.errors
    assert error.key == "screen.scanner.list"
    assert "cannot be read: No such file" in error.message
