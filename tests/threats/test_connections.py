"""THREATS 15 and 16: connections that are reset, and connections that send nothing."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from support.certificates import Certificates
from support.running import at, running, until
from support.stream_listeners import (
    WS,
    Resources,
    assert_answered,
    event_count,
    invite_and_reset,
    open_connections,
    read_to_end,
    reset,
    secure_listener,
    text,
)  # fmt: skip
from support.ua import StreamWire, Ua, UdpWire

from edgesbc.app import App
from edgesbc.base import limits
from edgesbc.base.address import Source

UNTRACKED = '[screen]\nstages = ["ratelimit", "sanity", "scanner", "method"]'
"""Without the stage pike, which would ban a source that opens connections so fast: these tests are about the caps."""
SILENT = 2_000
CARRIER = "127.0.0.5"
ENOUGH = 6_000
"""Descriptors for both ends of 2,000 connections, and some more."""


# --- 15 --------------------------------------------------------------------------------------------------


async def test_15_a_thousand_connections_reset_after_an_invite_leave_nothing(
    tmp_path: Path, hasty_clock: trio.testing.MockClock
) -> None:
    """No task, descriptor, connection, transaction, call, lease or flow is left. The peer is a trunk, so that none of
    its connections is refused."""
    async with (
        Ua(await UdpWire.open("127.0.0.11"), "bob") as bob,
        running(tmp_path, text(tmp_path, member=f"sip:{bob.address}", trunks=["127.0.0.1"])) as app,
    ):
        tcp = at(app, "public-tcp")
        before = Resources.now()
        for _ in range(10):
            for _ in range(100):
                await invite_and_reset(tcp)
            await until(lambda: not open_connections(app))
        assert app.edge.counters.requests["public-tcp", "INVITE"] > 100, "the edge has read the messages"
        for _ in range(8):  # timers that start timers
            hasty_clock.jump(32)
            await trio.testing.wait_all_tasks_blocked()
        await until(lambda: app.edge.idle)
        assert (app.edge.calls, app.edge.transactions, app.edge.dispatcher.leases) == (0, 0, 0)
        # The last one may have waited to be accepted until now.
        await until(lambda: (app.edge.connections, app.plane.connections) == (0, {}))
        await until(lambda: Resources.now().within(before))


@pytest.mark.parametrize("transport", ["tls", "ws", "wss"])
async def test_15_a_reset_at_any_point_of_a_handshake_leaves_nothing(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """The edge notices the reset at once, and does not wait for the deadline of handshakes."""
    monkeypatch.setattr(limits, "HANDSHAKE_SECONDS", 3600.0)
    listener = WS if transport == "ws" else secure_listener(transport, certificates)
    async with running(tmp_path, text(tmp_path, listener, more=UNTRACKED)) as app:
        before = Resources.now()
        for number in range(60):
            stream = await trio.open_tcp_stream(*at(app, transport))
            beginning = (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n")[number % 3]
            if beginning:
                await stream.send_all(beginning)
            if number % 2:
                await reset(stream)
            else:
                await stream.aclose()
        await until(lambda: not open_connections(app))
        await until(lambda: Resources.now().within(before))
        assert (app.edge.connections, app.plane.connections) == (0, {})


async def test_15_repeated_connections_of_an_untrusted_peer_are_held_to_the_density(tmp_path: Path) -> None:
    async with running(tmp_path, text(tmp_path)) as app:
        for _ in range(100):
            await invite_and_reset(at(app, "public-tcp"))
        await until(lambda: not open_connections(app) and app.edge.pipeline.counts.get(("pike", "pike"), 0) > 0)
        assert app.edge.counters.requests["public-tcp", "INVITE"] < 100
        async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as other:
            await assert_answered(other, f"sip:{at(app, 'public-udp')}")


# --- 16 --------------------------------------------------------------------------------------------------


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Raise the limit of descriptors, so that both ends of 2,000 connections fit in one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < ENOUGH:
        pytest.skip(f"2,000 connections need {ENOUGH} descriptors in one process; the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < ENOUGH:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ENOUGH, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def no_first_message_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No silent connection is closed while the test opens the others, however long that takes; then the clock jumps."""
    monkeypatch.setattr(limits, "FIRST_MESSAGE_SECONDS", 3_600.0)


@asynccontextmanager
async def silent(tcp: Source, addresses: list[str], count: int = SILENT) -> AsyncIterator[list[trio.SocketStream]]:
    """``count`` connections that send nothing, shared evenly between the addresses."""
    async with contextlib.AsyncExitStack() as stack:
        streams = []
        for number in range(count):
            stream = await trio.open_tcp_stream(*tcp, local_address=addresses[number % len(addresses)])
            stack.push_async_callback(trio.aclose_forcefully, stream)
            streams.append(stream)
        yield streams


async def can_connect(app: App, host: str) -> None:
    """A peer at ``host`` can connect, and gets a response."""
    async with Ua(await StreamWire.open(at(app, "public-tcp"), host=host)) as peer:
        await assert_answered(peer, f"sip:{at(app, 'public-tcp')}")


@pytest.mark.usefixtures("descriptors")
async def test_16_silent_connections_of_a_few_addresses_are_capped_and_another_peer_connects(
    tmp_path: Path, hasty_clock: trio.testing.MockClock, no_first_message_deadline: None
) -> None:
    """2,000 connections from four addresses, with the default cap for an address. A deadline closes them in the end."""
    addresses = [f"127.0.1.{n}" for n in range(1, 5)]
    async with running(tmp_path, text(tmp_path, more=UNTRACKED)) as app, silent(at(app, "public-tcp"), addresses):
        most = len(addresses) * limits.CONNECTIONS_PER_ADDRESS
        await until(lambda: event_count(app, "public-tcp", "connections") == SILENT - most)
        assert open_connections(app) == most
        await can_connect(app, "127.0.0.99")
        hasty_clock.jump(limits.FIRST_MESSAGE_SECONDS)
        await until(lambda: not open_connections(app))
        await can_connect(app, addresses[0])


@pytest.mark.usefixtures("descriptors")
async def test_16_untrusted_connections_leave_those_reserved_for_trunks(
    tmp_path: Path,
    hasty_clock: trio.testing.MockClock,
    no_first_message_deadline: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 1,000 connections, 900 are for untrusted peers: with the default of 8,192,
    both ends would need 16,500 descriptors in one process."""
    monkeypatch.setattr(limits, "CONNECTIONS", 1_000)
    monkeypatch.setattr(limits, "CONNECTIONS_TRUSTED", 100)
    addresses = [f"127.0.1.{n}" for n in range(1, 11)]
    policy = text(tmp_path, WS, more=UNTRACKED, trunks=[CARRIER], edge="max_connections = 1000")
    async with running(tmp_path, policy) as app, silent(at(app, "public-tcp"), addresses):
        await until(lambda: event_count(app, "public-tcp", "connections") == SILENT - 900)
        assert open_connections(app) == 900
        await can_connect(app, CARRIER)
        for listener in ("public-tcp", "ws"):  # the limit is shared by all listeners
            refused = await trio.open_tcp_stream(*at(app, listener), local_address="127.0.0.99")
            assert await read_to_end(refused) == b""
            await trio.aclose_forcefully(refused)
        async with Ua(await UdpWire.open(peer=at(app, "public-udp"))) as other:
            await assert_answered(other, f"sip:{at(app, 'public-udp')}")
        hasty_clock.jump(limits.FIRST_MESSAGE_SECONDS)
        await until(lambda: not open_connections(app))
        await can_connect(app, "127.0.0.99")


async def test_16_the_limit_of_an_address_is_shared_by_all_listeners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS", 4)
    async with running(tmp_path, text(tmp_path, WS)) as app, contextlib.AsyncExitStack() as stack:
        for number in range(6):
            stream = await trio.open_tcp_stream(*at(app, ("public-tcp", "ws")[number % 2]), local_address="127.0.0.9")
            stack.push_async_callback(trio.aclose_forcefully, stream)
        await until(lambda: sum(event_count(app, listener, "connections") for listener in ("public-tcp", "ws")) == 2)
        assert open_connections(app) == 4
        await can_connect(app, "127.0.0.99")


async def test_16_with_the_tracker_an_untrusted_peer_stays_far_below_the_limits(tmp_path: Path) -> None:
    """With the default policy, an address may open as many connections in a window as it may send messages."""
    count = 400
    async with running(tmp_path, text(tmp_path)) as app, silent(at(app, "public-tcp"), ["127.0.1.1"], count):
        await until(lambda: event_count(app, "public-tcp", "banned") + open_connections(app) == count)
        assert open_connections(app) < limits.CONNECTIONS_PER_ADDRESS
        assert event_count(app, "public-tcp", "connections") == 0
        await can_connect(app, "127.0.0.99")
