"""A reload judges the connections that are open: those that the new policy would not accept are closed."""

from __future__ import annotations

from pathlib import Path

from support.running import CORE_UDP, PUBLIC_TCP, PUBLIC_UDP, at, listen, policy_text, running, until
from support.stream_listeners import assert_answered, read_to_end
from support.ua import StreamWire, Ua

from edgesbc.app import App
from edgesbc.policy.load import parse_policy

CORE_TCP = listen("core", "tcp", "127.0.0.2:0", "core-tcp")


def text(folder: Path, more: str = "", trunks: tuple[str, ...] = ()) -> str:
    listeners = (PUBLIC_UDP, PUBLIC_TCP, CORE_UDP, CORE_TCP)
    return policy_text(folder, ["sip:127.0.0.11:9"], listeners, more=more, trunks=trunks)


def reload(app: App, policy: str) -> None:
    app.active.adopt(app.active.assemble(parse_policy(policy, app.policy.file)))


async def test_a_server_that_is_not_allowed_any_more_and_a_removed_trunk_and_a_denied_address(tmp_path: Path) -> None:
    every = "[core]\nallow = ['127.0.0.0/8']\n"
    async with (
        running(tmp_path, text(tmp_path, every, trunks=("127.0.0.5",))) as app,
        Ua(await StreamWire.open(at(app, "core-tcp"), host="127.0.0.12")) as server,
        Ua(await StreamWire.open(at(app, "core-tcp"), host="127.0.0.13")) as allowed,
        Ua(await StreamWire.open(at(app, "public-tcp"), host="127.0.0.5")) as trunk,
        Ua(await StreamWire.open(at(app, "public-tcp"), host="127.0.0.6")) as denied,
        Ua(await StreamWire.open(at(app, "public-tcp"), host="127.0.0.7")) as stranger,
    ):
        await until(lambda: app.edge.connections == 5)
        reload(app, text(tmp_path, every, trunks=("127.0.0.5",)))
        assert app.edge.connections == 5
        reload(app, text(tmp_path, "[core]\nallow = ['127.0.0.13']\n[screen.acl]\ndeny = ['127.0.0.6']\n"))
        for closed in (server, trunk, denied):
            assert isinstance(closed.wire, StreamWire)
            assert await read_to_end(closed.wire.stream) == b""
        await until(lambda: app.edge.connections == 2)
        await assert_answered(allowed, f"sip:{at(app, 'core-tcp')}")
        await assert_answered(stranger, f"sip:{at(app, 'public-tcp')}")
        counts = app.edge.pipeline.counts
        assert (counts["core", "core-source"], counts["acl", "acl-denied"]) == (1, 1)
        assert "trunk" in " ".join(app.why("127.0.0.5").sentences())
