"""Fuzz target: the value of one header field.

The first byte chooses the parser (``READERS``), the others are the value as in a message.

For any input:

- each parser returns a value or raises WireError, and nothing else; so do all properties of the value;
- the value can be serialised and parsed again, and is then the same;
- a serialised value has no control byte apart from tab, so that it is one line;
- lists and parameters are bounded, no parameter occurs twice, and numbers are in their range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.digest import Digest, is_stale, parse_digest, renewed
from edgesbc.sip.extensions import (
    parse_asserted_identity,
    parse_event,
    parse_identity,
    parse_min_se,
    parse_privacy,
    parse_rack,
    parse_reason,
    parse_refer_to,
    parse_replaces,
    parse_session_expires,
)  # fmt: skip
from edgesbc.sip.headers import NameAddr, Via, parse_cseq, parse_name_addr, parse_via, split_list
from edgesbc.sip.uri import Parameters
from edgesbc.sip.values import (
    DELTA_SECONDS,
    Contact,
    Values,
    parse_allow,
    parse_contact,
    parse_content_length,
    parse_expires,
    parse_max_forwards,
    parse_require,
    parse_retry_after,
    parse_route,
    parse_supported,
)  # fmt: skip

READERS: Final[dict[bytes, Callable[[str], object]]] = {
    b"A": parse_allow, b"C": parse_cseq, b"D": parse_digest, b"E": parse_expires,
    b"L": lambda text: Values(split_list(text)),
    b"M": parse_max_forwards, b"N": parse_min_se, b"P": parse_privacy, b"R": parse_route, b"a": parse_rack,
    b"b": parse_replaces, b"e": parse_reason, b"f": parse_name_addr, b"i": parse_asserted_identity,
    b"k": parse_supported, b"l": parse_content_length, b"m": parse_contact, b"o": parse_event, b"q": parse_require,
    b"r": parse_refer_to, b"t": parse_retry_after, b"v": parse_via, b"x": parse_session_expires,
    b"y": parse_identity,
}  # fmt: skip
"""By letter: that of the compact form (RFC 3261 section 7.3.3) if there is one."""

# Bytes that parse_message refuses in a header field or has removed.
_NOT_TEXT = bytes([*range(9), *range(10, 32), 127])

# The attributes, besides the parameters, by which two values differ.
_ATTRIBUTES = (
    "display", "uri_text", "transport", "host", "port", "seconds", "comment", "package", "protocol", "call_id",
    "digest", "info",
)  # fmt: skip


def check(data: bytes) -> None:
    read = READERS.get(data[:1])
    if read is None:
        return
    line = data[1 : limits.HEADER_FIELD_BYTES].translate(None, _NOT_TEXT)
    text = line.decode("utf-8", "surrogateescape").strip(" \t")
    try:
        value = read(text)
    except WireError:
        return
    written = str(value)
    assert not any((character < " " and character != "\t") or character == "\x7f" for character in written)
    parsed_again = read(written)
    assert comparable(parsed_again) == comparable(value)
    assert str(parsed_again) == written
    for item in value if isinstance(value, Values) else [value]:
        check_value(item)
    if isinstance(value, Values):
        assert len(value) <= limits.HEADER_FIELDS


def comparable(value: object) -> object:
    if isinstance(value, Values):
        return [comparable(item) for item in value]
    if isinstance(value, Parameters):
        return [type(value), value.params, *(getattr(value, name, None) for name in _ATTRIBUTES)]
    return value


def check_value(value: object) -> None:
    """Check all properties of a value."""
    if isinstance(value, tuple | int):
        numbers = [value] if isinstance(value, int) else [item for item in value if isinstance(item, int)]
        assert all(0 <= number < 10**10 for number in numbers)
    elif isinstance(value, str):
        assert value
    else:
        assert isinstance(value, Parameters)
        names = [name for name, _ in value.params]
        assert len(names) == len(set(names)) <= limits.PARAMETERS
        assert names == [name.lower() for name in names]
        assert 0 < (getattr(value, "port", None) or 1) < 65536
        assert 0 <= getattr(value, "seconds", 0) <= DELTA_SECONDS
    if isinstance(value, NameAddr) and not (isinstance(value, Contact) and value.is_all):
        assert value.tag == (value.param("tag") or "")
        assert not set(value.uri_text) & set(" \t<>")
        try:
            str(value.uri)
        except WireError:
            assert not isinstance(value, Contact)
    if isinstance(value, Via) and len(value.params) < limits.PARAMETERS - 1:
        with_received = value.received_from("192.0.2.1", 4000)
        assert comparable(parse_via(str(with_received))) == comparable(with_received)
        assert with_received.param("rport") == (None if value.param("rport") is None else "4000")
        assert with_received.param("received") == (
            "192.0.2.1" if value.param("rport") is not None or value.host != "192.0.2.1" else None
        )
    if isinstance(value, Digest):
        assert all(value.text(name) is not None for name, _ in value.params)
        is_stale(str(value))
        parse_digest(renewed(str(value), lambda old: old))
    if isinstance(value, Contact):
        assert 0 <= (value.expires or 0) <= DELTA_SECONDS
