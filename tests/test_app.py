"""A whole edge: signals, reload, readiness, metrics, and internal errors."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from support.running import (
    PATIENCE,
    EdgeProcess,
    at,
    edge_process,
    free_port,
    listen,
    nothing_left,
    policy_text,
    running,
    until,
)
from support.ua import Rtp, Ua, UdpWire, set_up, talk

from edgesbc.base.address import Flow, Source
from edgesbc.screen.operator_bans import OperatorBan
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.stages.sanity import Sanity
from edgesbc.screen.standing import Standing
from edgesbc.signalling.edge import Edge
from edgesbc.store import bans
from edgesbc.store.policy_log import Outcome, PolicyLog
from edgesbc.store.proven_flows import FILE


def text_for(folder: Path, public: Source, http: int, *members: Ua, edge: str = "grace = 1") -> str:
    listeners = [listen("public", "udp", str(public), "public-udp"), listen("core", "udp", "127.0.0.2:0", "core-udp")]
    uris = [f"sip:{member.address}" for member in members]
    return policy_text(folder, uris, listeners, trunks=["127.0.0.1"], http=f"127.0.0.1:{http}", edge=edge)


@asynccontextmanager
async def edge_before(folder: Path, *members: Ua, edge: str = "grace = 1") -> AsyncIterator[tuple[EdgeProcess, Source]]:
    public, http = Source("127.0.0.1", free_port()), free_port()
    async with edge_process(folder, text_for(folder, public, http, *members, edge=edge), http) as process:
        yield process, public


async def test_sigterm_drains(tmp_path: Path) -> None:
    """The edge is not ready, refuses new calls, lets live ones go on for the grace period, then sends BYE to both sides
    and exits with 0."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_before(tmp_path, bob) as (edge, public),
        Ua(await UdpWire.open(peer=public)) as alice,
        Ua(await UdpWire.open(peer=public)) as late,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        assert await edge.ready()
        await set_up(alice, bob, f"sip:100@{public}", near, far)
        edge.signal(signal.SIGTERM)
        await until(edge.unready)
        assert json.loads((await edge.get("/readyz"))[1])["reasons"]["signalling"] == "draining"
        assert (await edge.get("/healthz"))[0] == 200
        await late.dialog(f"sip:100@{public}").send("INVITE")
        refused = await late.response(503)
        assert (refused.get("Retry-After") or "").isdigit()
        await talk(near, far, 3)
        for ua in (bob, alice):
            bye = await ua.request("BYE")
            assert "draining" in (bye.get("Reason") or "")
            await ua.answer(bye, 200)
        assert await edge.ended() == 0


async def test_without_calls_sigterm_ends_at_once(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_before(tmp_path, bob, edge="grace = 3600") as (
            edge,
            _,
        ),
    ):
        edge.signal(signal.SIGTERM)
        assert await edge.ended() == 0


async def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_before(tmp_path, bob, edge="grace = 3600") as (edge, public),
        Ua(await UdpWire.open(peer=public)) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        await set_up(alice, bob, f"sip:100@{public}", near, far)
        edge.signal(signal.SIGTERM)
        await until(edge.unready)
        edge.signal(signal.SIGTERM)
        assert await edge.ended() == 1
        assert "Traceback" not in (tmp_path / "edge.log").read_text()


async def test_sighup_reloads_the_policy_and_one_with_mistakes_changes_nothing(tmp_path: Path) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        Ua(await UdpWire.open("127.0.0.12"), "carol") as carol,
        edge_before(tmp_path, bob) as (edge, public),
        Ua(await UdpWire.open(peer=public)) as alice,
    ):
        (started,) = PolicyLog(tmp_path / "state").entries()  # written before the edge serves
        assert (started.outcome, started.text) == (Outcome.STARTED, edge.file.read_text())
        await is_called(alice, public, bob)
        edge.file.write_text(text_for(tmp_path, public, edge.http, carol))
        edge.signal(signal.SIGHUP)
        await until(lambda: log_says(tmp_path, Outcome.RELOADED))
        await is_called(alice, public, carol)
        edge.file.write_text(text_for(tmp_path, public, edge.http, bob).replace("grace", "graze"))
        edge.signal(signal.SIGHUP)
        await until(lambda: log_says(tmp_path, Outcome.REFUSED))
        await is_called(alice, public, carol)
        assert "edge.graze" in (tmp_path / "edge.log").read_text()


async def test_a_reload_that_does_not_end_keeps_the_edge_neither_from_calls_nor_from_its_end(tmp_path: Path) -> None:
    """As where the policy is on a file system that does not answer; here it has become a pipe without a writer."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        edge_before(tmp_path, bob) as (edge, public),
        Ua(await UdpWire.open(peer=public)) as alice,
    ):
        edge.file.unlink()
        os.mkfifo(edge.file)
        for _ in range(3):
            edge.signal(signal.SIGHUP)
            await is_called(alice, public, bob)
        edge.signal(signal.SIGTERM)
        assert await edge.ended() == 0
        assert "Traceback" not in (tmp_path / "edge.log").read_text()


def log_says(folder: Path, outcome: Outcome) -> bool:
    """Whether the newest entry of the policy log has this outcome."""
    return PolicyLog(folder / "state").entries(1)[0].outcome is outcome


async def is_called(alice: Ua, public: Source, called: Ua) -> None:
    """A call from ``alice`` comes to ``called``, which refuses it."""
    await alice.dialog(f"sip:100@{public}").send("INVITE")
    invite = await called.request("INVITE")
    await called.answer(invite, 486, tag="b")
    await alice.response(486)
    await called.request("ACK")


async def test_text_of_peers_makes_no_series_of_metrics(tmp_path: Path) -> None:
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):

        async def ask(count: int) -> int:
            for _ in range(count):
                extra = (f"User-Agent: {secrets.token_hex(8)}", f"X-{secrets.token_hex(4)}: 1")
                await alice.dialog(f"sip:{secrets.token_hex(4)}@{at(app, 'public-udp')}").send("OPTIONS", extra=extra)
                await alice.response(200)
            await alice.dialog(f"sip:a@{at(app, 'public-udp')}").send(secrets.token_hex(4).upper())
            await alice.response(405)
            return len(app.metrics.render().splitlines())

        assert await ask(1) == await ask(300)


async def test_a_stage_that_fails_costs_the_message_and_not_the_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Sanity.judge

    def fails(self, subject, phase, now):
        if subject.request is not None and subject.request.get("Subject") == "trip":
            raise KeyError("a fault of ours")
        return judge(self, subject, phase, now)

    monkeypatch.setattr(Sanity, "judge", fails)
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        uri = f"sip:{at(app, 'public-udp')}"
        for _ in range(3):
            await alice.dialog(uri).send("OPTIONS", extra=("Subject: trip",))
            await alice.response(500)
            await alice.dialog(uri).send("OPTIONS")
            await alice.response(200)
        assert app.edge.pipeline.counts["sanity", "internal"] == 3
        await nothing_left(app)


async def test_a_fault_in_the_signalling_core_costs_the_message_and_not_the_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"], trunks=["127.0.0.1"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        uri = f"sip:{at(app, 'public-udp')}"
        with monkeypatch.context() as patch:
            patch.setattr(Pipeline, "packet", lambda *_: 1 / 0)  # an error that no message can cause
            await alice.dialog(f"sip:100@{at(app, 'public-udp')}").send("INVITE")
            await until(lambda: app.plane.counts.get(("public-udp", "internal"), 0) == 1)
        await alice.dialog(uri).send("OPTIONS")
        await alice.response(200)


@pytest.mark.parametrize(
    "method",
    [Edge.flow_closed, Edge.expire, Edge.stream_broken, Edge.accept, Edge.new_flow],
    ids=lambda method: method.__name__,
)
async def test_a_fault_in_any_call_of_the_signalling_core_does_not_end_the_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Callable[..., object]
) -> None:
    faults = 0

    def fails(*_: object) -> None:
        nonlocal faults
        faults += 1
        monkeypatch.undo()
        raise KeyError("a fault of ours")

    dead = f"sip:127.0.0.11:{free_port('127.0.0.11')}"
    async with running(tmp_path, policy_text(tmp_path, [dead], health="interval = 0.1")) as app:
        monkeypatch.setattr(Edge, method.__name__, fails)
        stream = await trio.open_tcp_stream(*at(app, "public-tcp"))
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await stream.aclose()
        await until(lambda: faults == 1)
        async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice:
            await alice.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
            await alice.response(200)


async def test_a_second_edge_on_the_same_port_is_refused_with_its_key(tmp_path: Path) -> None:
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob, edge_before(tmp_path, bob) as (edge, _):
        command = [sys.executable, "-m", "edgesbc", "run", str(edge.file)]
        with trio.fail_after(PATIENCE):
            second = await trio.run_process(command, check=False, capture_stderr=True, capture_stdout=True)
        assert second.returncode == 2
        assert b"listen[0].bind" in second.stderr
        assert b"observe.http" in second.stderr


async def test_the_edge_runs_without_a_usable_policy_log(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "edgesbc.sqlite").write_bytes(b"no database" * 100)
    async with (
        running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
    ):
        await app.reload()
        await alice.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
        await alice.response(200)


async def test_an_edge_that_has_ended_keeps_no_state_file_open(tmp_path: Path) -> None:
    """A program that embeds it goes on."""
    state = tmp_path / "state"
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app:
        source = Flow(app.listeners[0], Source("127.0.0.8", 5060))
        app.edge.pipeline.standings.prove(source, Standing.REACHABLE, trio.current_time())
        await until(lambda: (state / FILE).exists())
    opened = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)]
    assert not [path for path in opened if path.startswith(str(state))]


def _is_open(name: str) -> bool:
    """Whether it is a descriptor still: that of the listing is closed by now."""
    return Path(f"/proc/self/fd/{name}").is_symlink()


async def test_bans_outlive_a_restart(tmp_path: Path) -> None:
    text = policy_text(tmp_path, ["sip:127.0.0.11:9"], edge="grace = 0")
    async with running(tmp_path, text) as app:
        app.edge.pipeline.operator_bans.put(
            OperatorBan("127.0.0.9/32", False, trio.current_time(), None, "test", "abuse")
        )
        app.drain()
        await until(lambda: (tmp_path / "state" / bans.FILE).exists())
    async with running(tmp_path, text) as app:
        assert [(order.prefix, order.why) for order in app.edge.pipeline.operator_bans] == [("127.0.0.9/32", "abuse")]
        async with (
            Ua(await UdpWire.open("127.0.0.9", peer=at(app, "public-udp"))) as banned,
            Ua(await UdpWire.open("127.0.0.8", peer=at(app, "public-udp"))) as other,
        ):
            await banned.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
            await until(lambda: app.edge.pipeline.counts.get(("penalties", "banned"), 0) == 1)
            await other.dialog(f"sip:{at(app, 'public-udp')}").send("OPTIONS")
            await other.response(200)


async def test_a_broken_file_of_bans_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / bans.FILE).write_text('{"version": 1}')
    async with running(tmp_path, policy_text(tmp_path, ["sip:127.0.0.11:9"])) as app:
        assert not app.edge.pipeline.operator_bans
    assert (tmp_path / "state" / "bans.json.broken").read_text() == '{"version": 1}'


async def test_the_edge_is_ready_while_the_fallback_of_a_set_is_up(tmp_path: Path) -> None:
    """If it were not, a load balancer would take an edge out of use that still completes all calls."""
    text = policy_text(
        tmp_path,
        ["sip:127.0.0.11:9"],
        health="interval = 0, fall = 1",
        more_sets=', { set = "backup", members = [{ uri = "sip:127.0.0.12:9" }], health = { interval = 0, fall = 1 } }',
        routes='[[route]]\nname = "all"\nto = "pbx"',
    )
    async with running(tmp_path, text.replace('{ set = "pbx",', '{ set = "pbx", fallback = "backup",')) as app:
        one, two = app.edge.dispatcher.members()
        app.edge.dispatcher.health_monitor.failed(one, trio.current_time(), "silence")
        assert app.not_ready() == {}
        app.edge.dispatcher.health_monitor.failed(two, trio.current_time(), "silence")
        assert app.not_ready() == dict.fromkeys(("destinations pbx", "destinations backup"), "no member is up")


async def test_the_policy_bounds_calls_connections_and_series(tmp_path: Path) -> None:
    keys = "max_calls = 2\nmax_connections = 1"
    async with AsyncExitStack() as stack:
        bob = await stack.enter_async_context(Ua(await UdpWire.open("127.0.0.11"), "bob"))
        text = policy_text(tmp_path, [f"sip:{bob.address}"], edge=keys, trunks=["127.0.0.5"]).replace(
            "[observe]", "[observe]\nmax_series = 3"
        )
        app = await stack.enter_async_context(running(tmp_path, text))
        udp, tcp = at(app, "public-udp"), at(app, "public-tcp")
        for number in range(3):
            caller = await stack.enter_async_context(Ua(await UdpWire.open("127.0.0.5", peer=udp)))
            await caller.dialog(f"sip:100@{udp}").send("INVITE")
            if number < 2:
                await bob.answer(await bob.request("INVITE"), 180, tag="b")
            await caller.response(180 if number < 2 else 503)
        first = await trio.open_tcp_stream(*tcp)
        second = await trio.open_tcp_stream(*tcp)
        await until(lambda: app.plane.counts.get(("public-tcp", "connections")) == 1)
        for stream in (first, second):
            await trio.aclose_forcefully(stream)
        for number in range(10):
            app.containment.fault(f"kind {number}", ValueError())
        shown = [line for line in app.metrics.render().decode().splitlines() if line.startswith("edgesbc_faults_total")]
        assert len(shown) == 3
        assert 'edgesbc_faults_total{kind="other"} 8.0' in shown
