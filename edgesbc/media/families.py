"""The interface, and with it the address family, that faces each side of a media session (RFC 6157). Without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgesbc.base.address import Zone, family_of
from edgesbc.base.errors import WireError
from edgesbc.media.commands import Offer, RelayLayout
from edgesbc.media.latch import FAMILY_NAMES, MediaInterface
from edgesbc.media.session import SideInterfaces
from edgesbc.media.targets import described_family
from edgesbc.sdp.session import SessionDescription

__all__ = ["interfaces_for_offer", "interfaces_of_layout"]


def interfaces_for_offer(
    interfaces: Mapping[Zone, Sequence[MediaInterface]],
    offer: Offer,
    description: SessionDescription,
    offerer: int,
    current: SideInterfaces | None,
    opaque: frozenset[str] = frozenset(),
) -> SideInterfaces:
    """The interface of each side for an offer of the side ``offerer``, where the session has ``current`` so far.
    ``opaque`` are protocols as in :func:`is_relayed`.

    The offerer has the family of the first address in its description; on hold it has none there, and keeps that of the
    session, or gets that of its SIP message. The other side keeps that of its own
    description; before it has sent one, it gets the ``answerer_family`` of the offer, else that of the offerer,
    each where its zone has it. Raises :class:`WireError` with 488 where the offerer's zone has no interface of
    its family, or one of the zones none of the name that the offer says.
    """
    own = _named(interfaces[offer.offerer_zone], offer.offerer_interface)
    other = _named(interfaces[offer.answerer_zone], offer.answerer_interface)
    family = described_family(description, opaque)
    if family:
        facing_offerer = _of_family(own, family)
        if facing_offerer is None:
            expected, found = FAMILY_NAMES[own[0].family], FAMILY_NAMES[family]
            raise WireError(f"expected a media address of {expected}, found one of {found}", 488)
    else:
        facing_offerer = _kept(own, current, offerer) or _of_family(own, family_of(offer.received_from)) or own[0]
    wanted = offer.answerer_family or facing_offerer.family
    facing_answerer = _kept(other, current, 1 - offerer) or _of_family(other, wanted) or other[0]
    return (facing_offerer, facing_answerer) if offerer == 0 else (facing_answerer, facing_offerer)


def _named(of_zone: Sequence[MediaInterface], name: str) -> list[MediaInterface]:
    named = [interface for interface in of_zone if interface.name == name]
    if not named:
        raise WireError("the relay has no interface of that name", 488)
    return named


def interfaces_of_layout(
    interfaces: Mapping[Zone, Sequence[MediaInterface]], chosen: SideInterfaces, layout: RelayLayout, offerer: int
) -> SideInterfaces:
    """The interfaces with the addresses of ``layout``, in the zones of ``chosen``. Raises :class:`WireError` with 488
    where there are none."""
    first, second = layout.addresses if offerer == 0 else (layout.addresses[1], layout.addresses[0])
    return _bound_to(interfaces[chosen[0].zone], first), _bound_to(interfaces[chosen[1].zone], second)


def _bound_to(of_zone: Sequence[MediaInterface], address: str) -> MediaInterface:
    for interface in of_zone:
        if interface.address == address:
            return interface
    raise WireError(f"the relay has no interface with the address {address} on that side", 488)


def _kept(of_zone: Sequence[MediaInterface], current: SideInterfaces | None, side: int) -> MediaInterface | None:
    """The interface that a side has so far, if it is one of this zone."""
    return current[side] if current is not None and current[side] in of_zone else None


def _of_family(of_zone: Sequence[MediaInterface], family: str) -> MediaInterface | None:
    return next((interface for interface in of_zone if interface.family == family), None)
