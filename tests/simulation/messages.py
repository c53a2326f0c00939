"""SIP messages of the user agents, built apart from the code of the edge."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.sip import build
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["SDP", "answer", "cancel", "refusal_ack", "request"]

SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def request(
    method: str, uri: str, via: str, from_: str, to: str, call_id: str, cseq: int, lines: Iterable[str], body: str = ""
) -> bytes:
    """A request; ``lines`` are further header fields."""
    return bytes(
        build.request(
            method, uri, via=via, from_=from_, to=to, call_id=call_id, cseq=cseq, fields=_fields(lines),
            body=body.encode(),
        )
    )  # fmt: skip


def answer(to: Request, status: int, tag: str, lines: Iterable[str], body: str = "") -> bytes:
    """The response to a request; ``lines`` are further header fields."""
    return bytes(build.response_to(to, status, phrase="Word", tag=tag, fields=_fields(lines), body=body.encode()))


def cancel(invite: bytes) -> bytes:
    """The CANCEL of an INVITE as it was sent (RFC 3261 section 9.1)."""
    return bytes(build.cancel_for(_sent(invite)))


def refusal_ack(invite: bytes, refusal: Response) -> bytes:
    """The ACK of the refusal of an INVITE as it was sent (RFC 3261 section 17.1.1.3)."""
    return bytes(build.ack_for(_sent(invite), refusal))


def _sent(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def _fields(lines: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
