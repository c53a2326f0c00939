"""Fuzz target: a session description on its way through the relay.

The first byte says which sections the relay takes and how it is addressed, the others are the description. For
whatever bytes come:

- what :func:`anchor` makes of it is a description, and anchored once more at the same place it is the same;
- it has the same sections in the same order, each on the relay's port or rejected;
- no address or port that media could go to is one of the sender's: neither in ``o=``, ``c=`` or ``m=`` nor in an
  attribute, however it is spelt;
- of the attributes that are left, each is one that came, in the order that they came in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from edgesbc.base.errors import WireError
from edgesbc.sdp.rewrite import RelayAddress, rewrite_session
from edgesbc.sdp.session import Attribute, SessionDescription, parse_session

ADDRESSES: Final = ("203.0.113.10", "2001:db8::10")
_UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
_FIRST_PORT = 30_000

# What names an address of the sender, or belongs to a path that ends at the relay. By how RFC 8839, RFC 3605,
# RFC 6947, RFC 4570, RFC 7006, 3GPP TS 29.079 and the first drafts of ICE spell it.
_PATHS: Final = frozenset(
    """
    candidate remote-candidates end-of-candidates ice-ufrag ice-pwd ice-options ice-lite ice-mismatch ice-pacing
    rtcp altc source-filter ccap visited-realm secondary-realm alt fingerprint setup tls-id dtls-id bundle-only
    """.split()
)


def check(data: bytes) -> None:
    options = data[0] if data else 0
    try:
        session = parse_session(data[1:])
    except WireError:
        return
    address = ADDRESSES[options & 1]
    muxed = bool(options & 2)
    places = [
        RelayAddress(0 if options >> 2 + index % 6 & 1 else _FIRST_PORT + 2 * index, muxed)
        for index in range(len(session.media))
    ]
    shown = rewrite_session(session, address, places)
    again = parse_session(shown.serialise())
    assert again == shown
    assert rewrite_session(again, address, places) == shown
    assert_hidden(again, address, [place.port for place in places])
    assert [(m.kind, m.protocol, m.formats) for m in again.media] == [
        (m.kind, m.protocol, m.formats) for m in session.media
    ]
    assert came(again.attributes, session.attributes)
    for now, before, place in zip(again.media, session.media, places, strict=True):
        assert now.port == (place.port if before.port else 0)
        assert came(now.attributes, before.attributes)
        assert muxed or not {"rtcp-mux", "rtcp-mux-only"}.intersection(map(spelt, now.attributes))


def assert_hidden(session: SessionDescription, address: str, ports: Collection[int]) -> None:
    """Nothing in it names another place than the ports of the relay at this address."""
    family = "IP6" if ":" in address else "IP4"
    assert (session.origin.username, session.origin.family, session.origin.address) == ("-", family, address)
    for media in session.media:
        connection = session.connection_of(media)
        assert connection is not None
        assert connection.family == family
        assert connection.address == address or connection.address in _UNSPECIFIED
        assert media.port == 0 or media.port in ports
        assert media.ports == 1
    for attribute in [*session.attributes, *(each for media in session.media for each in media.attributes)]:
        assert spelt(attribute) not in _PATHS
        value = (attribute.value or "").strip()
        assert spelt(attribute) != "group" or not value.upper().startswith("BUNDLE")
        if spelt(attribute) == "acap":  # an attribute in an attribute (RFC 5939 section 3.3.2)
            assert value.partition(" ")[2].partition(":")[0].strip().lower() not in _PATHS


def spelt(attribute: Attribute) -> str:
    """The name as a forgiving reader takes it."""
    return attribute.name.strip().lower()


def came(now: Iterable[Attribute], before: Iterable[Attribute]) -> bool:
    """Whether the one is the other with gaps."""
    rest = iter(before)
    return all(any(attribute == other for other in rest) for attribute in now)
