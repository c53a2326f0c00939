"""SIP messages of the user agents, built apart from the code of the edge."""

from __future__ import annotations

from collections.abc import Iterable

from edgesbc.sip import build
from edgesbc.sip.message import Request, Response
from edgesbc.sip.parse import parse_message

__all__ = ["answer", "cancel", "description", "refusal_ack", "request"]


def description(host: str, version: int, port: int = 4000, direction: str = "sendrecv") -> str:
    """A session description (RFC 8866). ``version`` is another number in each, by which the checks know it again."""
    return (
        f"v=0\r\no=- 1 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\na={direction}\r\n"
    )


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
