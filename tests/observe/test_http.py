"""The HTTP endpoints over real connections on loopback."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import logging
import socket
import urllib.parse
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from starlette.responses import Response
from support.containment import unfailing

from bench.ports import free_port
from edgesbc.base import limits
from edgesbc.base.counts import Counts
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.observe.http import HttpSources, _Pace, serve_http
from edgesbc.observe.ledger import Ledger
from edgesbc.observe.metrics import CONTENT_TYPE, Metrics

REASONS: dict[str, str] = {}


def parts() -> HttpSources:
    metrics, counts = Metrics(), Counts()
    counts.add("carriers", by=7)
    metrics.counter("requests", "Requests received.", ("listener",), counts)
    return HttpSources(metrics.render, lambda: REASONS, ledger().ask)


NASTY = "<script>alert(1)</script>\r\n\x1b[31m\u202e\udc80"


def ledger() -> Ledger:
    full = Ledger(1_700_000_000.0)
    for number in range(limits.LEDGER_ANSWERS + 5):
        full.record(
            Decision(number, Reason.NO_ROUTE, "192.0.2.1:5060", "carriers", f"call-{number}", "brain", detail="INVITE")
        )
    full.record(Decision(0.5, Reason.MALFORMED, "192.0.2.66:5060", call_id=NASTY, detail=NASTY, limit=float("inf")))
    return full


@asynccontextmanager
async def served(bind: str = "127.0.0.1:0") -> AsyncIterator[int]:
    REASONS.clear()
    async with trio.open_nursery() as nursery:
        port = await nursery.start(serve_http, bind, parts(), unfailing(), nursery)
        yield port
        nursery.cancel_scope.cancel()


class Answer:
    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


def _ask(host: str, port: int, path: str, method: str, headers: Mapping[str, str]) -> Answer:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


async def ask(
    port: int,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
) -> Answer:
    return await trio.to_thread.run_sync(_ask, host, port, path, method, headers or {})


async def test_metrics() -> None:
    async with served() as port:
        answer = await ask(port, "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert b'edgesbc_requests_total{listener="carriers"} 7.0' in answer.body
    assert b"process_cpu_seconds_total" in answer.body


async def test_health_and_readiness() -> None:
    async with served() as port:
        assert (await ask(port, "/healthz")).status == 200
        ready = await ask(port, "/readyz")
        REASONS["signalling"] = "draining"
        unready = await ask(port, "/readyz")
        assert (await ask(port, "/healthz")).status == 200
    assert (ready.status, json.loads(ready.body)) == (200, {"ready": True, "reasons": {}})
    assert unready.status == 503
    assert json.loads(unready.body) == {"ready": False, "reasons": {"signalling": "draining"}}


async def test_why() -> None:
    async with served() as port:
        answer = await ask(port, "/why?q=call-7")
        nothing = await ask(port, "/why?q=nobody")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == {
        "decisions": [
            {
                "time": "2023-11-14T22:13:27.000Z", "reason": "no-route", "meaning": Reason.NO_ROUTE.meaning,
                "source": "192.0.2.1:5060", "listener": "carriers", "call_id": "call-7", "stage": "brain",
                "limit": None, "value": None, "shadow": False, "detail": "INVITE", "repeats": 0,
                "last": "2023-11-14T22:13:27.000Z", "sentence": ledger().ask("call-7").sentences()[0],
            }
        ],
        "left_out": 0,
    }  # fmt: skip
    assert (nothing.status, json.loads(nothing.body)) == (200, {"decisions": [], "left_out": 0})


async def test_why_is_bounded() -> None:
    async with served() as port:
        many = json.loads((await ask(port, "/why?q=192.0.2.1")).body)
        for path in ("/why", "/why?q=", "/why?q=%20", "/why?p=1"):
            assert (await ask(port, path)).status == 400, path
        assert len((await ask(port, f"/why?q={'x' * 4000}")).body) < 100
    assert (len(many["decisions"]), many["left_out"]) == (limits.LEDGER_ANSWERS, 5)


async def test_why_shows_nothing_of_a_peer_raw() -> None:
    async with served() as port:
        answer = await ask(port, "/why?q=%5B192.0.2.66%5D:5060")
        (decision,) = json.loads((await ask(port, "/why?q=192.0.2.66")).body)["decisions"]
        by_call = await ask(port, "/why?q=" + urllib.parse.quote("<script>alert(1)</script>"))
    assert answer.status == 200
    assert by_call.status == 200
    assert all(str(value).isprintable() for value in decision.values())
    assert "\\x1b[31m\\u202e\\udc80" in decision["call_id"]
    assert decision["limit"] is None


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "MADE-UP"])
async def test_only_get(method: str) -> None:
    async with served() as port:
        answer = await ask(port, "/metrics", method)
    assert answer.status == 405
    assert answer.headers["allow"] == "GET"
    assert b"edgesbc_" not in answer.body


@pytest.mark.parametrize("path", ["/", "/metrics/", "/nothing", "/metrics%00", "/../metrics", "//healthz"])
async def test_other_paths_are_not_found(path: str) -> None:
    async with served() as port:
        assert (await ask(port, path)).status == 404


@pytest.mark.parametrize("path", ["/metrics", "/nothing"])
async def test_every_answer_has_the_security_headers(path: str) -> None:
    async with served() as port:
        headers = (await ask(port, path)).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


async def test_a_web_page_cannot_read_it_by_a_name_that_resolves_to_this_address() -> None:
    async with served() as port:
        for host in ("evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "localhost.evil"):
            answer = await ask(port, "/metrics", headers={"Host": host})
            assert answer.status == 421, host
            assert b"edgesbc_" not in answer.body
        for host in ("localhost", f"LOCALHOST:{port}", "127.0.0.1", f"[::1]:{port}"):
            assert (await ask(port, "/metrics", headers={"Host": host})).status == 200, host


async def test_ipv6() -> None:
    async with served("[::1]:0") as port:
        assert (await ask(port, "/healthz", host="::1")).status == 200


@pytest.mark.parametrize("bind", ["localhost:0", "127.0.0.1", "127.0.0.1:x", "0:0", ""])
async def test_an_invalid_address_is_refused(bind: str, nursery: trio.Nursery) -> None:
    with pytest.raises(ValueError):
        await serve_http(bind, parts(), unfailing(), nursery)


async def test_a_port_in_use_is_an_os_error(nursery: trio.Nursery) -> None:
    async with served() as port:
        with pytest.raises(OSError, match="in use"):
            await serve_http(f"127.0.0.1:{port}", parts(), unfailing(), nursery)


async def test_cancellation_closes_open_connections() -> None:
    port = free_port()
    with trio.fail_after(10):
        async with served(f"127.0.0.1:{port}"):
            silent = await trio.open_tcp_stream("127.0.0.1", port)
            halfway = await trio.open_tcp_stream("127.0.0.1", port)
            await halfway.send_all(b"GET /metrics HTTP/1.1\r\nHost: 127")
            assert (await ask(port, "/healthz")).status == 200
    for stream in (silent, halfway):
        await stream.aclose()
    with pytest.raises(OSError, match=r"refused|failed"):
        await trio.open_tcp_stream("127.0.0.1", port)
    with socket.socket() as second:
        second.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        second.bind(("127.0.0.1", port))


async def test_garbage_is_answered_or_closed_without_harm(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with served() as port:
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
            b"INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP x\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        ):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            with trio.fail_after(5):
                await stream.send_all(garbage)
                await stream.send_eof()
                answer = b""
                try:
                    while chunk := await stream.receive_some():
                        answer += chunk
                except trio.BrokenResourceError:
                    pass
            await stream.aclose()
            assert answer[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 421")
        assert (await ask(port, "/healthz")).status == 200
    assert caplog.records == []


HTTP_2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
HTTP_2_PING = bytes((0, 0, 8, 6, 0, 0, 0, 0, 0)) + b"12345678"


@pytest.mark.parametrize("begin", [HTTP_2, b"\r\n" + HTTP_2, HTTP_2.replace(b"\r", b"")])
async def test_no_http_2_is_spoken(begin: bytes) -> None:
    """Its frames would be work without requests: nothing of it is answered."""
    async with served() as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(begin + HTTP_2_PING * 100)
        assert HTTP_2_PING[9:] not in await to_end(stream)
        await stream.aclose()


@pytest.mark.parametrize(
    "upgrade",
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: Upgrade\r\nUPGRADE: h2c",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ],
)
async def test_an_upgrade_is_ignored(upgrade: str) -> None:
    """The answer is that to the same request without it (RFC 9110 section 7.8)."""
    async with served() as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(f"GET /healthz HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n\r\n".encode())
        answer = await to_end(stream)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"alive\n")
        await stream.aclose()


async def test_nothing_is_read_of_a_body_or_a_second_request() -> None:
    """What follows the head is discarded, and beyond a bound the connection ends."""
    async with served() as port:
        for more in (b"1\r\na\r\n" * 100, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            await stream.send_all(head + more)
            answer = await to_end(stream)
            assert answer.count(b"HTTP/1.1 ") <= 1  # none where the end with unread bytes resets the connection
            assert b"edgesbc_calls" not in answer
            await stream.aclose()
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(60):
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
            while True:
                await stream.send_all(bytes(limits.HTTP_HEAD_BYTES))
        await stream.aclose()


async def test_a_request_has_a_bound_of_lines() -> None:
    async with served() as port:
        for more, status in ((limits.HTTP_HEAD_LINES - 3, b"HTTP/1.1 200 "), (limits.HTTP_HEAD_LINES - 2, b"")):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"a:\r\n" * more + b"\r\n")
            assert (await to_end(stream))[:13] == status
            await stream.aclose()


async def to_end(stream: trio.SocketStream) -> bytes:
    """What comes until the server ends the connection."""
    answer = b""
    with trio.fail_after(60), contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some():
            answer += data
    return answer


async def test_it_prints_nothing_in_normal_operation(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        async with served() as port:
            await ask(port, "/metrics")
    assert capsys.readouterr() == ("", "")
    assert caught == []


async def test_a_metric_that_fails_is_a_500_and_a_log_record(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bytes:
        raise RuntimeError("a room is on fire")

    async with trio.open_nursery() as nursery:
        port = await nursery.start(
            serve_http, "127.0.0.1:0", HttpSources(broken, dict, ledger().ask), unfailing(), nursery
        )
        answer = await ask(port, "/metrics")
        assert (await ask(port, "/healthz")).status == 200
        nursery.cancel_scope.cancel()
    assert answer.status == 500
    assert b"fire" not in answer.body
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert any(record.exc_info for record in caplog.records)


async def test_a_reader_that_stalls_does_not_delay_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HTTP_STALL_MILLISECONDS", 200)
    requested = trio.Event()

    def large() -> bytes:
        requested.set()
        return bytes(50_000_000)  # more than the kernel's buffers hold

    with trio.fail_after(60):  # without the bound, this would not end
        async with trio.open_nursery() as nursery:
            port = await nursery.start(
                serve_http, "127.0.0.1:0", HttpSources(large, dict, ledger().ask), unfailing(), nursery
            )
            stalled = await trio.open_tcp_stream("127.0.0.1", port)
            await stalled.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await requested.wait()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    await stalled.aclose()


async def test_the_newest_connections_displace_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that wait for their reader: the end of the edge is not delayed by what the server shields."""
    monkeypatch.setattr(limits, "HTTP_CONNECTIONS", 4)
    async with trio.open_nursery() as nursery:
        sources = HttpSources(lambda: bytes(50_000_000), dict, ledger().ask)
        port = await nursery.start(serve_http, "127.0.0.1:0", sources, unfailing(), nursery)
        streams = []
        for number in range(20):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            if number % 2:
                await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            streams.append(stream)
        assert (await ask(port, "/healthz")).status == 200
        for stream in streams[:16]:
            with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
                while await stream.receive_some():
                    pass
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) <= 1 + 4
        for stream in streams:
            await trio.aclose_forcefully(stream)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("request_part", [b"", b"GET /metrics HTTP/1.1\r\nHost: "])
async def test_a_request_that_trickles_in_ends_at_its_deadline(
    autojump_clock: trio.testing.MockClock, request_part: bytes
) -> None:
    """A byte a second does not extend it."""
    async with served() as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(request_part)
        begun = trio.current_time()
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(60):
                await stream.send_all(b"a" if request_part else b"\r\n")
                with trio.move_on_after(1):
                    await stream.receive_some()
                    break
        assert trio.current_time() - begun <= limits.HTTP_READ_SECONDS + 2
        await stream.aclose()


async def test_a_reader_that_takes_a_byte_now_and_then_ends_at_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        sources = HttpSources(lambda: bytes(50_000_000), dict, ledger().ask)
        port = await nursery.start(serve_http, "127.0.0.1:0", sources, unfailing(), nursery)
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        begun, received = trio.current_time(), 0
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await stream.receive_some(65_536 if trio.current_time() > begun + 60 else 1):
                received += len(data)
                if trio.current_time() < begun + 60:
                    await trio.sleep(1)
        assert received < 50_000_000
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def test_answers_are_made_one_after_the_other_in_a_part_of_the_time() -> None:
    """``limits.HTTP_TIME_SHARE`` of it, on the clock of the edge."""
    clock = trio.testing.MockClock()
    pace, times = _Pace(), []

    async def answers() -> None:
        async def make() -> Response:
            times.append(trio.current_time())
            clock.jump(1.0)  # it takes a second
            return Response()

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(pace.make, make)
            for _ in range(200):
                await trio.testing.wait_all_tasks_blocked()
                clock.jump(0.1)

    await trio.to_thread.run_sync(lambda: trio.run(answers, clock=clock))
    pauses = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert pauses == pytest.approx([1 / limits.HTTP_TIME_SHARE] * 3, abs=0.11)
