"""Fuzz target: a URI.

For any input:

- :func:`parse_uri` returns a URI or raises WireError, and nothing else;
- the URI can be serialised and parsed again, and is then the same, and no longer than before;
- the serialised URI has no control byte, no space and none of ``<>"``, and in the angle brackets of a header field it
  is parsed as the same URI;
- a SIP URI has a host, a valid port or none and each parameter once; a URI of another scheme has none of these.
"""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.headers import parse_name_addr
from edgesbc.sip.uri import Uri, parse_uri


def check(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        uri = parse_uri(text)
    except WireError:
        return
    written = str(uri)
    assert len(written) <= len(text) <= limits.START_LINE_BYTES
    assert written.isascii()
    assert written.isprintable()
    assert not set(written) & set(' <>"')
    assert str(parse_uri(written)) == written
    assert comparable(parse_uri(written)) == comparable(uri)
    address = parse_name_addr(f"<{written}>;tag=1")
    assert (comparable(address.uri), address.params) == (comparable(uri), (("tag", "1"),))
    names = [name for name, _ in uri.params]
    if uri.scheme in ("sip", "sips"):
        assert uri.host
        assert not uri.opaque
        assert uri.port is None or 0 < uri.port < 65536
        assert len(names) == len(set(names)) <= limits.PARAMETERS
        assert uri.transport == uri.transport.lower()
    else:
        assert uri.opaque
        assert (uri.user, uri.host, uri.port, names, uri.headers) == (None, "", None, [], "")


def comparable(uri: Uri) -> tuple[object, ...]:
    return uri.scheme, uri.user, uri.host, uri.port, uri.params, uri.headers, uri.opaque
