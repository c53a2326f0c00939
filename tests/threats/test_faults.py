"""THREATS 53: a fault in any long-lived task, connection, effect or packet. Calls go on."""

from __future__ import annotations

import errno
import os
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from support.running import at, listen, running, until
from support.stream_listeners import assert_answered, text
from support.ua import Rtp, StreamWire, Ua, UdpWire, hang_up, set_up, talk

from edgesbc.app import App
from edgesbc.base.address import Source
from edgesbc.control.bans import BanCommands
from edgesbc.control.client import ask
from edgesbc.control.protocol import CommandRefused, ControlRequest
from edgesbc.media.plane import MediaPlane
from edgesbc.media.relay_thread import RelayThread
from edgesbc.relay.channel import Channel
from edgesbc.resolve.resolver import Resolver
from edgesbc.rollout.controller import RolloutController
from edgesbc.signalling.effects import Penalise
from edgesbc.store.destination_source import DatabaseFeed
from edgesbc.store.proven_flows import ProvenFlows
from edgesbc.store.state_store import StateStore
from edgesbc.tasks.accepting import Acceptor
from edgesbc.tasks.containment import Containment
from edgesbc.transport.connection import Connection
from edgesbc.transport.kernel_filters import SourceDropFilter
from edgesbc.transport.plane import SignallingPlane
from edgesbc.transport.read_budget import ReadBudget
from edgesbc.transport.udp import UdpListener

ERRORS: list[Exception] = [
    *(OSError(number, os.strerror(number)) for number in (errno.EMFILE, errno.ENOBUFS, errno.EBADF, errno.EIO)),
    MemoryError(), RuntimeError("can't start new thread"), RecursionError(), ssl.SSLError("of a library"),
    ExceptionGroup("of a nursery", [KeyError("of a library")]),
]  # fmt: skip
"""What is raised in the tests below: one of them for each task, at random, and a few for each of the tasks of calls."""

TASKS: list[tuple[type[Any], str, set[str]]] = [
    (UdpListener, "_receive_all", {"udp public-udp", "udp core-udp"}),
    (Acceptor, "run", {"accept public-tcp", "accept ws", "control", "http"}),
    (SignallingPlane, "_run_timer", {"timer"}),
    (ReadBudget, "run", {"read budget"}),
    (RelayThread, "run", {"media relay"}),
    (MediaPlane, "_expire", {"media timer"}),
    (Resolver, "_work", {"resolver"}),
    (DatabaseFeed, "run", {"database main"}),
    (StateStore, "run", {"state files"}),
    (ProvenFlows, "run", {"registered flows"}),
    (RolloutController, "run", {"probation"}),
]
"""Every task of ``Containment.keep_running``: its class and method, and the kinds by which its faults are counted."""


class Faults:
    """Runs of a task that :meth:`raise_in_all` ends by an exception, wherever they wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str) -> None:
        run: Callable[[Any], Awaitable[None]] = getattr(owner, name)
        self._scopes: list[trio.CancelScope] = []
        self._error: Exception | None = None

        async def run_until_fault(task: Any) -> None:
            with trio.CancelScope() as scope:
                self._scopes.append(scope)
                await run(task)
            if scope.cancelled_caught and self._error is not None:
                raise self._error

        monkeypatch.setattr(owner, name, run_until_fault)

    @property
    def running(self) -> int:
        return sum(not scope.cancel_called for scope in self._scopes)

    def raise_in_all(self, error: Exception) -> None:
        self._error = error
        for scope in self._scopes:
            scope.cancel()


def policy(folder: Path, bob: Ua) -> str:
    """With every kind of task: a WebSocket listener, and a database, which is not there."""
    return text(
        folder,
        listen("public", "ws", "127.0.0.1:0", "ws"),
        member=f"sip:{bob.address}",
        more='[[database]]\nname = "main"\n',
        routes='[[route]]\nname = "all"\nto = ["pbx"]\n',
        more_sets=', { set = "other", database = "main", group = "pbx", health = { interval = 0 } }',
    )


async def test_53_the_tasks_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``TASKS`` has every task that ``keep_running`` runs."""
    kept: set[str] = set()
    keep_running = Containment.keep_running

    async def noting(self: Containment, kind: str, run: Callable[[], Awaitable[None]]) -> None:
        kept.add(kind)
        await keep_running(self, kind, run)

    monkeypatch.setattr(Containment, "keep_running", noting)
    async with Ua(await UdpWire.open("127.0.0.11"), "bob") as bob, running(tmp_path, policy(tmp_path, bob)):
        await until(lambda: kept == set.union(*(kinds for _, _, kinds in TASKS)))


@pytest.mark.parametrize(("owner", "name", "kinds"), TASKS, ids=[f"{owner.__name__}" for owner, _, _ in TASKS])
async def test_53_a_task_that_fails_runs_again_and_calls_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str, kinds: set[str]
) -> None:
    faults = Faults(monkeypatch, owner, name)
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, policy(tmp_path, bob)) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        await until(lambda: faults.running >= len(kinds))
        running_before = faults.running
        uri = f"sip:100@{at(app, 'public-udp')}"
        from_alice, _ = await set_up(alice, bob, uri, near, far)
        for error in random.sample(ERRORS, 2):
            faults.raise_in_all(error)
            await until(lambda: faults.running == running_before)
        assert {kind for (kind,) in app.containment.faults} == kinds
        await talk(near, far)
        await hang_up(from_alice, bob)
        await set_up(alice, bob, uri, near, far)
        async with Ua(await StreamWire.open(at(app, "public-tcp"))) as carol:
            await assert_answered(carol, f"sip:{at(app, 'public-tcp')}")
        page = app.metrics.render().decode()
        assert all(f'edgesbc_faults_total{{kind="{kind}"}}' in page for kind in kinds)


# --- one connection, command, effect, filter or packet ------------------------------------------------------


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str, error: Exception) -> list[int]:
    """Let the next call of a method raise ``error``; the list has an entry then."""
    method, failed = getattr(owner, name), []

    def failing(*arguments: Any, **named: Any) -> Any:
        if failed:
            return method(*arguments, **named)
        failed.append(1)
        raise error

    monkeypatch.setattr(owner, name, failing)
    return failed


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(("owner", "name"), [(Connection, "_read"), (SignallingPlane, "_send")])
async def test_53_a_fault_in_one_connection_or_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str, error: Exception
) -> None:
    async with running(tmp_path, text(tmp_path)) as app:
        tcp = at(app, "public-tcp")
        failed = fail_once(monkeypatch, owner, name, error)
        async with Ua(await StreamWire.open(tcp)) as first:
            await first.dialog(f"sip:{tcp}").send("OPTIONS")
            await until(lambda: bool(failed) and bool(app.containment.faults))
        async with Ua(await StreamWire.open(tcp)) as second:
            await assert_answered(second, f"sip:{tcp}")
        assert sum(app.containment.faults.values()) == 1


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "no memory"), KeyError("k")], ids=repr)
async def test_53_a_fault_in_a_kernel_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async with running(tmp_path, text(tmp_path)) as app:
        failed = fail_once(monkeypatch, SourceDropFilter, "apply", error)
        udp = at(app, "public-udp")
        async with Ua(await UdpWire.open(peer=udp)) as alice:
            app.plane.carry_out([Penalise(app.listeners[0], Source("192.0.2.66", 0), 10)])
            await until(lambda: bool(failed))
            await assert_answered(alice, f"sip:{udp}")
        assert app.containment.faults == {("kernel filters",): 1}


@pytest.mark.parametrize("error", [MemoryError(), KeyError("k"), RecursionError()], ids=repr)
async def test_53_a_fault_in_one_packet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}")) as app,
        Ua(await UdpWire.open(peer=at(app, "public-udp"))) as alice,
        await Rtp.open() as near,
        await Rtp.open("127.0.0.11") as far,
    ):
        await set_up(alice, bob, f"sip:100@{at(app, 'public-udp')}", near, far)
        failed = fail_once(monkeypatch, Channel, "drain_checked", error)
        await near.send()
        await until(lambda: bool(failed))
        await until(lambda: app.media is not None and bool(app.media.counts.get(("internal",))))
        await far.receive()
        await talk(near, far)
        await until(lambda: app.containment.faults == {("media packet",): 1})


async def test_53_a_fault_in_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = fail_once(monkeypatch, BanCommands, "list", MemoryError())

    async def bans(app: App) -> Any:
        socket = app.policy.edge.state_dir / "control.sock"
        return await trio.to_thread.run_sync(ask, socket, ControlRequest("bans list"), 10)

    async with running(tmp_path, text(tmp_path)) as app:
        with pytest.raises(CommandRefused, match="its log says how"):
            await bans(app)
        assert failed
        assert (await bans(app))["bans"] == []
        assert app.containment.faults == {("control bans list",): 1}
