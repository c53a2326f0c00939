"""The HTTP endpoints for monitoring: /metrics, /healthz, /readyz and /why. They are read-only."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

import attrs
import hypercorn.config
import hypercorn.trio
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edgesbc.base import limits
from edgesbc.base.address import split_host_port
from edgesbc.observe.ledger import WhyAnswer
from edgesbc.observe.metrics import CONTENT_TYPE

__all__ = ["DEFAULT_BIND", "HttpSources", "serve_http"]

DEFAULT_BIND: Final = "127.0.0.1:8080"

AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

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
    """The functions that the endpoints read from."""

    render: Callable[[], bytes]
    """The metrics in the Prometheus text format: :meth:`edgesbc.observe.metrics.Metrics.render`."""
    not_ready: Callable[[], Mapping[str, str]]
    """Why the edge takes no new calls, by part; empty if it does."""
    why: Callable[[str], WhyAnswer]
    """Decisions about a Call-ID or an address: :meth:`edgesbc.observe.ledger.Ledger.ask`."""


async def serve_http(
    bind: str, sources: HttpSources, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve ``sources`` on ``bind`` (``ADDRESS:PORT``, port 0 for any) until cancelled; starts with the port.

    Raises ``ValueError`` if ``bind`` is not a literal address and port, and ``OSError`` if it cannot be bound.
    """
    listening = _listen(bind)
    host, port = listening.getsockname()[:2]
    app = _RequestFilter(_routes(sources), only_local=ipaddress.ip_address(host).is_loopback)
    config = _config()
    config.bind = [f"fd://{listening.detach()}"]  # from here on the socket is the server's
    await hypercorn.trio.serve(app, config, mode="asgi", task_status=_PortReporter(task_status, port))  # type: ignore[arg-type]


class _PortReporter:
    """Reports the port to the starting task, where the server would report URLs."""

    def __init__(self, task_status: trio.TaskStatus[int], port: int) -> None:
        self._task_status = task_status
        self._port = port

    def started(self, _: object = None) -> None:
        self._task_status.started(self._port)


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
    except OSError:
        listening.close()
        raise
    return listening


def _config() -> hypercorn.config.Config:
    config = hypercorn.config.Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("edgesbc.http")
    config.include_server_header = False
    config.read_timeout = limits.HTTP_READ_SECONDS
    config.keep_alive_timeout = limits.HTTP_READ_SECONDS
    config.graceful_timeout = 1.0
    config.h11_max_incomplete_size = 8192
    return config


def _routes(sources: HttpSources) -> AsgiApp:
    # The endpoints are async and never wait: Starlette runs a sync one in a thread, where counters may change under it.
    async def metrics(_: Request) -> Response:
        return Response(sources.render(), headers={"content-type": CONTENT_TYPE})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        reasons = dict(sources.not_ready())
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def why(request: Request) -> Response:
        key = request.query_params.get("q", "").strip()
        if not key:
            return JSONResponse({"error": "expected ?q=CALL-ID or ?q=ADDRESS"}, status_code=400)
        return JSONResponse(attrs.asdict(sources.why(key)))

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
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

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
