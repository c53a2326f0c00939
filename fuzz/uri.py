"""Fuzz target: a URI.

For whatever bytes come:

- :func:`parse_uri` returns a URI or raises WireError, and nothing else;
- what it returns can be written and read again, and is the same URI then, no longer than the first time;
- what is written stays where it is put: no control byte, no space and none of ``<>"`` is in it, and between the
  angle brackets of a header field it is read as the same URI;
- a SIP URI has a host, a port that there is and each parameter once; any other scheme has none of them.
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
    assert parts(parse_uri(written)) == parts(uri)
    address = parse_name_addr(f"<{written}>;tag=1")
    assert (parts(address.uri), address.params) == (parts(uri), (("tag", "1"),))
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


def parts(uri: Uri) -> tuple[object, ...]:
    return uri.scheme, uri.user, uri.host, uri.port, uri.params, uri.headers, uri.opaque
