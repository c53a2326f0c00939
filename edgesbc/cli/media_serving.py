"""What ``edgesbc media`` does: a media plane, and an NG server that controls it, until a signal."""

from __future__ import annotations

import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import trio

from edgesbc.base.address import Source, Zone, host_port
from edgesbc.base.version import VERSION
from edgesbc.media.commands import MediaSilence, MediaTimeout
from edgesbc.media.latch import MediaInterface
from edgesbc.media.plane import MediaPlane
from edgesbc.ng.interfaces import NamedInterface, interfaces_by_name, interfaces_by_zone
from edgesbc.ng.listener import NgListener, open_ng_socket, open_ng_unix_socket
from edgesbc.ng.server import NgServer
from edgesbc.observe import logs
from edgesbc.observe.http import HttpSources, serve_http
from edgesbc.observe.instruments import instrument_faults, instrument_media, instrument_ng
from edgesbc.observe.ledger import Ledger
from edgesbc.observe.metrics import Metrics
from edgesbc.tasks.containment import Containment

__all__ = ["MediaService", "serve_media"]

_Place = TypeVar("_Place", Source, Path)
_THIS_MACHINE = ("127.0.0.0/8", "::1/128")
_MAX_SERIES = 2_000


class MediaService:
    """A media plane with interfaces by name. Raises ``ValueError`` for interfaces or ports that cannot be used."""

    def __init__(
        self,
        interfaces: Sequence[NamedInterface],
        private: Sequence[str],
        denied: Sequence[str],
        ports: tuple[int, int],
        timeout: float,
        max_sessions: int,
        relays: int,
    ) -> None:
        self._log = logs.lifecycle("media")
        self._samples = logs.SampledLog(logs.logger("media"))
        self.containment = Containment(self._report)
        self.interfaces = interfaces_by_name(interfaces, ports, private, denied)
        self._ports = ports
        self._timeout = timeout
        self._most = max_sessions
        self._relays = relays
        self.metrics = Metrics(_MAX_SERIES)

    def _report(self, kind: str, error: Exception) -> None:
        self._samples.error(f"{kind}: {type(error).__name__}", trio.current_time(), error)

    def _media_event(self, event: MediaTimeout | MediaSilence) -> None:
        self.server.media_event(event)

    def start(self) -> None:
        """Build the plane and the server, within trio."""
        self.plane = MediaPlane(
            {},
            self._ports,
            self._media_event,
            containment=self.containment,
            media_timeout=self._timeout,
            max_sessions=self._most,
            relays=self._relays,
            interfaces=interfaces_by_zone(self.interfaces),
        )
        self.server = NgServer(
            self.plane, self.interfaces, secrets.token_hex(8), _wall_clock, trio.current_time(), self._most
        )
        labels = ("name", "version")
        self.metrics.gauge("info", "Always 1.", {("media", VERSION): lambda: 1.0}, labels)
        plane = self.plane
        instrument_media(
            self.metrics,
            lambda: plane.sessions,
            lambda: plane.ports_in_use,
            lambda: plane.paths,
            lambda: plane.counts,
            lambda: plane.moves,
            plane.quality,
        )
        instrument_ng(self.metrics, self.server.counts)
        instrument_faults(self.metrics, self.containment.faults, logs.records_lost)

    def log_start(self, addresses: Sequence[str]) -> None:
        for name, of_name in self.interfaces.items():
            for interface in of_name:
                self._log.info(
                    "interface", interface=name, address=interface.address, advertised=interface.advertise,
                    private=interface.zone is Zone.CORE, ports=f"{self._ports[0]}-{self._ports[1]}",
                )  # fmt: skip
        self._log.info("controlled", at=", ".join(addresses))

    def log_http(self, port: int, host: str) -> None:
        self._log.info("metrics", address=host_port(host, port))


def _wall_clock(moment: float) -> float:
    return time.time() - trio.current_time() + moment


def _bound(open_socket: Callable[[_Place], socket.socket], place: _Place) -> socket.socket:
    """``open_socket(place)``; its ``OSError`` names the place."""
    try:
        return open_socket(place)
    except OSError as error:
        raise OSError(f"cannot bind {place}: {error.strerror or error}") from None


def _check_addresses(interfaces: Iterable[Sequence[MediaInterface]]) -> None:
    """Raise ``OSError`` for an address that this machine does not have."""
    for of_name in interfaces:
        for interface in of_name:
            _bound(open_ng_socket, Source(interface.address, 0)).close()


async def serve_media(
    service: MediaService, addresses: Sequence[Source], unix: Path | None, allowed: Sequence[str], http: str | None
) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``OSError``, maybe in an exception group, where an address cannot be
    bound."""
    with ExitStack() as opened, trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        datagrams = [opened.enter_context(_bound(open_ng_socket, address)) for address in addresses]
        stream = None if unix is None else opened.enter_context(_bound(open_ng_unix_socket, unix))
        if unix is not None:
            opened.callback(unix.unlink, missing_ok=True)
        _check_addresses(service.interfaces.values())
        service.start()
        listener = NgListener(service.server, datagrams, stream, [*_THIS_MACHINE, *allowed], service.containment)
        async with trio.open_nursery() as nursery:
            await nursery.start(service.plane.run)
            if http is not None:
                sources = HttpSources(service.metrics.render, dict, Ledger(0.0).ask)
                port = await nursery.start(serve_http, http, sources, service.containment, nursery)
                service.log_http(port, http.rpartition(":")[0])
            await nursery.start(listener.run)
            places = [host_port(*sock.getsockname()[:2]) for sock in datagrams]
            service.log_start([*places, *([] if unix is None else [str(unix)])])
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break
