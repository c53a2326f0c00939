"""The HTTP endpoints for monitoring: /metrics, /healthz, /readyz and /why. They are read-only."""

from __future__ import annotations

import inspect
import ipaddress
import logging
import math
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

import attrs
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edgesbc.base import limits
from edgesbc.base.address import split_host_port
from edgesbc.observe.ledger import WhyAnswer
from edgesbc.observe.metrics import CONTENT_TYPE
from edgesbc.tasks.accepting import Acceptor
from edgesbc.tasks.containment import Containment

__all__ = ["DEFAULT_BIND", "HttpSources", "serve_http"]

DEFAULT_BIND: Final = "127.0.0.1:8080"

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
_UPGRADE: Final = re.compile(rb"\nupgrade(?=[ \t]*:)", re.IGNORECASE)
_HTTP_2: Final = b"PRI"  # a client that takes HTTP/2 for granted begins with a request of this method (RFC 9113, 3.4)

_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


@attrs.frozen
class HttpSources:
    """The functions that the endpoints read from. Each may return its answer when it is awaited."""

    render: Callable[[], bytes | Awaitable[bytes]]
    """The metrics in the Prometheus text format: :meth:`edgesbc.observe.metrics.Metrics.render`."""
    not_ready: Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]
    """Why the edge takes no new calls, by part; empty if it does."""
    why: Callable[[str], WhyAnswer | Awaitable[Mapping[str, Any]]]
    """Decisions about a Call-ID or an address: :meth:`edgesbc.observe.ledger.Ledger.ask`, or its answer as JSON."""
    longest_pause: float = math.inf
    """The most seconds between two answers, however long the first has taken: it may have waited for a process."""


async def serve_http(
    bind: str,
    sources: HttpSources,
    containment: Containment,
    nursery: trio.Nursery,
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``sources`` on ``bind`` (``ADDRESS:PORT``, port 0 for any) until cancelled; starts with the port.

    Connections are tasks of ``nursery``. ``containment`` counts and reports what is raised in them. Raises
    ``ValueError`` if ``bind`` is not a literal address and port, and ``OSError`` if it cannot be bound.
    """
    with _listen(bind) as listening:
        host, port = listening.getsockname()[:2]
        app = _RequestFilter(_routes(sources), only_local=ipaddress.ip_address(host).is_loopback)
        server = _HttpServer(app, containment, nursery)
        task_status.started(port)
        acceptor = Acceptor(listening, server.take, server.refused, limits.LOCAL_ACCEPT_SECONDS)
        await containment.keep_running("http", acceptor.run)


class _HttpServer:
    """Serves connections, each in a task of ``nursery`` and for one request.

    Beyond ``limits.HTTP_CONNECTIONS``, the oldest connection ends: one that sends its request at once is answered,
    however many others are silent.
    """

    def __init__(self, app: AsgiApp, containment: Containment, nursery: trio.Nursery) -> None:
        self._config = _config()
        self._app: Any = ASGIWrapper(app)  # type: ignore[arg-type]
        self._context = WorkerContext(None)
        self._containment = containment
        self._nursery = nursery
        self._streams: dict[_HttpStream, None] = {}

    def take(self, sock: socket.socket, address: object) -> None:
        """Serve a connection that was accepted."""
        with self._containment.contain("http connection"):
            if len(self._streams) >= limits.HTTP_CONNECTIONS:
                oldest = next(iter(self._streams))
                del self._streams[oldest]
                oldest.end()
            stream = _HttpStream(sock)
            self._nursery.start_soon(self._serve, sock, stream)
            self._streams[stream] = None
            return
        sock.close()

    def refused(self, address: object, error: OSError) -> None:
        """A connection for which no descriptor is left."""
        self._containment.fault("http connection", error)

    async def _serve(self, sock: socket.socket, stream: _HttpStream) -> None:
        try:
            with self._containment.contain("http connection"), sock, stream.scope:
                served: Any = stream
                await TCPServer(self._app, self._config, self._context, ConnectionState({}), served).run()
        finally:
            self._streams.pop(stream, None)


class _HttpStream:
    """A connection, as the server of the library uses it, with a deadline for the request and one for all.

    That server shields what it sends from cancellation, so that its reader, which may take a byte now and then, would
    otherwise decide when a connection ends.

    Of what the peer sends, that server gets the head of one request of HTTP/1.1, and nothing else. It would also speak
    HTTP/2 and WebSocket, whose frames make it work as long as they come: no request, so :class:`_Pace` does not see it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self.socket = self._stream.socket
        self.scope = trio.CancelScope(deadline=trio.current_time() + limits.HTTP_SECONDS)
        """Of the task that serves the connection."""
        self._read_until = trio.current_time() + limits.HTTP_READ_SECONDS
        self._sending: trio.CancelScope | None = None
        self._has_head = False
        self._bytes_left = 2 * limits.HTTP_HEAD_BYTES  # for a body, which is discarded, as much as for the head

    def end(self) -> None:
        """End the connection at once."""
        self.scope.cancel()
        if self._sending is not None:
            self._sending.cancel()

    async def receive_some(self, max_bytes: int) -> bytes:
        """The head of the request; after it, b"" when the peer has ended its side. Raises
        ``trio.BrokenResourceError``."""
        received = bytearray()
        with trio.move_on_at(self._read_until):
            while True:
                data = await self._stream.receive_some(max_bytes)
                self._bytes_left -= len(data)
                if self._bytes_left < 0:
                    raise self._broken("more came than a request may have")
                if self._has_head:
                    if not data:
                        return b""
                    continue
                received += data
                end = _END_OF_HEAD.search(received)
                if end is not None or not data or len(received) > limits.HTTP_HEAD_BYTES:
                    self._has_head = True
                    if received.startswith(_HTTP_2):
                        raise self._broken("HTTP/2")
                    if received.count(b"\n") > limits.HTTP_HEAD_LINES:
                        raise self._broken("a request of too many lines")
                    # A server may ignore Upgrade (RFC 9110 section 7.8).
                    return _UPGRADE.sub(b"\nx-ignored", bytes(received[: None if end is None else end.end()]))
        raise trio.BrokenResourceError("no whole request came in time")

    def _broken(self, reason: str) -> trio.BrokenResourceError:
        """End the connection. The server would only do so when it has been idle for some seconds."""
        self.scope.cancel()
        return trio.BrokenResourceError(reason)

    async def send_all(self, data: bytes) -> None:
        with trio.move_on_at(self.scope.deadline) as self._sending:
            if self.scope.cancel_called:
                self._sending.cancel()
            await self._stream.send_all(data)
        if self._sending.cancelled_caught:
            raise trio.BrokenResourceError("the answer was not read in time")

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _listen(bind: str) -> socket.socket:
    """A bound TCP socket whose connections end if the peer does not read."""
    host, port = split_host_port(bind)
    version = ipaddress.ip_address(host).version
    listening = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it. The server shields its writes from cancellation, so that without it a
        # reader that stalls would delay the end of the process.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.HTTP_STALL_MILLISECONDS)
        if version == 6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.setblocking(False)
        listening.listen(limits.BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("edgesbc.http")
    config.include_server_header = False
    config.keep_alive_max_requests = 0  # one request a connection: then its deadlines are those of the request
    config.h11_max_incomplete_size = limits.HTTP_HEAD_BYTES
    return config


class _Pace:
    """Makes one answer after the other, for at most ``limits.HTTP_TIME_SHARE`` of the time: calls have the rest.

    Between two answers there are at most ``longest`` seconds.
    """

    def __init__(self, longest: float = math.inf) -> None:
        self._longest = longest
        self._turn = trio.Lock()
        self._free_at = -math.inf

    async def make(self, answer: Callable[[], Awaitable[Response]]) -> Response:
        """The result of ``answer``."""
        async with self._turn:
            await trio.sleep_until(self._free_at)
            began = trio.current_time()
            try:
                return await answer()
            finally:
                now = trio.current_time()
                self._free_at = now + min((now - began) * (1 / limits.HTTP_TIME_SHARE - 1), self._longest)


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def _routes(sources: HttpSources) -> AsgiApp:
    pace = _Pace(sources.longest_pause)

    # The endpoints are async: Starlette runs a sync one in a thread, where counters may change under it.
    async def metrics(_: Request) -> Response:
        async def answer() -> Response:
            return Response(await _awaited(sources.render()), headers={"content-type": CONTENT_TYPE})

        return await pace.make(answer)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        async def answer() -> Response:
            reasons = dict(await _awaited(sources.not_ready()))
            return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

        return await pace.make(answer)

    async def why(request: Request) -> Response:
        key = request.query_params.get("q", "").strip()
        if not key:
            return JSONResponse({"error": "expected ?q=CALL-ID or ?q=ADDRESS"}, status_code=400)

        async def answer() -> Response:
            found = await _awaited(sources.why(key))
            return JSONResponse(attrs.asdict(found) if isinstance(found, WhyAnswer) else found)

        return await pace.make(answer)

    endpoints = {"/metrics": metrics, "/healthz": healthz, "/readyz": readyz, "/why": why}
    app = Starlette(routes=[Route(path, endpoint) for path, endpoint in endpoints.items()])
    app.router.redirect_slashes = False  # a redirect would repeat the Host header of the request
    return app


class _RequestFilter:
    """Refuses requests with a foreign Host or another method than GET, and adds security headers to every answer.

    On a loopback address only local names are served, so that a page in a browser of this machine cannot read the
    metrics through a DNS name that points to loopback (DNS rebinding).
    """

    def __init__(self, app: AsgiApp, only_local: bool) -> None:
        self._app = app
        self._only_local = only_local

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        async def send_with_headers(message: AsgiMessage) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: MutableMapping[str, Any]) -> Response | None:
        headers = dict(scope["headers"])
        if self._only_local and not _is_local(headers.get(b"host", b"").decode("latin-1")):
            return PlainTextResponse("not a name of this service\n", 421)
        if scope["method"] != "GET":
            return PlainTextResponse("only GET\n", 405, {"allow": "GET"})
        return None


def _is_local(host: str) -> bool:
    """Whether a Host header has an address or ``localhost``, and no other name."""
    try:
        name = split_host_port(host, default_port=80).host
        return name.lower() == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
