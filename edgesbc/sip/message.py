"""Requests and responses as values: header fields in order, with typed access to those that every message has."""

from __future__ import annotations

from edgesbc.sip.headers import NameAddr, Via, parse_name_addr
from edgesbc.sip.uri import Uri

__all__ = ["Fields", "Message", "Request", "Response", "phrase", "serialise"]

Fields = list[tuple[str, str]]

PHRASES = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 183: "Session Progress", 200: "OK",
    400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout",
    413: "Request Entity Too Large", 414: "Request-URI Too Long", 415: "Unsupported Media Type",
    416: "Unsupported URI Scheme", 420: "Bad Extension", 440: "Max-Breadth Exceeded",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected",
    483: "Too Many Hops", 487: "Request Terminated",
    488: "Not Acceptable Here", 491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented",
    503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large",
    603: "Decline",
}  # fmt: skip


def phrase(status: int) -> str:
    """The reason phrase of a status that the edge itself answers with (RFC 3261 section 21)."""
    return PHRASES.get(status, "Unknown")


class Message:
    """What requests and responses share.

    ``fields`` are the header fields in the order of the wire, names in canonical form, values unfolded,
    lists of Via, Route, Record-Route, Contact and Path one value a field, without Content-Length, which
    is that of ``body``. ``via`` is the topmost Via;
    ``cseq`` and ``cseq_method`` are the two parts of CSeq; ``from_tag`` and ``to_tag`` are "" where there is none.
    """

    __slots__ = (
        "_first", "body", "call_id", "cseq", "cseq_method", "fields", "from_", "from_tag", "to", "to_tag", "via",
    )  # fmt: skip

    def __init__(
        self,
        fields: Fields,
        first: dict[str, str],
        body: bytes,
        via: Via,
        call_id: str,
        cseq: int,
        cseq_method: str,
    ) -> None:
        self.fields = fields
        self._first = first
        self.body = body
        self.via = via
        self.call_id = call_id
        self.cseq = cseq
        self.cseq_method = cseq_method
        self.from_: NameAddr = parse_name_addr(first["From"])
        self.to: NameAddr = parse_name_addr(first["To"])
        self.from_tag = self.from_.tag
        self.to_tag = self.to.tag

    def get(self, name: str) -> str | None:
        """The first value of the field with this canonical name."""
        return self._first.get(name)

    def get_all(self, name: str) -> list[str]:
        """Every value of the fields with this canonical name, in order."""
        return [value for key, value in self.fields if key == name] if name in self._first else []


class Request(Message):
    """A request; ``max_forwards`` is None where the field is missing."""

    __slots__ = ("max_forwards", "method", "uri")

    def __init__(
        self,
        method: str,
        uri: Uri,
        fields: Fields,
        first: dict[str, str],
        body: bytes,
        via: Via,
        call_id: str,
        cseq: int,
        cseq_method: str,
        max_forwards: int | None,
    ) -> None:
        super().__init__(fields, first, body, via, call_id, cseq, cseq_method)
        self.method = method
        self.uri = uri
        self.max_forwards = max_forwards

    @property
    def in_dialog(self) -> bool:
        """Whether the request belongs to a dialog: its To has a tag (RFC 3261 section 12.2)."""
        return self.to_tag != ""

    def __repr__(self) -> str:
        return f"<{self.method} {self.uri} {self.call_id} {self.cseq}>"


class Response(Message):
    __slots__ = ("phrase", "status")

    def __init__(
        self,
        status: int,
        phrase: str,
        fields: Fields,
        first: dict[str, str],
        body: bytes,
        via: Via,
        call_id: str,
        cseq: int,
        cseq_method: str,
    ) -> None:
        super().__init__(fields, first, body, via, call_id, cseq, cseq_method)
        self.status = status
        self.phrase = phrase

    def __repr__(self) -> str:
        return f"<{self.status} {self.cseq_method} {self.call_id} {self.cseq}>"


def serialise(start_line: str, fields: Fields, body: bytes) -> bytes:
    """A message as bytes; Content-Length is written here and must not be among the fields."""
    lines = [start_line]
    lines += [f"{name}: {value}" for name, value in fields]
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body
