"""Fields that assert an identity cross from trunks and to trunks, in every message of a call and in both directions."""

from __future__ import annotations

import pytest
from support.signalling import CALLER, CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.screen.standing import Standing
from edgesbc.signalling.header_rules import ASSERTED
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
PHONE = Flow(PUBLIC, Source("203.0.113.6", 5060))
STRANGER = Flow(PUBLIC, Source("203.0.113.5", 5060))
NAMES = sorted(ASSERTED)
EXTRA = "".join(f"{name}: <sip:boss@example.org>\r\n" for name in NAMES) + "Privacy: id\r\nReason: Q.850;cause=16\r\n"
METHODS = ("INVITE", "ACK", "BYE", "CANCEL", "INFO", "UPDATE", "PRACK")
SENDERS = [(CALLER, True), (PHONE, False), (STRANGER, False)]


class AssertedCall:
    """A call of ``caller`` to the private server, with asserted fields in each message of either side."""

    def __init__(self, caller: Flow) -> None:
        self.edge = EdgeHarness(open=("public",), methods=METHODS, anchor=False)
        self.edge.standings.prove(PHONE, Standing.REGISTERED, self.edge.now, 3600)
        self.caller = caller
        self.invited = self.send("INVITE", "sip:100@192.0.2.1", 1, "")
        self.contact = ""

    def send(self, method: str, uri: str = "", cseq: int = 2, to_tag: str = "bob") -> Request:
        """What the server gets of a request of the caller."""
        data = invite(method, uri or self.contact, cseq, f"z9hG4bKc{cseq}{method}", to_tag, extra=EXTRA)
        (request,) = [message for _, message in self.edge.receive(self.caller, data) if isinstance(message, Request)]
        return request

    def answer(self, flow: Flow, request: Request, status: int, extra: str = EXTRA) -> Response:
        """What the other side gets of the answer to ``request``, which ``flow`` sends."""
        data = respond(request, status, extra=extra.rstrip())
        (response,) = [message for _, message in self.edge.receive(flow, data) if isinstance(message, Response)]
        return response

    def establish(self) -> Response:
        answered = self.answer(PBX, self.invited, 200)
        self.contact = (answered.get("Contact") or "").strip("<>")
        return answered

    def send_from_server(self, method: str, cseq: int) -> Request:
        """What the caller gets of a request of the server."""
        contact = (self.invited.get("Contact") or "").strip("<>")
        data = (
            f"{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKs{cseq}{method}\r\n"
            f"From: {self.invited.get('To')};tag=bob\r\nTo: {self.invited.get('From')}\r\nCall-ID: c1\r\n"
            f"CSeq: {cseq} {method}\r\nContact: <sip:bob@10.0.0.11>\r\nMax-Forwards: 70\r\n{EXTRA}"
            "Content-Length: 0\r\n\r\n"
        ).encode()
        (request,) = [message for _, message in self.edge.receive(PBX, data) if isinstance(message, Request)]
        return request


def asserts(message: Request | Response) -> bool:
    """Whether all fields that assert an identity are there; Privacy and Reason are there in any case."""
    assert message.get("Privacy") == "id"
    assert message.get("Reason") == "Q.850;cause=16"
    names = [name for name, _ in message.fields if name in ASSERTED]
    assert sorted(names) in ([], NAMES)
    return bool(names)


@pytest.mark.parametrize(("caller", "is_trunk"), SENDERS)
def test_of_the_invite(caller: Flow, is_trunk: bool) -> None:
    assert asserts(AssertedCall(caller).invited) is is_trunk


@pytest.mark.parametrize("status", [180, 183, 200, 302, 486, 603])
@pytest.mark.parametrize(("caller", "is_trunk"), SENDERS)
def test_of_the_answers_to_the_invite(caller: Flow, is_trunk: bool, status: int) -> None:
    call = AssertedCall(caller)
    assert asserts(call.answer(PBX, call.invited, status)) is is_trunk


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "BYE"])
@pytest.mark.parametrize(("caller", "is_trunk"), SENDERS)
def test_of_a_request_of_the_caller_in_the_dialog_and_its_answer(caller: Flow, is_trunk: bool, method: str) -> None:
    call = AssertedCall(caller)
    call.establish()
    assert asserts(call.send("ACK", cseq=1)) is is_trunk
    request = call.send(method)
    assert asserts(request) is is_trunk
    assert asserts(call.answer(PBX, request, 200)) is is_trunk


@pytest.mark.parametrize("method", ["INVITE", "UPDATE", "INFO", "BYE"])
@pytest.mark.parametrize(("caller", "is_trunk"), SENDERS)
def test_of_a_request_of_the_server_in_the_dialog_and_its_answer(caller: Flow, is_trunk: bool, method: str) -> None:
    call = AssertedCall(caller)
    call.establish()
    call.send("ACK", cseq=1)
    request = call.send_from_server(method, 1)
    assert asserts(request) is is_trunk
    assert asserts(call.answer(caller, request, 200)) is is_trunk


@pytest.mark.parametrize(("caller", "is_trunk"), SENDERS)
def test_of_prack_and_its_answer(caller: Flow, is_trunk: bool) -> None:
    call = AssertedCall(caller)
    ringing = call.answer(PBX, call.invited, 183, f"RSeq: 1\r\nRequire: 100rel\r\n{EXTRA}")
    call.contact = (ringing.get("Contact") or "").strip("<>")
    request = call.send("PRACK")
    assert asserts(request) is is_trunk
    assert asserts(call.answer(PBX, request, 200)) is is_trunk
