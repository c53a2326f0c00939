"""The shipped policies load, and run unchanged on any machine."""

from pathlib import Path

import attrs
import pytest

from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.load import load_policy
from edgesbc.policy.preflight import preflight

FOLDER = Path(__file__).parents[2] / "policies"


def test_the_shipped_files() -> None:
    names = ["demo.toml", "scanners.toml", "trunk.toml", "webrtc.toml"]
    assert sorted(path.name for path in FOLDER.iterdir()) == names


@pytest.mark.parametrize("name", ["demo.toml", "trunk.toml", "webrtc.toml"])
def test_a_shipped_policy_runs_here(name: str, tmp_path: Path) -> None:
    policy = load_policy(FOLDER / name)
    # Another program may have one of the ports on the machine that runs this: any free one will do.
    listen = [attrs.evolve(listener, bind=Source(listener.bind.host, 0)) for listener in policy.listen]
    http = attrs.evolve(policy.observe, http=Source("127.0.0.1", 0))
    edge = attrs.evolve(policy.edge, state_dir=tmp_path)
    assert preflight(attrs.evolve(policy, listen=listen, observe=http, edge=edge)) == []


def test_the_demo_uses_free_ports_and_every_transport() -> None:
    policy = load_policy(FOLDER / "demo.toml")
    public = {listener.transport for listener in policy.listen if listener.zone is Zone.PUBLIC}
    assert public == {Transport.UDP, Transport.TCP, Transport.TLS, Transport.WSS}
    assert {listener.bind.port for listener in policy.listen} == {0}
    assert policy.observe.http == Source("127.0.0.1", 0)


def test_the_listeners_of_the_trunk_policy() -> None:
    policy = load_policy(FOLDER / "trunk.toml")
    assert [listener.bind for listener in policy.listen] == [
        Source("127.0.0.1", 5060),
        Source("127.0.0.1", 5060),
        Source("127.0.0.2", 5060),
    ]
