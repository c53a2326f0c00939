"""Requests that open a WebSocket or do not: RFC 6455 section 4.2, row by row."""

from __future__ import annotations

from typing import NamedTuple

from support.websocket_frames import KEY

__all__ = ["ROWS", "Row"]

FIELDS = (
    "Host: edge", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: sip",
)  # fmt: skip


class Row(NamedTuple):
    """``reason`` is a label for metrics. The rest says how the request differs from one that opens a WebSocket."""

    name: str
    section: str
    status: int = 101
    reason: str = "handshake"
    line: str = "GET / HTTP/1.1"
    without: str = ""  # the name of a field that it lacks
    more: tuple[str, ...] = ()  # fields that it has besides

    @property
    def request(self) -> bytes:
        fields = [field for field in FIELDS if not self.without or not field.startswith(f"{self.without}:")]
        assert len(fields) == len(FIELDS) - bool(self.without)
        return ("\r\n".join((self.line, *fields, *self.more)) + "\r\n\r\n").encode("latin-1")


def instead(name: str, section: str, field: str, *values: str, status: int = 101, reason: str = "handshake") -> Row:
    """A row whose request has these values of the field instead of the usual one."""
    return Row(name, section, status, reason, without=field, more=tuple(f"{field}: {value}" for value in values))


KEY_FIELD, VERSION, PROTOCOL = "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol"
ROWS = (
    # The request line.
    Row("as it should be", "4.2.1"),
    Row("a path and a query", "4.2.1 1", line="GET /ws/sip?token=a%20b HTTP/1.1"),
    Row("an absolute URI", "4.2.1 1", line="GET http://edge/ws HTTP/1.1"),
    *(
        Row(f"the method {method}", "4.2.1 1", 400, line=f"{method} / HTTP/1.1")
        for method in ("POST", "HEAD", "OPTIONS", "CONNECT", "get", "GETX", "G")
    ),
    *(
        Row(f"the version {version}", "4.2.1 1", 400, line=f"GET / {version}")
        for version in ("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1", "HTTP/11.1", "http/1.1", "SIP/2.0", "HTTP/1.1x")
    ),
    Row("no version", "4.2.1 1", 400, line="GET /"),
    Row("no target", "4.2.1 1", 400, line="GET  HTTP/1.1"),
    Row("a target of two words", "4.2.1 1", 400, line="GET /a b HTTP/1.1"),
    Row("a target that is not ASCII", "4.2.1 1", 400, line="GET /\xe9 HTTP/1.1"),
    Row("an empty line before it", "4.2.1 1", 400, line="\r\nGET / HTTP/1.1"),
    # Host.
    instead("no Host", "4.2.1 2", "Host", status=400),
    instead("an empty Host", "4.2.1 2", "Host", "", status=400),
    instead("two Hosts", "4.2.1 2", "Host", "edge", "edge", status=400),
    instead("two different Hosts", "4.2.1 2", "Host", "edge", "other", status=400),
    instead("a Host with a port", "4.2.1 2", "Host", "edge.example.com:8443"),
    instead("an address as Host", "4.2.1 2", "Host", "[2001:db8::1]:8443"),
    # Upgrade.
    instead("no Upgrade", "4.2.1 3", "Upgrade", status=400),
    instead("an empty Upgrade", "4.2.1 3", "Upgrade", "", status=400),
    instead("Upgrade in capitals", "4.2.1 3", "Upgrade", "WebSocket"),
    instead("Upgrade with another protocol", "4.2.1 3", "Upgrade", "h2c, WebSocket"),
    instead("two Upgrades", "4.2.1 3", "Upgrade", "h2c", "websocket"),
    instead("Upgrade to something else", "4.2.1 3", "Upgrade", "h2c", status=400),
    instead("Upgrade to a longer name", "4.2.1 3", "Upgrade", "websockets", status=400),
    instead("Upgrade to a part of the name", "4.2.1 3", "Upgrade", "web socket", status=400),
    instead("Upgrade to a version", "4.2.1 3", "Upgrade", "websocket/13", status=400),
    instead("Upgrade that is not ASCII", "4.2.1 3", "Upgrade", "websocket, \xe9", status=400),
    # Connection.
    instead("no Connection", "4.2.1 4", "Connection", status=400),
    instead("an empty Connection", "4.2.1 4", "Connection", "", status=400),
    instead("Connection in capitals", "4.2.1 4", "Connection", "UPGRADE"),
    instead("Connection with other options before", "4.2.1 4", "Connection", "keep-alive, Upgrade"),
    instead("Connection with other options behind", "4.2.1 4", "Connection", "upgrade ,keep-alive,\tTE"),
    instead("Connection with empty elements", "4.2.1 4", "Connection", ",, Upgrade,,"),
    instead("two Connections, the option in the first", "4.2.1 4", "Connection", "Upgrade", "keep-alive"),
    instead("two Connections, the option in the second", "4.2.1 4", "Connection", "keep-alive", "Upgrade"),
    instead("Connection without the option", "4.2.1 4", "Connection", "keep-alive", status=400),
    instead("Connection with a longer option", "4.2.1 4", "Connection", "Upgraded", status=400),
    instead("Connection with words", "4.2.1 4", "Connection", "please Upgrade", status=400),
    instead("Connection that is not ASCII", "4.2.1 4", "Connection", "Upgrade", "\xe9", status=400),
    # Sec-WebSocket-Key.
    instead("no key", "4.2.1 5", KEY_FIELD, status=400),
    instead("an empty key", "4.2.1 5", KEY_FIELD, "", status=400),
    instead("two keys", "4.2.1 5", KEY_FIELD, KEY, KEY, status=400),
    instead("two keys in one field", "4.2.1 5", KEY_FIELD, f"{KEY}, {KEY}", status=400),
    instead("a key of 15 bytes", "4.2.1 5", KEY_FIELD, "AAAAAAAAAAAAAAAAAAAA", status=400),
    instead("a key of 17 bytes", "4.2.1 5", KEY_FIELD, "AAAAAAAAAAAAAAAAAAAAAAA=", status=400),
    instead("a key of 18 bytes", "4.2.1 5", KEY_FIELD, "AAAAAAAAAAAAAAAAAAAAAAAA", status=400),
    instead("a key without padding", "4.2.1 5", KEY_FIELD, KEY[:-2], status=400),
    instead("a key in the alphabet for URLs", "4.2.1 5", KEY_FIELD, "_-" + KEY[2:], status=400),
    instead("a key with a space inside", "4.2.1 5", KEY_FIELD, KEY[:5] + " " + KEY[6:], status=400),
    instead("a key in quotes", "4.2.1 5", KEY_FIELD, f'"{KEY}"', status=400),
    instead("a key that is not ASCII", "4.2.1 5", KEY_FIELD, "\xe9" + KEY[1:], status=400),
    # Sec-WebSocket-Version.
    instead("no version of the protocol", "4.2.1 6", VERSION, status=400),
    *(
        instead(f"the version {version} of the protocol", "4.4", VERSION, version, status=426)
        for version in ("0", "7", "8", "12", "14", "013", "13.0", "13, 8", "8, 13", "thirteen", "")
    ),
    instead("two versions of the protocol", "11.3.5", VERSION, "13", "8", status=400),
    instead("the version twice", "11.3.5", VERSION, "13", "13", status=400),
    # Sec-WebSocket-Protocol.
    instead("no subprotocol", "4.2.1 8", PROTOCOL, status=400, reason="subprotocol"),
    instead("another subprotocol", "4.2.1 8", PROTOCOL, "chat", status=400, reason="subprotocol"),
    instead("an empty subprotocol", "4.2.1 8", PROTOCOL, "", status=400, reason="subprotocol"),
    instead("the subprotocol in capitals", "4.2.1 8", PROTOCOL, "SIP", status=400, reason="subprotocol"),
    instead("a longer subprotocol", "4.2.1 8", PROTOCOL, "sip2, xsip, si p", status=400, reason="subprotocol"),
    instead("sip among others", "4.2.1 8", PROTOCOL, "chat, sip,msrp"),
    instead("sip in the second of three fields", "11.3.4", PROTOCOL, "chat", "xmpp,\tsip ", "msrp"),
    instead("sip twice", "4.2.1 8", PROTOCOL, "sip, sip"),
    instead("empty subprotocols beside sip", "4.2.1 8", PROTOCOL, ", sip,,"),
    instead("a subprotocol that is not ASCII", "4.2.1 8", PROTOCOL, "sip, \xe9", status=400),
    # What is not looked at, and HTTP as such.
    Row("an Origin where none is required", "4.2.1 7", more=("Origin: null",)),
    Row("extensions, of which none is agreed", "4.2.1 9", more=("Sec-WebSocket-Extensions: permessage-deflate; a=1",)),
    Row("extensions in two fields", "11.3.2", more=("Sec-WebSocket-Extensions: a", "Sec-WebSocket-Extensions: b")),
    Row("an extension that is not ASCII", "4.2.1 9", 400, more=("Sec-WebSocket-Extensions: \xe9",)),
    Row("other fields", "4.2.1 10", more=("Cookie: a=b; c=d", "User-Agent: \xe9", "Pragma: no-cache", "X-Empty:")),
    Row("a body of no bytes", "4.2.1 1", more=("Content-Length: 0",)),
    Row("a body", "4.2.1 1", 400, more=("Content-Length: 11",)),
    Row("two lengths", "4.2.1 1", 400, more=("Content-Length: 0", "Content-Length: 11")),
    Row("a negative length", "4.2.1 1", 400, more=("Content-Length: -1",)),
    Row("a body in chunks", "4.2.1 1", 400, more=("Transfer-Encoding: chunked",)),
    Row("another transfer encoding", "4.2.1 1", 400, more=("Transfer-Encoding: gzip",)),
    Row("folded fields", "4.2.1 1", without="Upgrade", more=("Upgrade:\r\n  websocket", "X-Long: a\r\n\tb\r\n c")),
    Row("a folded key", "4.2.1 5", 400, without=KEY_FIELD, more=(f"{KEY_FIELD}: {KEY[:9]}\r\n {KEY[9:]}",)),
    Row("a first field that is folded", "4.2.1 1", 400, line="GET / HTTP/1.1\r\n folded"),
    Row("a field without a colon", "4.2.1 1", 400, more=("nonsense",)),
    Row("a field without a name", "4.2.1 1", 400, more=(": value",)),
    Row("a space before the colon", "4.2.1 1", 400, without="Upgrade", more=("Upgrade : websocket",)),
    Row("a name with a space", "4.2.1 1", 400, more=("X Y: z",)),
    Row("NUL in a value", "4.2.1 1", 400, more=("X: a\0b",)),
    Row("NUL in a name", "4.2.1 1", 400, more=("X\0: a",)),
    Row("CR alone in a value", "4.2.1 1", 400, more=("X: a\rb",)),
    Row("LF alone at the end of a line", "4.2.1 1", 400, more=("X: a\nY: b",)),
    Row("a blank line of two LF inside", "4.2.1 1", 400, more=("X: a\n\nY: b",)),
    Row("no space behind the colons", "4.2.1 1", without="Upgrade", more=("Upgrade:websocket",)),
    Row("names in lower case", "4.2.1 1", without="Upgrade", more=("upgrade: websocket",)),
    Row("names in upper case", "4.2.1 1", without=PROTOCOL, more=("SEC-WEBSOCKET-PROTOCOL: sip",)),
)  # fmt: skip
