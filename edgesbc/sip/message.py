"""Requests and responses as immutable values: header fields in order, with typed access to those that all have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgesbc.base.errors import WireError
from edgesbc.sip import grammar
from edgesbc.sip.fields import Field, Fields, check_text, checked_fields, refuse_repeated
from edgesbc.sip.headers import NameAddr, Via, parse_cseq, parse_name_addr, parse_via
from edgesbc.sip.phrases import phrase as phrase_of
from edgesbc.sip.uri import Uri, parse_uri
from edgesbc.sip.values import parse_max_forwards

__all__ = ["Field", "Fields", "Message", "Request", "Response", "serialise"]


class Message:
    """What requests and responses have in common. ``bytes(message)`` is its wire form.

    ``fields`` are the header fields in the order of the wire: names in canonical form, values unfolded, lists of
    Via, Route, Record-Route, Contact and Path with one value a field. Content-Length is not among them: it is
    written from ``body``. ``via`` is the topmost Via; ``cseq`` and ``cseq_method`` are the two parts of CSeq;
    ``from_tag`` and ``to_tag`` are "" where there is none.

    A message does not change: its attributes are final, its fields a tuple, and :meth:`get` and :meth:`get_all` look
    into an index of them. Type checkers and compiled code refuse an assignment. ``replace`` makes a changed copy.
    Two messages are equal where their wire forms are.
    """

    __slots__ = (
        "_first", "body", "call_id", "cseq", "cseq_method", "fields", "from_", "from_tag", "to", "to_tag", "via",
    )  # fmt: skip

    def __init__(self, fields: tuple[Field, ...], body: bytes, from_tag: str = "", to_tag: str = "") -> None:
        """``fields`` as the parser or ``checked_fields`` returns them; the tags replace missing ones. Raises
        :class:`WireError`."""
        first: dict[str, str] = {}
        for name, value in fields:
            first.setdefault(name, value)
        if len(first) != len(fields) or "Content-Length" in first:
            refuse_repeated(fields)
        self.fields: Final = fields
        self._first: Final = first
        self.body: Final = body
        try:
            via = parse_via(first["Via"])
            call_id = first["Call-ID"]
            number, method = parse_cseq(first["CSeq"])
            from_ = parse_name_addr(first["From"])
            to = parse_name_addr(first["To"])
        except KeyError as missing:
            raise WireError(f"{missing.args[0]} is missing") from None
        if not grammar.call_id(call_id):
            raise WireError("Call-ID is malformed")
        self.via: Final[Via] = via
        self.call_id: Final = call_id
        self.cseq: Final = number
        self.cseq_method: Final = method
        self.from_: Final[NameAddr] = from_
        self.to: Final[NameAddr] = to
        self.from_tag: Final = from_.tag or from_tag
        self.to_tag: Final = to.tag or to_tag

    def get(self, name: str) -> str | None:
        """The first value of the field ``name`` (in canonical form), or None."""
        return self._first.get(name)

    def get_all(self, name: str) -> list[str]:
        """Every value of the field ``name`` (in canonical form), in order."""
        return [value for key, value in self.fields if key == name] if name in self._first else []

    @property
    def start_line(self) -> str:
        """The request line or status line, without its CRLF."""
        raise NotImplementedError

    def __bytes__(self) -> bytes:
        return serialise(self.start_line, self.fields, self.body)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Message) and bytes(self) == bytes(other))

    def __hash__(self) -> int:
        return hash((self.call_id, self.cseq, self.fields))


_OUTSIDE_DIALOGS: Final = frozenset({"REGISTER", "PUBLISH"})


class Request(Message):
    """A request (RFC 3261 section 7.1); ``max_forwards`` is None where the field is missing.

    Raises :class:`WireError` where an argument could not stand on the wire, or a field that every message has
    (Via, From, To, Call-ID, CSeq) is missing. :func:`edgesbc.sip.build.request` writes those fields.
    """

    __slots__ = ("max_forwards", "method", "uri")

    def __init__(
        self,
        method: str,
        uri: Uri,
        fields: Iterable[Field],
        body: bytes = b"",
        _parsed: bool = False,
        _from_tag: str = "",
        _to_tag: str = "",
    ) -> None:
        """``_parsed`` is for the parser, which has checked method, URI and fields, the tags for :meth:`with_tags`."""
        if not _parsed:
            if not grammar.token(method):
                raise WireError(f"the method is not a token: found {method!r}")
            uri = _request_uri(uri)
        super().__init__(tuple(fields) if _parsed else checked_fields(fields), body, _from_tag, _to_tag)
        if self.cseq_method != method:
            raise WireError("the method of CSeq is not that of the request line")
        hops = self._first.get("Max-Forwards")
        self.method: Final = method
        self.uri: Final = uri
        self.max_forwards: Final[int | None] = None if hops is None else parse_max_forwards(hops)

    @property
    def in_dialog(self) -> bool:
        """Whether the request claims to belong to a dialog: its To has a tag (RFC 3261 section 12.2), and its method is
        not one that never does, whatever tags it has (RFC 3261 section 10.2, RFC 3903 section 4)."""
        return self.to_tag != "" and self.method not in _OUTSIDE_DIALOGS

    @property
    def start_line(self) -> str:
        """The request line, without its CRLF."""
        return f"{self.method} {self.uri} SIP/2.0"

    def replace(
        self,
        *,
        method: str | None = None,
        uri: Uri | None = None,
        fields: Iterable[Field] | None = None,
        body: bytes | None = None,
    ) -> Request:
        """A copy in which what is given is changed. Raises :class:`WireError` as the constructor does."""
        return Request(
            self.method if method is None else method,
            self.uri if uri is None else uri,
            self.fields if fields is None else fields,
            self.body if body is None else body,
        )

    def with_tags(self, from_tag: str, to_tag: str) -> Request:
        """A copy whose :attr:`from_tag` and :attr:`to_tag` are these where the field has none, as in dialogs of RFC
        2543. The fields are the same."""
        return Request(self.method, self.uri, self.fields, self.body, True, from_tag, to_tag)

    def __repr__(self) -> str:
        return f"<{self.method} {self.uri} {self.call_id} {self.cseq}>"


class Response(Message):
    """A response (RFC 3261 section 7.2); ``phrase`` is its Reason-Phrase, by default that of the status.

    Raises :class:`WireError` where an argument could not stand on the wire, or a field that every message has
    (Via, From, To, Call-ID, CSeq) is missing. :func:`edgesbc.sip.build.response_to` takes those from a request.
    """

    __slots__ = ("phrase", "status")

    def __init__(
        self,
        status: int,
        fields: Iterable[Field],
        body: bytes = b"",
        phrase: str | None = None,
        _parsed: bool = False,
        _from_tag: str = "",
        _to_tag: str = "",
    ) -> None:
        """``_parsed`` is for the parser, which has checked status, phrase and fields, the tags for
        :meth:`with_tags`."""
        if phrase is None:
            phrase = phrase_of(status)
        if not _parsed:
            if not 100 <= status <= 699:
                raise WireError(f"the status is not a number from 100 to 699: found {status}")
            check_text(phrase, "the reason phrase")
        super().__init__(tuple(fields) if _parsed else checked_fields(fields), body, _from_tag, _to_tag)
        self.status: Final = status
        self.phrase: Final = phrase

    @property
    def start_line(self) -> str:
        """The status line, without its CRLF."""
        return f"SIP/2.0 {self.status} {self.phrase}"

    def replace(
        self,
        *,
        status: int | None = None,
        fields: Iterable[Field] | None = None,
        body: bytes | None = None,
        phrase: str | None = None,
    ) -> Response:
        """A copy in which what is given is changed; a new status without a phrase has its own.

        Raises :class:`WireError` as the constructor does.
        """
        if phrase is None and (status is None or status == self.status):
            phrase = self.phrase
        return Response(
            self.status if status is None else status,
            self.fields if fields is None else fields,
            self.body if body is None else body,
            phrase,
        )

    def with_tags(self, from_tag: str, to_tag: str) -> Response:
        """See :meth:`Request.with_tags`."""
        return Response(self.status, self.fields, self.body, self.phrase, True, from_tag, to_tag)

    def __repr__(self) -> str:
        return f"<{self.status} {self.cseq_method} {self.call_id} {self.cseq}>"


def _request_uri(uri: Uri) -> Uri:
    """The URI, parsed again from its text, since its constructor checks nothing. Raises :class:`WireError`."""
    parsed = parse_uri(str(uri))
    if parsed.headers:
        raise WireError("a Request-URI has no header fields")  # section 19.1.1, table 1
    return parsed


def serialise(start_line: str, fields: Iterable[Field], body: bytes) -> bytes:
    """The wire form of a message that needs no value: nothing is checked, Content-Length is added.

    For programs that write many messages from parts of parsed ones; others use ``bytes(message)``.
    """
    lines = [start_line]
    lines += [f"{name}: {value}" for name, value in fields]
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body
