"""The listeners of a policy in a replay, and which of them a captured packet was sent to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgesbc.base.address import Listener, Source, Transport
from edgesbc.base.prefixes import PrefixSet
from edgesbc.base.validation import listed_address
from edgesbc.policy.model import ListenSettings, Policy
from edgesbc.replay.packets import NotReadable, Packet

__all__ = ["ReplayListeners", "check_mapping"]

_WILDCARDS = {"0.0.0.0": "", "::": ":"}  # noqa: S104 - compared, not bound
"""Wildcard hosts, and their keys in the table of listeners."""


def check_mapping(texts: Iterable[tuple[Source, str]], policy: Policy) -> dict[Source, str]:
    """The mapping of ``--to`` as a dict. Raises ``ValueError`` for a listener that the policy does not have."""
    names = [settings.name for settings in policy.listen]
    to = {}
    for source, name in texts:
        if name not in names:
            raise ValueError(f"{source}={name}: expected a listener of the policy ({', '.join(names)})")
        to[source] = name
    return to


class ReplayListeners:
    """The listeners of a policy by their addresses; ``to`` maps addresses of the capture to listeners by name."""

    def __init__(self, policy: Policy, to: Mapping[Source, str]) -> None:
        self._settings = policy.listen
        self._at: dict[tuple[bool, str, int], int] = {}
        self._mapped: dict[int, Source] = {}
        numbers = {settings.name: number for number, settings in enumerate(policy.listen)}
        for number, settings in enumerate(policy.listen):
            host = _WILDCARDS.get(settings.bind.host, settings.bind.host)
            self._at[settings.transport is not Transport.UDP, host, settings.bind.port] = number
        for source, name in to.items():
            number = numbers[name]
            self._at[policy.listen[number].transport is not Transport.UDP, source.host, source.port] = number
            self._mapped.setdefault(number, source)
        # Hosts that certainly are or are not the edge: for listeners on a wildcard, of which only the port is known.
        advertised = {settings.advertise.host for settings in policy.listen if settings.advertise is not None}
        bound = {settings.bind.host for settings in policy.listen} - set(_WILDCARDS)
        media = {*policy.media.address.public, *policy.media.advertise.public} - set(_WILDCARDS)
        self._ours = advertised | bound | {source.host for source in to} | media
        self._theirs = PrefixSet(_theirs(policy))

    def settings(self, number: int) -> ListenSettings:
        return self._settings[number]

    def of(self, stream: bool, end: Source) -> int | None:
        """The number of the listener with this address, or with its port on a wildcard; None if there is none."""
        number = self._at.get((stream, end.host, end.port))
        if number is None:
            number = self._at.get((stream, ":" if ":" in end.host else "", end.port))
            if number is not None and end.host in self._theirs:
                return None
        return number

    def of_packet(self, packet: Packet) -> tuple[int, bool] | None:
        """The listener that a packet was sent to or from, and whether it was sent to it; None if neither.

        Raises :class:`NotReadable` if both ends could be listeners.
        """
        to, from_ = self.of(packet.stream, packet.destination), self.of(packet.stream, packet.source)
        if to is not None and from_ is not None and not self._is_ours(packet.stream, packet.destination):
            if self._is_ours(packet.stream, packet.source) or packet.outgoing:
                to = None
            elif packet.outgoing is None:
                raise NotReadable("either end could be a listener on a wildcard: say which with --to")
        if to is None:
            return None if from_ is None else (from_, False)
        if packet.outgoing:
            raise NotReadable(
                "as their sender on the same machine saw them"
            )  # the capture has them a second time, as received
        return to, True

    def _is_ours(self, stream: bool, end: Source) -> bool:
        return end.host in self._ours or (stream, end.host, end.port) in self._at

    def listeners(self) -> list[Listener]:
        """The listeners for an edge, in the order of the policy."""
        return [self._listener(number, settings) for number, settings in enumerate(self._settings)]

    def _listener(self, number: int, settings: ListenSettings) -> Listener:
        bind, shown = settings.bind, settings.bind
        if number in self._mapped:
            shown = self._mapped[number]
        elif settings.advertise is not None:
            shown = Source(settings.advertise.host, settings.advertise.port or bind.port)
        port = bind.port or shown.port or settings.transport.default_port  # no port 0 in a Via
        return Listener(
            number, settings.name, settings.zone, settings.transport, bind.host, port, shown.host, shown.port or port
        )  # fmt: skip


def _theirs(policy: Policy) -> list[str]:
    """Addresses of destinations and trunks, as prefixes."""
    targets = [member.target for settings in policy.destinations for member in settings.members]
    prefixes = [target.source.host for target in targets if target is not None]
    for trunk in policy.trunk:
        for text in trunk.addresses:
            listed = listed_address(text)
            prefixes.append(listed.host if isinstance(listed, Source) else str(listed))
    return prefixes
