"""Which header fields go inward, by the standing of their sender, and which spellings of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.signalling import CALLER, CORE, MEMBERS, OFFER, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base.address import Flow, Source
from edgesbc.routing.table import RoutingTable
from edgesbc.screen.standing import Standing
from edgesbc.signalling.header_rules import ASSERTED, OUTWARD, OWN, UNREGISTERED, FieldFilter, HeaderRules
from edgesbc.sip.grammar import CANONICAL
from edgesbc.sip.message import Request, Response

PBX = Flow(CORE, MEMBERS[0])
STRANGER = Flow(PUBLIC, Source("203.0.113.5", 5060))
PHONE = Flow(PUBLIC, Source("203.0.113.6", 5060))
POLICY_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "policy.md"

REFUSED_TO_STRANGERS = [
    "Alert-Info", "Call-Info", "Error-Info", "Answer-Mode", "Priv-Answer-Mode", "P-Charge-Info", "Charge", "Diversion",
    "Resource-Priority", "Geolocation", "Remote_Party_ID", "P_Asserted_Identity", "Session_Expires", "Unheard-Of",
    "charge", "ALERT-INFO", "p_Charge_info", "P.Asserted.Identity",
]  # fmt: skip
NEEDED_BY_PHONES = [
    "Supported", "Require", "Session-Expires", "Min-SE", "Allow", "Accept", "Accept-Language", "User-Agent", "Privacy",
    "Replaces", "Refer-To", "Referred-By", "Event", "Subject", "Reason", "RSeq", "Authorization", "Proxy-Authorization",
    "Expires", "Allow-Events", "User-to-User", "session-expires", "x",
]  # fmt: skip


def harness() -> EdgeHarness:
    made = EdgeHarness(open=("public",), methods=("INVITE", "ACK", "BYE", "CANCEL", "INFO"))
    made.standings.prove(PHONE, Standing.REGISTERED, made.now, 3600)
    return made


def forwarded(edge: EdgeHarness, flow: Flow, extra: str) -> Request:
    (message,) = [message for _, message in edge.receive(flow, invite(extra=extra)) if isinstance(message, Request)]
    return message


def crosses(edge: EdgeHarness, flow: Flow, name: str) -> bool:
    fields = forwarded(edge, flow, f"{name}: <sip:marked@example.org>\r\n").fields
    return any("marked" in value for _, value in fields)


@pytest.mark.parametrize("name", REFUSED_TO_STRANGERS)
def test_a_peer_without_an_account_may_not_send(name: str) -> None:
    assert not crosses(harness(), STRANGER, name)


@pytest.mark.parametrize("name", NEEDED_BY_PHONES)
@pytest.mark.parametrize("flow", [STRANGER, PHONE, CALLER])
def test_what_phones_and_browsers_need_crosses(name: str, flow: Flow) -> None:
    assert crosses(harness(), flow, name)


@pytest.mark.parametrize(
    "name", [*sorted(ASSERTED), "diversion", "Priv-Answer-Mode", "Charge", "charge", "P-Charge-Info", "X-Account"]
)
def test_a_registered_user_may_not_send(name: str) -> None:
    assert not crosses(harness(), PHONE, name)
    assert crosses(harness(), PHONE, "Alert-Info")
    assert crosses(harness(), PHONE, "Unheard-Of")


@pytest.mark.parametrize("name", sorted(ASSERTED))
def test_a_trunk_asserts_identities_also_inside_a_dialog(name: str) -> None:
    fields = forwarded(harness(), CALLER, f"{name}: <sip:marked@example.org>\r\n").fields
    assert [field for field, value in fields if "marked" in value] == [name]
    edge = harness()
    ((_, answered),) = edge.receive(PBX, respond(forwarded(edge, CALLER, ""), 200))
    token = (answered.get("Contact") or "").strip("<>")
    extra = f"{name}: <sip:marked@example.org>\r\n"
    data = invite("INFO", uri=token, cseq=2, branch="z9hG4bKi", to_tag="bob", extra=extra)
    (inside,) = [message for _, message in edge.receive(CALLER, data) if isinstance(message, Request)]
    assert [field for field, value in inside.fields if "marked" in value] == [name]


def test_a_trunk_may_send_what_belongs_to_no_single_network() -> None:
    for name in ("Charge", "Priv-Answer-Mode", "Diversion", "Unheard-Of", "Un_heard"):
        assert crosses(harness(), CALLER, name)
    for name in ("P-Charge-Info", "X-Account"):
        assert not crosses(harness(), CALLER, name)


@pytest.mark.parametrize("name", ["P_Asserted_Identity", "X_Account", "Remote_Party_ID", "Session_Expires", "Via_"])
def test_another_sign_for_the_dash_is_no_way_around(name: str) -> None:
    """Programs that make variables of header fields read ``_`` as a dash."""
    known = not name.endswith("_")
    for flow in (STRANGER, PHONE, CALLER):
        assert crosses(harness(), flow, name) is (not known and flow is not STRANGER)
    for filter_ in (OUTWARD, HeaderRules().inward(Standing.TRUNK)):
        assert bool(filter_.crossing([(name, "x")])) is not known


def test_max_breadth_is_known_in_any_case() -> None:
    """The edge writes its own: in another case it would stand twice."""
    fields = [name.lower() for name, _ in forwarded(harness(), CALLER, "max-breadth: 4\r\n").fields]
    assert fields.count("max-breadth") == 1


@pytest.mark.parametrize(
    ("flow", "name", "added"),
    [
        (STRANGER, "X-Campaign", True),
        (STRANGER, "Alert-Info", True),
        (STRANGER, "X-Other", False),
        (STRANGER, "Priv-Answer-Mode", False),
        (PHONE, "priv-answer-mode", True),
        (PHONE, "X-Campaign", False),
        (CALLER, "P-Charge-Info", True),
    ],
)
def test_an_operator_adds_fields(flow: Flow, name: str, added: bool) -> None:
    assert not crosses(harness(), flow, name)
    edge = harness()
    rules = HeaderRules(["x-campaign", "Alert-Info"], ["Priv-Answer-Mode"], ["P-Charge-Info"])
    edge.edge.adopt(RoutingTable((), ["pbx"]), edge.edge.pipeline, headers=rules)
    assert crosses(edge, flow, name) is added


def test_inside_a_dialog_and_in_responses_the_rules_are_the_same() -> None:
    edge = harness()
    extra = "Alert-Info: <http://203.0.113.5/a>\r\nSupported: timer\r\n"
    invited = forwarded(edge, STRANGER, "")
    ((_, answered),) = edge.receive(PBX, respond(invited, 200))
    token = (answered.get("Contact") or "").strip("<>")
    for method, cseq in (("ACK", 1), ("INFO", 2), ("BYE", 3)):
        data = invite(method, uri=token, cseq=cseq, branch=f"z9hG4bKb{cseq}", to_tag="bob", extra=extra)
        (inside,) = [message for _, message in edge.receive(STRANGER, data) if isinstance(message, Request)]
        assert inside.method == method
        assert inside.get("Supported") == "timer"
        assert inside.get("Alert-Info") is None
    # A request of the private side inside the dialog, and what its peer says.
    edge = harness()
    invited = forwarded(edge, STRANGER, "")
    edge.receive(PBX, respond(invited, 200))
    contact = (invited.get("Contact") or "").strip("<>")
    info = (
        f"INFO {contact} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.11;branch=z9hG4bKi\r\nFrom: {invited.get('To')};tag=bob\r\n"
        f"To: {invited.get('From')}\r\nCall-ID: c1\r\nCSeq: 1 INFO\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    (outside,) = [message for _, message in edge.receive(PBX, info) if isinstance(message, Request)]
    ((_, given),) = edge.receive(STRANGER, respond(outside, 200, extra=extra.strip(), contact=False))
    assert isinstance(given, Response)
    assert (given.get("Supported"), given.get("Alert-Info")) == ("timer", None)


def test_the_page_lists_the_fields() -> None:
    section = POLICY_PAGE.read_text().partition("\n## `[headers]`\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*) \| (.*) \| (.*) \| (.*) \|$", section, re.MULTILINE)
    listed = [set(cells[0].split(", ")) for cells in rows if cells[1:] == ("yes", "yes", "yes")]
    assert listed == [set(UNREGISTERED)]
    own = [set(cells[0].split(", ")) for cells in rows if cells[1] == "the edge writes its own"]
    assert own == [set(OWN)]
    assert any(set(cells[0].split(", ")) == ASSERTED for cells in rows)
    assert set(UNREGISTERED) <= set(CANONICAL.values())


def test_a_filter_keeps_the_order() -> None:
    fields = [("Subject", "1"), ("X-A", "2"), ("Unheard", "3"), ("Via", "4"), ("Subject", "5")]
    assert FieldFilter(OWN).crossing(fields) == [("Subject", "1"), ("Unheard", "3"), ("Subject", "5")]
    assert FieldFilter(OWN, UNREGISTERED, ["UNHEARD"]).crossing(fields) == [fields[0], fields[2], fields[4]]


def test_a_body_is_none_of_it() -> None:
    (_, message), *_ = harness().receive(STRANGER, invite(body=OFFER))
    assert message.get("Content-Type") == "application/sdp"
