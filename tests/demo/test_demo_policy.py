"""The policy of a demo run: the shipped file with the addresses and folders of the run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from edgesbc.base.address import Source
from edgesbc.demo.demo_policy import shipped_policy, to_toml, write_policy
from edgesbc.policy.load import load_policy

PBXS = (Source("127.0.0.11", 4001), Source("127.0.0.12", 4002))


def test_the_policy_is_the_shipped_one_with_the_addresses_of_this_run(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    write_policy(path, PBXS, tmp_path / "state", tmp_path / "certs")
    policy, shipped = load_policy(path), load_policy(shipped_policy())
    assert policy.edge.state_dir == tmp_path / "state"
    assert [member.uri for member in policy.destinations[0].members] == ["sip:127.0.0.11:4001", "sip:127.0.0.12:4002"]
    assert {listener.certificate for listener in policy.listen if listener.transport.secure} == {tmp_path / "certs"}
    assert policy.trunk == shipped.trunk
    assert policy.screen == shipped.screen
    assert [member.weight for member in policy.destinations[0].members] == [2, 1]


def test_without_probes(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    write_policy(path, PBXS, tmp_path, tmp_path, probe=False)
    assert load_policy(path).destinations[0].health.interval == 0


def test_every_bind_is_loopback_and_free() -> None:
    for listener in load_policy(shipped_policy()).listen:
        assert listener.bind.host.startswith("127.")
        assert listener.bind.port == 0


def test_toml_is_read_back_unchanged() -> None:
    table = {
        "edge": {"name": 'a "quoted" \\ name\n', "grace": 2.5, "on": True, "empty": {}},
        "listen": [{"x": 1, "deep": {"list": ["é", "b"]}}, {}],
    }
    assert tomllib.loads(to_toml(table)) == table


def test_a_value_without_a_form_in_toml_is_refused() -> None:
    with pytest.raises(TypeError):
        to_toml({"x": None})
