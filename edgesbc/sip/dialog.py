"""A dialog as one of its sides sees it (RFC 3261 section 12): builds the requests inside it."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.base.errors import WireError
from edgesbc.sip import build
from edgesbc.sip.fields import Field
from edgesbc.sip.headers import NameAddr, Via, parse_name_addr
from edgesbc.sip.message import Message, Request, Response

__all__ = ["Dialog"]


class Dialog:
    """The state of one side of a dialog (RFC 3261 section 12): it numbers requests and writes their routes.

    ``local`` and ``remote`` are the From and To values of requests from this side, with their tags. ``target`` is
    the remote target, a URI. ``routes`` is the route set, of loose routers. ``cseq`` is the number of the last request
    from this side. Unlike messages, a dialog changes: each request counts ``cseq`` up, and a target refresh is learnt
    by :meth:`refresh`.
    """

    __slots__ = ("call_id", "cseq", "invite_cseq", "local", "remote", "routes", "target")

    def __init__(
        self, *, call_id: str, local: str, remote: str, target: str, routes: Iterable[str] = (), cseq: int = 0
    ) -> None:
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.target = target
        self.routes = tuple(routes)
        self.cseq = cseq
        self.invite_cseq = cseq

    @classmethod
    def of_caller(cls, request: Request, response: Response) -> Dialog:
        """The dialog of the side that sent ``request`` and got ``response``, a 1xx with a tag or 2xx (section 12.1.2).

        Raises :class:`WireError` where the response has no Contact or a malformed one.
        """
        return cls(
            call_id=request.call_id,
            local=request.get("From") or "",
            remote=response.get("To") or "",
            target=_target(response),
            routes=response.get_all("Record-Route")[::-1],
            cseq=request.cseq,
        )

    @classmethod
    def of_callee(cls, request: Request, tag: str, cseq: int = 0) -> Dialog:
        """The dialog of the side that got ``request`` and puts ``tag`` into the To of its responses (section 12.1.1).

        ``cseq`` is the number before that of its first own request. Raises :class:`WireError` where the request has
        no Contact or a malformed one.
        """
        return cls(
            call_id=request.call_id,
            local=f"{request.get('To')};tag={tag}",
            remote=request.get("From") or "",
            target=_target(request),
            routes=request.get_all("Record-Route"),
            cseq=cseq,
        )

    def request(
        self,
        method: str,
        *,
        via: Via | str,
        contact: NameAddr | str = "",
        fields: Iterable[Field] = (),
        body: bytes = b"",
        content_type: str = build.SDP,
    ) -> Request:
        """The next request of this side (section 12.2.1.1): any method but ACK, which has :meth:`ack`."""
        self.cseq += 1
        if method == "INVITE":
            self.invite_cseq = self.cseq
        return self._build(method, self.cseq, via, contact, fields, body, content_type)

    def ack(
        self, *, via: Via | str, fields: Iterable[Field] = (), body: bytes = b"", content_type: str = build.SDP
    ) -> Request:
        """The ACK of the 2xx to this side's last INVITE (section 13.2.2.4); ``via`` has a branch of its own."""
        return self._build("ACK", self.invite_cseq, via, "", fields, body, content_type)

    def bye(self, *, via: Via | str, fields: Iterable[Field] = ()) -> Request:
        """The BYE that ends the dialog (section 15.1.1)."""
        return self.request("BYE", via=via, fields=fields)

    def refresh(self, message: Message) -> None:
        """Take the remote target from the Contact of a request or 2xx that refreshes it (section 12.2).

        A message without Contact changes nothing. Raises :class:`WireError` where the Contact is malformed.
        """
        if message.get("Contact") is not None:
            self.target = _target(message)

    def _build(
        self,
        method: str,
        cseq: int,
        via: Via | str,
        contact: NameAddr | str,
        fields: Iterable[Field],
        body: bytes,
        content_type: str,
    ) -> Request:
        return build.request(
            method,
            self.target,
            via=via,
            from_=self.local,
            to=self.remote,
            call_id=self.call_id,
            cseq=cseq,
            routes=self.routes,
            contact=contact,
            fields=fields,
            body=body,
            content_type=content_type,
        )


def _target(message: Message) -> str:
    """The remote target that a message names, without what a Request-URI may not have (section 19.1.1, table 1)."""
    contact = message.get("Contact")
    if contact is None:
        raise WireError("Contact is missing")
    uri = parse_name_addr(contact).uri
    text = str(uri)
    return text.partition("?")[0] if uri.headers else text
