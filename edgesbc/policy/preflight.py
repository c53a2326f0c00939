"""Whether this machine can run a policy: its ports, certificates and folders are tried, and nothing is changed."""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path

import attrs

from edgesbc.base import limits
from edgesbc.base.address import Source, Transport, Zone
from edgesbc.base.errors import PolicyError
from edgesbc.inventory.databases import DRIVERS
from edgesbc.kernel_relay.attached import AttachedRelay
from edgesbc.kernel_relay.mode import KernelMode
from edgesbc.policy.certificate_files import authorities_mistake, certificate_mistakes, parsed_file
from edgesbc.policy.model import ANY_DEVICE, CONTROL_SOCKET, Policy

__all__ = ["MediaCapacity", "descriptors_needed", "media_capacity", "preflight", "served"]

_LOOPBACK = 1
"""Number of ``lo``, which every network namespace has."""

_Mistakes = Iterator[tuple[str, str]]


def preflight(policy: Policy, beside: bool = False, left: bool = False) -> list[PolicyError]:
    """Every reason why this machine cannot run ``policy`` now; empty if it can.

    Each port is bound for a moment, so ports of an edge that already runs this policy are in use. With ``beside``
    they are no mistake, if an edge runs from the same state directory; with ``left`` neither: its processes are taken
    over.
    """
    beside = left or (beside and served(policy))
    return [
        PolicyError(policy.file, key, message)
        for mistakes in (
            _state_dir(policy, beside),
            _listeners(policy, beside),
            _databases(policy),
            _media(policy),
            _http(policy, beside),
        )
        for key, message in mistakes
    ]


def descriptors_needed(policy: Policy) -> int:
    """Descriptors of a process of an edge with as many connections and calls with media as ``policy`` allows: of the
    only one, or of the one that needs most.

    Connections have a share of all that there are, whatever calls need.
    """
    calls = 0
    if policy.media.engine == "builtin":
        ports = policy.media.ports
        calls = min(policy.edge.max_calls, (ports.last - ports.first + 1) // 2)
    connections, of_media = policy.edge.max_connections, 4 * calls  # RTP and RTCP on each side
    together = max(connections, of_media) if _is_apart(policy) else connections + of_media
    return max(together + limits.DESCRIPTORS_OWN, math.ceil(connections / limits.CONNECTIONS_SHARE))


def _is_apart(policy: Policy) -> bool:
    """Whether media has a process, and descriptors, of its own."""
    return policy.edge.planes == "processes"


@attrs.frozen
class MediaCapacity:
    """How many calls with one media section can be alive at once."""

    ports: int
    """By the range of ports at the addresses of both sides."""
    descriptors: int | None
    """By the descriptors, with ports for RTCP; without them twice as many. None: any number."""
    memory: int
    """Bytes for as many as ports, descriptors and ``max_calls`` allow."""


def media_capacity(policy: Policy, most_descriptors: int | None) -> MediaCapacity | None:
    """The capacity of a process that may have so many descriptors, None: any number; None without a media plane."""
    media = policy.media
    if media.engine != "builtin":
        return None
    pairs = (media.ports.last - media.ports.first + 1) // 2
    addresses = [set(media.address.of(zone)) for zone in Zone]
    # A call takes a pair on each side; an address that both sides have gives one pair to either.
    every: set[str] = set().union(*addresses)
    ports = min(*(pairs * len(of_zone) for of_zone in addresses), pairs * len(every) // 2)
    descriptors = None
    if most_descriptors is not None:
        connections = 0
        if not _is_apart(policy):
            connections = min(policy.edge.max_connections, int(most_descriptors * limits.CONNECTIONS_SHARE))
        descriptors = max(0, most_descriptors - connections - limits.DESCRIPTORS_OWN) // 4
    bounds = [ports, policy.edge.max_calls, *([] if descriptors is None else [descriptors])]
    return MediaCapacity(ports, descriptors, min(bounds) * limits.MEDIA_SESSION_BYTES)


def served(policy: Policy) -> bool:
    """Whether a running edge accepts connections at the control socket in the state directory of ``policy``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(str(policy.edge.state_dir / CONTROL_SOCKET))
        except OSError:
            return False
    return True


def _state_dir(policy: Policy, beside: bool) -> _Mistakes:
    folder = policy.edge.state_dir
    existing = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    if not existing.is_dir():
        yield "edge.state_dir", f"expected a folder, found the file {existing}"
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield "edge.state_dir", f"expected a folder that this user can write, found {existing}"
    elif existing == folder and folder.stat().st_mode & 0o002:
        # Who puts files there has the key of the edge's tokens, its bans and its control socket.
        mode = f"{folder.stat().st_mode & 0o7777:o}"
        yield "edge.state_dir", f"expected a folder that not every user can change, found {folder} with mode {mode}"
    elif not beside and served(policy):
        yield "edge.state_dir", f"expected a folder of its own, found {folder}, which another edge runs from"


def _listeners(policy: Policy, beside: bool) -> _Mistakes:
    for index, listener in enumerate(policy.listen):
        table = f"listen[{index}]"
        if refusal := _no_device(listener.device):
            yield f"{table}.device", refusal
        elif refusal := _bindable(listener.bind, listener.transport is Transport.UDP, beside):
            yield f"{table}.bind", refusal
        if listener.certificate is not None:
            for mistake in certificate_mistakes(listener.certificate):
                yield f"{table}.certificate", mistake
        if listener.client_ca is not None and (mistake := authorities_mistake(listener.client_ca)):
            yield f"{table}.client_ca", mistake


def _databases(policy: Policy) -> _Mistakes:
    """Whether drivers and password files exist; `edgesbc check` reads the databases themselves."""
    for index, database in enumerate(policy.database):
        driver = DRIVERS[(database.url or "sqlite:").partition(":")[0]]
        if find_spec(driver.module) is None:
            install = f"pip install '{driver.package}'"
            yield f"database[{index}].url", f"expected the driver {driver.module}, found none: {install}"
        if database.password_file is not None:
            yield from ((f"database[{index}].password_file", mistake) for mistake in _secret(database.password_file))


def _secret(path: Path) -> Iterator[str]:
    _, mistake = parsed_file(path, "a password in the first line", lambda data: data.decode().splitlines()[0])
    if mistake:
        yield mistake
    elif path.stat().st_mode & 0o077:
        yield f"expected a file that its owner alone can read, found {path} with mode {path.stat().st_mode & 0o777:o}"


def _media(policy: Policy) -> _Mistakes:
    if policy.media.engine != "builtin":
        return
    for zone in Zone:
        for address in policy.media.address.of(zone):
            if not ip_address(address).is_unspecified and (refusal := _bindable(Source(address, 0), True)):
                yield f"media.address.{zone}", refusal
    if policy.media.kernel is KernelMode.REQUIRE:
        try:
            AttachedRelay([_LOOPBACK], 1, 0).close()
        except OSError as error:
            yield "media.kernel", f"expected a kernel that relays packets: {error.strerror}"


def _http(policy: Policy, beside: bool) -> _Mistakes:
    if policy.observe.http is not None and (refusal := _bindable(policy.observe.http, False, beside)):
        yield "observe.http", refusal


def _bindable(address: Source, udp: bool, beside: bool = False) -> str:
    """Why the kernel refuses ``address``, or ""; with ``beside`` it may be in use."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if not udp:  # connections in TIME_WAIT of a stopped edge do not count
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address.host, address.port))
            if not udp:
                probe.listen(1)
    except OSError as error:
        if beside and error.errno == errno.EADDRINUSE:
            return ""
        return f"expected an address and port that can be bound, found {address}: {error.strerror}"
    return ""


def _no_device(name: str) -> str:
    """Why no socket can be bound to a device, or ""."""
    if name in ("", ANY_DEVICE):
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
        except OSError as error:
            devices = ", ".join(device for _, device in socket.if_nameindex())
            return f"expected a network device ({devices}) or any, found {name!r}: {error.strerror}"
    return ""
