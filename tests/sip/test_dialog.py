"""Both sides of one dialog, and the requests that they send in it (RFC 3261 section 12)."""

from __future__ import annotations

import pytest

from edgesbc.base.errors import WireError
from edgesbc.sip import build
from edgesbc.sip.dialog import Dialog
from edgesbc.sip.message import Request, Response

VIA = "SIP/2.0/UDP h;branch=z9hG4bK"


def invite(contact: str = "<sip:alice@10.0.0.1>") -> Request:
    """The INVITE as the callee gets it, with Record-Route of two proxies."""
    return build.request(
        "INVITE", "sip:bob@h", via=VIA + "1", from_="<sip:alice@h>;tag=a", to="<sip:bob@h>", call_id="c", cseq=7,
        contact=contact, fields=[("Record-Route", "<sip:p2;lr>"), ("Record-Route", "<sip:p1;lr>")],
    )  # fmt: skip


def accepted(request: Request) -> Response:
    return build.response_to(request, 200, tag="b", contact="<sip:bob@10.0.0.2>")


def test_the_sides_of_a_dialog_mirror_each_other() -> None:
    request = invite()
    caller, callee = Dialog.of_caller(request, accepted(request)), Dialog.of_callee(request, "b")
    assert (
        (caller.local, caller.remote) == (callee.remote, callee.local) == ("<sip:alice@h>;tag=a", "<sip:bob@h>;tag=b")
    )
    assert caller.routes == callee.routes[::-1] == ("<sip:p1;lr>", "<sip:p2;lr>")
    assert (caller.target, callee.target) == ("sip:bob@10.0.0.2", "sip:alice@10.0.0.1")
    assert (caller.call_id, caller.cseq, callee.cseq) == ("c", 7, 0)


def test_requests_of_the_caller() -> None:
    request = invite()
    dialog = Dialog.of_caller(request, accepted(request))
    ack = dialog.ack(via=VIA + "2")
    assert (ack.method, str(ack.uri), ack.cseq) == ("ACK", "sip:bob@10.0.0.2", 7)
    assert ack.get_all("Route") == ["<sip:p1;lr>", "<sip:p2;lr>"]
    re_invite = dialog.request("INVITE", via=VIA + "3", contact="<sip:alice@10.0.0.9>", body=b"v=0")
    assert (re_invite.cseq, re_invite.get("Contact"), re_invite.get("Content-Type")) == (
        8,
        "<sip:alice@10.0.0.9>",
        "application/sdp",
    )
    info = dialog.request("INFO", via=VIA + "4", fields=[("Subject", "s")])
    assert (info.cseq, info.get("Subject"), info.in_dialog) == (9, "s", True)
    assert dialog.ack(via=VIA + "5").cseq == 8
    bye = dialog.bye(via=VIA + "6", fields=[("Reason", "SIP;cause=200")])
    assert (bye.method, bye.cseq, bye.get("Reason")) == ("BYE", 10, "SIP;cause=200")


def test_requests_of_the_callee() -> None:
    bye = Dialog.of_callee(invite(), "b", cseq=40).bye(via=VIA + "2")
    assert (bye.cseq, bye.from_tag, bye.to_tag, str(bye.uri)) == (41, "b", "a", "sip:alice@10.0.0.1")
    assert bye.get_all("Route") == ["<sip:p2;lr>", "<sip:p1;lr>"]


def test_the_remote_target_can_change() -> None:
    dialog = Dialog.of_callee(invite(), "b")
    dialog.refresh(invite(contact="<sip:alice@10.0.0.7>"))
    assert dialog.target == "sip:alice@10.0.0.7"
    dialog.refresh(invite(contact=""))
    assert dialog.target == "sip:alice@10.0.0.7"


def test_the_target_has_no_header_fields() -> None:
    assert Dialog.of_callee(invite(contact="<sip:alice@10.0.0.7?Subject=x>"), "b").target == "sip:alice@10.0.0.7"


@pytest.mark.parametrize("contact", ["", "<tel:>"])
def test_without_a_target_there_is_no_dialog(contact: str) -> None:
    with pytest.raises(WireError):
        Dialog.of_callee(invite(contact=contact), "b")
