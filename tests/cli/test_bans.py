"""``edgesbc bans`` against a running edge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from support.command_line import edgesbc
from support.running import at, nothing_left, policy_text, running, until
from support.ua import StreamWire, Ua, UdpWire

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.cli import main


async def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of ``edgesbc bans``."""
    return await edgesbc("bans", *arguments, "--state-dir", str(folder / "state"))


async def is_answered(app: App, host: str) -> bool:
    """Whether an OPTIONS from ``host`` is answered; otherwise it is dropped because of a ban."""
    before = app.edge.pipeline.counts.get(("penalties", "banned"), 0)
    async with Ua(await UdpWire.open(host, peer=at(app, "public-udp"))) as ua:
        await ua.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
        answered = trio.Event()

        async def hear() -> None:
            await ua.response(200)
            answered.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            await until(lambda: answered.is_set() or app.edge.pipeline.counts.get(("penalties", "banned"), 0) > before)
            nursery.cancel_scope.cancel()
        return answered.is_set()


async def test_a_ban_holds_at_once_closes_connections_and_is_removed(tmp_path: Path) -> None:
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app,
        Ua(await StreamWire.open(at(app, "public-tcp"), host="127.0.0.9")) as connected,
    ):
        await connected.dialog(f"sip:{at(app, 'public-tcp')}").send("OPTIONS")
        await connected.response(200)
        assert await is_answered(app, "127.0.0.9")
        done = await run(tmp_path, "add", "127.0.0.9/32", "--for", "10m", "--why", "complaint")
        assert done == (0, "127.0.0.9 is banned for 600 s\n", "")
        await until(lambda: not app.plane.connections)
        assert not await is_answered(app, "127.0.0.9")
        assert await is_answered(app, "127.0.0.8")
        code, output, _ = await run(tmp_path, "list", "--json")
        (ban,) = json.loads(output)["bans"]
        assert (code, ban["who"], ban["evidence"], ban["why"], ban["hits"]) == (
            0,
            "127.0.0.9",
            "operator",
            "complaint",
            1,
        )
        (sentence,) = app.why("127.0.0.9").sentences()[-1:]
        assert "complaint" in sentence
        assert await run(tmp_path, "remove", "127.0.0.9") == (0, "the order for 127.0.0.9 is taken back\n", "")
        assert await is_answered(app, "127.0.0.9")
        code, _, errors = await run(tmp_path, "remove", "127.0.0.9")
        assert (code, "there is no ban of 127.0.0.9" in errors) == (1, True)
        await nothing_left(app)


async def test_bans_of_the_edge_are_listed_lifted_and_ended_by_an_exemption(tmp_path: Path) -> None:
    """The window of pike is long, so that the sources are still in it when the command has started."""
    pike = "[screen.pike]\nsampling_time_unit = 600.0"
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], more=pike)) as app,
        Ua(await UdpWire.open("127.0.0.9", peer=at(app, "public-udp"))) as flooder,
    ):
        source = f"127.0.0.9:{flooder.wire.port}"

        async def flooded() -> bool:
            """Send 40 datagrams; whether the source is banned then. Just after a ban the kernel may still drop some."""
            for _ in range(40):
                await flooder.wire.send(b"nothing of use")
            return len(app.edge.pipeline.penalties) == 1

        assert (await run(tmp_path, "list"))[1] == "nobody is banned\n"
        await until(flooded)
        _, output, _ = await run(tmp_path, "list")
        assert output.startswith(f"{source}: datagrams are dropped for ")
        assert "for conduct (flow, unproven" in output
        assert "busiest in the last window of pike:" in output
        assert await run(tmp_path, "remove", source) == (0, f"1 ban of {source} lifted\n", "")
        await until(flooded)
        done = await run(tmp_path, "add", "127.0.0.0/24", "--exempt")
        assert done == (0, "127.0.0.0/24 is exempt until it is taken back\n1 ban lifted\n", "")
        assert len(app.edge.pipeline.penalties) == 0


async def test_the_trunks_that_a_ban_does_not_apply_to_are_named(tmp_path: Path) -> None:
    trunks = ["127.0.0.9", "127.0.1.0/24", "127.0.2.9:5060", "[::1]:5060"]
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], trunks=trunks)) as app:
        names = app.edge.pipeline.standings.trunks
        for name, prefix in zip(names, ("127.0.0.9", "127.0.1.7", "127.0.2.0/24", "::/0"), strict=True):
            warning = f"it does not hold for trunks ({name}): take them out of the policy instead"
            assert warning in (await run(tmp_path, "add", prefix))[1], prefix
        for order in (("add", "127.0.3.0/24"), ("add", "127.0.0.9", "--exempt")):
            assert "trunks" not in (await run(tmp_path, *order))[1], order
        assert await is_answered(app, "127.0.0.9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "192.0.2.0/33"), "expected an address or a prefix"),
        (("add", "edge.example"), "expected an address or a prefix"),
        (("remove", "[::1"), "expected an address or a prefix"),
        (("add", "192.0.2.1", "--for", "soon"), "expected a time as in 90, 10m, 2h or 7d; found 'soon'"),
        (("add", "192.0.2.1", "--for", "0"), "expected a time"),
    ],
)
async def test_a_mistake_is_refused_and_named(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app:
        code, output, errors = await run(tmp_path, *arguments)
        assert (code, output) == (2, "")
        assert message in errors
        assert not app.edge.pipeline.operator_bans


async def test_the_bound_on_orders_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "OPERATOR_BANS", 1)
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])):
        assert (await run(tmp_path, "add", "192.0.2.1"))[0] == 0
        code, _, errors = await run(tmp_path, "add", "192.0.2.2")
        assert (code, "1 orders already" in errors) == (2, True)


def test_without_an_edge_bans_fails(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["bans", "list", "--state-dir", str(tmp_path)])
    assert (result.exit_code, "no edge answers" in result.stderr) == (2, True)
