"""Fuzz target: a session description that the relay rewrites.

The first byte says which sections the relay accepts and which address it has, the others are the description.

For any input:

- :func:`rewrite_session` returns a description that a second rewrite with the same addresses does not change;
- it has the same sections in the same order, each on the relay's port or rejected;
- it has no address or port of the sender to which media could be sent, neither in ``o=``, ``c=`` or ``m=`` nor in an
  attribute, in any spelling;
- its attributes are a subsequence of those of the description.
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

# Attributes that name an address of the sender, or belong to a path that ends at the relay, as spelt in RFC 8839,
# RFC 3605, RFC 6947, RFC 4570, RFC 7006, 3GPP TS 29.079 and the first drafts of ICE.
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
    relay_addresses = [
        RelayAddress(0 if options >> 2 + index % 6 & 1 else _FIRST_PORT + 2 * index, muxed)
        for index in range(len(session.media))
    ]
    rewritten = rewrite_session(session, address, relay_addresses)
    parsed_again = parse_session(rewritten.serialise())
    assert parsed_again == rewritten
    assert rewrite_session(parsed_again, address, relay_addresses) == rewritten
    assert_hidden(parsed_again, address, [relay_address.port for relay_address in relay_addresses])
    assert [(m.kind, m.protocol, m.formats) for m in parsed_again.media] == [
        (m.kind, m.protocol, m.formats) for m in session.media
    ]
    assert is_subsequence(parsed_again.attributes, session.attributes)
    for now, before, relay_address in zip(parsed_again.media, session.media, relay_addresses, strict=True):
        assert now.port == (relay_address.port if before.port else 0)
        assert is_subsequence(now.attributes, before.attributes)
        assert muxed or not {"rtcp-mux", "rtcp-mux-only"}.intersection(map(lenient_name, now.attributes))


def assert_hidden(session: SessionDescription, address: str, ports: Collection[int]) -> None:
    """The description has no address but this one of the relay, and no port but these."""
    family = "IP6" if ":" in address else "IP4"
    assert (session.origin.username, session.origin.family, session.origin.address) == ("-", family, address)
    for media in session.media:
        connection = session.connection_of(media)
        assert connection is not None
        assert connection.family == family
        assert connection.address == address or connection.address in _UNSPECIFIED
        assert media.port == 0 or media.port in ports
        assert media.ports == 1
    section_attributes = (attribute for media in session.media for attribute in media.attributes)
    for attribute in [*session.attributes, *section_attributes]:
        assert lenient_name(attribute) not in _PATHS
        value = (attribute.value or "").strip()
        assert lenient_name(attribute) != "group" or not value.upper().startswith("BUNDLE")
        if lenient_name(attribute) == "acap":  # an attribute in an attribute (RFC 5939 section 3.3.2)
            assert value.partition(" ")[2].partition(":")[0].strip().lower() not in _PATHS


def lenient_name(attribute: Attribute) -> str:
    """The name as a lenient parser reads it."""
    return attribute.name.strip().lower()


def is_subsequence(attributes: Iterable[Attribute], of: Iterable[Attribute]) -> bool:
    """Whether the attributes are among the others, in the same order."""
    rest = iter(of)
    return all(any(attribute == other for other in rest) for attribute in attributes)
