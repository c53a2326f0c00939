"""SIPp scenarios written as steps: what one side of a call sends and receives, in order. This module runs no SIPp.

The caller sends requests with :func:`invite`, :func:`request`, :func:`ack` and :func:`cancel`. The called side receives
an INVITE with :func:`taken`, answers it with :func:`answer` and other requests with :func:`reply`, and sends its own
requests with :func:`back`. SIPp fills in ``[local_ip]`` and the like.
"""

from __future__ import annotations

import re

from edgesbc.sip.phrases import phrase

__all__ = [
    "FIRST", "Steps", "ack", "ack_refusal", "answer", "back", "bye", "cancel", "cancelled", "hung_up", "invite",
    "pause", "refused", "reply", "request", "scenario", "sdp", "send", "sends", "take", "taken", "wait",
]  # fmt: skip

Steps = tuple["str | tuple[str, ...]", ...]
"""The steps of one side; a tuple in it is several steps, from a function such as :func:`bye`."""
FIRST = "sip:[service]@[remote_ip]:[remote_port]", " <sip:[service]@[remote_ip]:[remote_port]>"
"""Request-URI and To of a request outside a dialog."""
_SDP = "application/sdp"
_CALLER = "<sip:alice@example.org>;tag=[pid]a[call_number]"
_CALLED_TAG = "tag=[pid]b[call_number]"
_CONTACT = "<sip:side@[local_ip]:[local_port];transport=[transport]>"
_VIA = "SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK-[pid]-[call_number]-{branch};rport"


def scenario(name: str, steps: Steps) -> str:
    """The text of a scenario file for SIPp."""
    body = "\n".join(step if isinstance(step, str) else "\n".join(step) for step in steps)
    variables = ",".join(sorted(set(re.findall(r'assign_to="(\w+)"', body))))
    # SIPp refuses a scenario with a variable that no step uses.
    used = f'<Reference variables="{variables}"/>\n' if variables else ""
    return f'<?xml version="1.0" encoding="ISO-8859-1"?>\n<scenario name="{name}">\n{body}\n{used}</scenario>\n'


def sdp(direction: str = "sendrecv", version: int = 1) -> str:
    """A session description of the side that sends it."""
    return "\n".join((
        "v=0", f"o=side 1 {version} IN IP[media_ip_type] [media_ip]", "s=-", "c=IN IP[media_ip_type] [media_ip]",
        "t=0 0", "m=audio [media_port] RTP/AVP 0", "a=rtpmap:0 PCMU/8000", f"a={direction}", "",
    ))  # fmt: skip


# --- the parts -------------------------------------------------------------------------------------------


def _message(start: str, fields: tuple[str, ...], body: str, kind: str = _SDP) -> str:
    lines = [start, *fields]
    if body:
        lines.append(f"Content-Type: {kind}")
    return "\n".join([*lines, "Content-Length: [len]", "", body])


def send(text: str, repeat: bool = True, lost: int = 0) -> str:
    """Send ``text``. ``repeat``: retransmit it over UDP until it is answered. ``lost``: percent that are not sent."""
    repeated = ' retrans="500"' if repeat else ""
    losing = f' lost="{lost}"' if lost else ""
    return f"<send{repeated}{losing}><![CDATA[\n{text}\n]]></send>"


def take(method_or_status: str | int, optional: bool = False, lost: int = 0, keep: str = "") -> str:
    """Wait for a request (its method) or a response (its status).

    ``keep`` names header fields whose values later steps use. ``lost``: percent that SIPp drops on arrival.
    """
    kind = "response" if isinstance(method_or_status, int) else "request"
    # rrs makes the Contact of the message the remote target of later requests; a refusal has no Contact.
    flags = [
        *(['rrs="true"'] if keep and (isinstance(method_or_status, str) or method_or_status < 300) else []),
        *(['optional="true"'] if optional else []),
        *([f'lost="{lost}"'] if lost else []),
    ]
    assignments = "".join(
        f'<ereg regexp=".*" search_in="hdr" header="{name}:" check_it="true" assign_to="{name.lower()}"/>'
        for name in keep.split()
    )
    actions = f"<action>{assignments}</action>" if assignments else ""
    return f'<recv {kind}="{method_or_status}" {" ".join(flags)}>{actions}</recv>'


def pause(milliseconds: int = 200) -> str:
    """Wait. A message that comes meanwhile fails the call, unless it is a retransmission."""
    return f'<pause milliseconds="{milliseconds}"/>'


# --- the caller ------------------------------------------------------------------------------------------


def sends(
    method: str, cseq: int, uri: str, to: str, *fields: str, body: str = "", kind: str = _SDP, branch: str = ""
) -> str:
    """The text of a request of the caller. Its branch is made from its CSeq number, so that CANCEL and the ACK of a
    refusal have the branch of their INVITE (RFC 3261 sections 9.1 and 17.1.1.3)."""
    own = (
        f"Via: {_VIA.format(branch=branch or cseq)}", f"From: {_CALLER}", f"To:{to}", "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}", f"Contact: {_CONTACT}", "Max-Forwards: 70",
    )  # fmt: skip
    return _message(f"{method} {uri} SIP/2.0", (*own, *fields), body, kind)


def invite(*fields: str, body: str | None = None, cseq: int = 1, kind: str = _SDP, lost: int = 0) -> str:
    """The INVITE of a call, with an offer unless ``body`` says otherwise."""
    text = sends("INVITE", cseq, *FIRST, *fields, body=sdp() if body is None else body, kind=kind)
    return send(text, lost=lost)


def request(method: str, cseq: int, *fields: str, body: str = "", kind: str = _SDP, lost: int = 0) -> str:
    """A request of the caller inside the dialog."""
    return send(sends(method, cseq, "[next_url]", "[$to]", *fields, body=body, kind=kind), lost=lost)


def ack(cseq: int = 1, body: str = "") -> str:
    """The ACK of a 2xx."""
    return send(sends("ACK", cseq, "[next_url]", "[$to]", body=body, branch=f"{cseq}-ack"), repeat=False)


def wait(status: int, keep: bool = False) -> tuple[str, str]:
    """Receive an answer to INVITE, maybe after a 100. ``keep``: its To and Contact are those of the dialog."""
    return take(100, optional=True), take(status, keep="To" if keep else "")


def ack_refusal(cseq: int = 1) -> str:
    """The ACK of a refusal, which belongs to the transaction of the INVITE."""
    return send(sends("ACK", cseq, FIRST[0], "[$to]"), repeat=False)


def refused(status: int, cseq: int = 1) -> tuple[str, ...]:
    """Receive a final refusal of the INVITE, and send its ACK."""
    return *wait(status, keep=True), ack_refusal(cseq)


def cancel() -> tuple[str, str]:
    """Cancel the INVITE, and receive the response to the CANCEL."""
    return send(sends("CANCEL", 1, *FIRST)), take(200)


def bye(cseq: int = 2, lost: int = 0) -> tuple[str, ...]:
    """End the call, and receive the response, maybe after a late 100 (RFC 4320 section 4.1)."""
    return request("BYE", cseq, lost=lost), take(100, optional=True), take(200)


# --- the called side -------------------------------------------------------------------------------------


def taken(lost: int = 0) -> str:
    """Receive the INVITE of a call, and keep what its answers need."""
    return take("INVITE", keep="Via From To CSeq", lost=lost)


def answer(
    status: int,
    *fields: str,
    body: str = "",
    repeat: bool | None = None,
    lost: int = 0,
    contact: bool = True,
    kind: str = _SDP,
) -> str:
    """Answer the INVITE that :func:`taken` has kept. By default a final answer is retransmitted until its ACK comes."""
    own = ["Via:[$via]", "From:[$from]", f"To:[$to];{_CALLED_TAG}", "Call-ID: [call_id]", "CSeq:[$cseq]"]
    if contact:
        own.append(f"Contact: {_CONTACT}")
    text = _message(f"SIP/2.0 {status} {phrase(status)}", (*own, *fields), body, kind)
    return send(text, repeat=status >= 200 if repeat is None else repeat, lost=lost)


def reply(status: int, *fields: str, body: str = "", tag: bool = False, reason: str = "") -> str:
    """Answer the last request, on either side. ``tag``: add a tag to its To, which has none yet."""
    own = (
        "[last_Via:]", "[last_From:]", f"[last_To:];{_CALLED_TAG}" if tag else "[last_To:]", "[last_Call-ID:]",
        "[last_CSeq:]", f"Contact: {_CONTACT}",
    )  # fmt: skip
    return send(_message(f"SIP/2.0 {status} {reason or phrase(status)}", (*own, *fields), body), repeat=False)


def back(method: str, cseq: int, *fields: str, body: str = "", kind: str = _SDP) -> str:
    """A request of the called side inside the dialog."""
    own = (
        f"Via: {_VIA.format(branch=f'{cseq}-{method}')}", f"From:[$to];{_CALLED_TAG}", "To:[$from]",
        "Call-ID: [call_id]", f"CSeq: {cseq} {method}", f"Contact: {_CONTACT}", "Max-Forwards: 70",
    )  # fmt: skip
    return send(_message(f"{method} [next_url] SIP/2.0", (*own, *fields), body, kind), repeat=method != "ACK")


def cancelled() -> tuple[str, str]:
    """Receive the CANCEL of the INVITE, and answer it; the INVITE itself is not answered yet."""
    return take("CANCEL"), reply(200, tag=True)


def hung_up(lost: int = 0) -> tuple[str, str]:
    """Receive the BYE of the other side, and answer it."""
    return take("BYE", lost=lost), reply(200)
