"""The relay's interfaces, and what a description says about the peer of a port: values. Without I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from edgesbc.base.address import Source, Zone, family_of
from edgesbc.base.latch_mode import LatchMode
from edgesbc.base.prefixes import PrefixSet

__all__ = ["NO_TARGET", "MediaInterface", "MediaTarget"]


@attrs.frozen
class MediaInterface:
    """The relay's interface of one address family in one zone."""

    zone: Zone
    address: str
    """The literal address that ports are bound to."""
    advertise: str
    """The address that descriptions show to peers; another one than ``address`` behind a one-to-one NAT."""
    ports: tuple[int, int]
    """First and last port of the range."""
    trusted: bool = False
    """Whether peers are the operator's own servers, which may use any port and any private address."""
    refused: frozenset[str] = frozenset()
    """Addresses of the other interfaces: media for them would loop inside the relay."""
    denied: PrefixSet = attrs.field(factory=PrefixSet, eq=False)
    """Prefixes that no description from this zone may name: the networks of the core."""
    inside: Callable[[str], bool] | None = attrs.field(default=None, eq=False)
    """Whether an address is of the private side, as it is now; None: ``denied`` says all."""
    name: str = ""
    """What commands call it by, where a zone has several of one family."""

    @property
    def family(self) -> str:
        """Its address family, ``IP4`` or ``IP6`` as in ``c=`` (RFC 8866 section 5.7)."""
        return family_of(self.address)


@attrs.frozen
class MediaTarget:
    """What a description says about the peer of one port."""

    signalled: Source | None
    """The address in the description, even if nothing is ever sent to it: another address means another peer."""
    send_to: Source | None
    """Where to send until the peer is learned; None: send nothing before that."""
    learn_from: frozenset[str]
    """The addresses whose first packet makes its source the peer."""
    udptl: bool = False
    """Whether packets are those of UDPTL (ITU-T T.38), which have no head to be known by; otherwise RTP."""
    latch: LatchMode = LatchMode.STRICT
    """Whether the port follows the source of the peer's packets."""
    opaque: bool = False
    """Whether packets are datagrams of a profile that the relay does not know."""
    limited: bool = attrs.field(default=False, eq=False)
    """Whether no more bytes are sent to the peer than came from it, because it has not shown that it wants them."""

    @property
    def is_rtp(self) -> bool:
        """Whether packets are RTP or RTCP."""
        return not (self.udptl or self.opaque)

    def with_limit(self, limited: bool) -> MediaTarget:
        """The same with another :attr:`limited`."""
        if limited == self.limited:
            return self
        return MediaTarget(self.signalled, self.send_to, self.learn_from, self.udptl, self.latch, self.opaque, limited)

    def with_latch(self, mode: LatchMode) -> MediaTarget:
        """The same with the mode ``mode``. Where nothing may be sent to the signalled address, which is one of the
        peer's own network, it is sent to the source of the peer's packets instead of nowhere."""
        if mode is LatchMode.SYMMETRIC_OFF and self.send_to is None:
            mode = LatchMode.STRICT
        if mode is self.latch or self.signalled is None:
            return self
        return MediaTarget(self.signalled, self.send_to, self.learn_from, self.udptl, mode, self.opaque, self.limited)


NO_TARGET: Final = MediaTarget(None, None, frozenset())
"""The target of a port on hold or without an answer: it receives from no source and sends to none."""
