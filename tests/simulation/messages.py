"""SIP as the parties write it, apart from the code of the edge."""

from __future__ import annotations

from edgesbc.sip.message import Request, Response

__all__ = ["SDP", "answer", "cancel", "request"]

SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def request(
    method: str, uri: str, via: str, from_: str, to: str, call_id: str, cseq: int, lines: list[str], body: str = ""
) -> bytes:
    head = [
        f"{method} {uri} SIP/2.0", f"Via: {via}", f"From: {from_}", f"To: {to}", f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}", "Max-Forwards: 70", *lines,
    ]  # fmt: skip
    return _end(head, body)


def answer(to: Request, status: int, tag: str, lines: list[str], body: str = "") -> bytes:
    head = [f"SIP/2.0 {status} Word"]
    head += [f"{name}: {value}" for name, value in to.fields if name in ("Via", "From", "Call-ID", "CSeq")]
    value = to.get("To") or ""
    head.append(f"To: {value}" if "tag=" in value or status == 100 else f"To: {value};tag={tag}")
    return _end(head + lines, body)


def cancel(invite: bytes) -> bytes:
    """The CANCEL of an INVITE as it was sent (RFC 3261 section 9.1)."""
    return _of_invite(invite, "CANCEL", None)


def refusal_ack(invite: bytes, refusal: Response) -> bytes:
    """The ACK of a refusal (RFC 3261 section 17.1.1.3)."""
    return _of_invite(invite, "ACK", refusal.get("To"))


def _of_invite(invite: bytes, method: str, to: str | None) -> bytes:
    lines = invite.split(b"\r\n\r\n")[0].decode("utf-8", "surrogateescape").split("\r\n")
    kept = [line for line in lines[1:] if line.startswith(("Via", "From", "To", "Call-ID", "Max-Forwards", "Route"))]
    if to is not None:
        kept = [f"To: {to}" if line.startswith("To") else line for line in kept]
    number = next(line for line in lines if line.startswith("CSeq")).split()[1]
    return _end([lines[0].replace("INVITE", method, 1), *kept, f"CSeq: {number} {method}"], "")


def _end(head: list[str], body: str) -> bytes:
    if body:
        head = [*head, "Content-Type: application/sdp"]
    return ("\r\n".join([*head, f"Content-Length: {len(body)}"]) + "\r\n\r\n" + body).encode("utf-8", "surrogateescape")
