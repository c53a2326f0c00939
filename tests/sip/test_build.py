"""Messages built from parts and from other messages."""

from __future__ import annotations

import pytest
from support.sip import request as raw_request
from support.sip import response as raw_response

from edgesbc.base.errors import WireError
from edgesbc.sip import build
from edgesbc.sip.headers import Via, parse_name_addr
from edgesbc.sip.message import Request, Response, serialise
from edgesbc.sip.parse import parse_message
from edgesbc.sip.uri import parse_uri

VIA = Via("UDP", "192.0.2.9", 5060, (("branch", "z9hG4bKnew"), ("rport", None)))


def received(data: bytes) -> Request:
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def answer(data: bytes) -> Response:
    message = parse_message(data)
    assert isinstance(message, Response)
    return message


def invite(**more: object) -> Request:
    parts: dict[str, object] = {
        "via": VIA, "from_": "<sip:a@h>;tag=a", "to": "<sip:b@h>", "call_id": "c", "cseq": 7, **more,
    }  # fmt: skip
    return build.request("INVITE", "sip:b@h", **parts)  # type: ignore[arg-type] - each part has its type


ROUTED = raw_request(
    "INVITE",
    via="SIP/2.0/TCP one;branch=z9hG4bK1, SIP/2.0/UDP two;branch=z9hG4bK2;received=192.0.2.3",
    extra="Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\nTimestamp: 54\r\nRoute: <sip:p9;lr>\r\nSubject: s\r\n",
    body=b"offer",
)


# --- requests --------------------------------------------------------------------------------------------


def test_a_request_has_the_mandatory_header_fields() -> None:
    message = invite()
    assert bytes(message) == (
        b"INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKnew;rport\r\nMax-Forwards: 70\r\n"
        b"From: <sip:a@h>;tag=a\r\nTo: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    assert parse_message(bytes(message)) == message
    assert (message.via, message.cseq, message.from_tag, message.max_forwards) == (VIA, 7, "a", 70)


def test_a_request_with_all_parts() -> None:
    message = invite(
        routes=["<sip:p1;lr>", "<sip:p2;lr>"], max_forwards=5, contact=parse_name_addr("<sip:me@h>"),
        fields=[("Subject", "s")], body=b"x", content_type="text/plain",
    )  # fmt: skip
    assert [name for name, _ in message.fields] == (
        "Via Max-Forwards Route Route From To Call-ID CSeq Contact Subject Content-Type".split()
    )
    assert message.get_all("Route") == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert (message.max_forwards, message.get("Contact")) == (5, "<sip:me@h>")
    assert (message.get("Content-Type"), message.body) == ("text/plain", b"x")


def test_sdp_is_the_usual_body() -> None:
    assert invite(body=b"v=0").get("Content-Type") == "application/sdp"
    assert invite().get("Content-Type") is None


@pytest.mark.parametrize("part", ["via", "from_", "to", "call_id", "contact"])
def test_a_part_with_a_line_end_is_refused(part: str) -> None:
    with pytest.raises(WireError):
        invite(**{part: "<sip:a@h>\r\nRoute: <sip:evil>"})


def test_branches_and_tags_are_made_from_entropy() -> None:
    assert build.new_branch(b"\x01\xff") == "z9hG4bK01ff"
    assert build.new_tag(b"\x01\xff") == "01ff"


# --- responses -------------------------------------------------------------------------------------------


def test_a_response_repeats_header_fields_of_its_request() -> None:
    request = received(ROUTED)
    response = build.response_to(request, 404, tag="t")
    for name in ("Via", "From", "Call-ID", "CSeq"):
        assert response.get_all(name) == request.get_all(name)
    assert response.get("To") == f"{request.get('To')};tag=t"
    assert {name for name, _ in response.fields} == {"Via", "From", "To", "Call-ID", "CSeq"}
    assert bytes(response).startswith(b"SIP/2.0 404 Not Found\r\nVia: SIP/2.0/TCP one;branch=z9hG4bK1\r\nVia: ")
    assert parse_message(bytes(response)) == response


def test_100_has_the_timestamp_and_no_tag() -> None:
    response = build.response_to(received(ROUTED), 100, tag="t")
    assert (response.get("Timestamp"), response.to_tag) == ("54", "")
    assert build.response_to(received(ROUTED), 180, tag="t").get("Timestamp") is None


@pytest.mark.parametrize(
    ("status", "method", "copied"),
    [(100, "INVITE", 0), (180, "INVITE", 2), (200, "INVITE", 2), (486, "INVITE", 0), (200, "OPTIONS", 0)],
)
def test_record_route_is_in_responses_that_create_a_dialog(status: int, method: str, copied: int) -> None:
    request = received(raw_request(method, extra="Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n"))
    assert len(build.response_to(request, status, tag="t").get_all("Record-Route")) == copied


def test_an_existing_tag_stays() -> None:
    request = received(raw_request("BYE", to="<sip:b@h>;tag=theirs", extra="Record-Route: <sip:p1;lr>\r\n"))
    response = build.response_to(request, 200, tag="t")
    assert (response.to_tag, response.get_all("Record-Route")) == ("theirs", [])


def test_a_response_with_all_parts() -> None:
    response = build.response_to(
        received(ROUTED), 200, phrase="Fine", tag="t", contact="<sip:me@h>", fields=[("Server", "s")], body=b"v=0"
    )
    assert (response.phrase, response.get("Contact"), response.get("Server")) == ("Fine", "<sip:me@h>", "s")
    assert (response.get("Content-Type"), response.body) == ("application/sdp", b"v=0")


@pytest.mark.parametrize("more", [{"tag": "a\r\nb"}, {"phrase": "a\nb"}, {"fields": [("A", "b\0")]}])
def test_a_response_with_a_line_end_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(WireError):
        build.response_to(received(ROUTED), 404, **more)  # type: ignore[arg-type] - each part has its type


def test_the_source_of_the_request_is_written_into_its_via() -> None:
    request = received(raw_request(via="SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;rport, SIP/2.0/UDP h;branch=z9hG4bK2"))
    assert build.response_to(request, 404, tag="t", source=("198.51.100.7", 1024)).get_all("Via") == [
        "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK1;received=198.51.100.7;rport=1024", "SIP/2.0/UDP h;branch=z9hG4bK2",
    ]  # fmt: skip


def test_via_fields_can_be_replaced() -> None:
    vias = [("Via", "SIP/2.0/UDP changed")]
    assert [pair for pair in build.response_fields(received(ROUTED), 404, "t", vias) if pair[0] == "Via"] == vias


def test_a_response_to_a_malformed_request() -> None:
    broken = raw_request(cseq="x INVITE")
    data = build.response_to_malformed(broken, 400)
    assert data is not None
    assert data.startswith(b"SIP/2.0 400 Bad Request\r\nVia: ")
    assert b"\r\nCSeq: x INVITE\r\n" in data
    assert build.response_to_malformed(raw_response(), 400) is None


# --- ACK and CANCEL --------------------------------------------------------------------------------------


def test_the_ack_of_a_refusal_belongs_to_its_transaction() -> None:
    request = received(ROUTED)
    ack = build.ack_for(request, build.response_to(request, 486, tag="t"))
    assert (ack.method, str(ack.uri), ack.cseq, ack.body) == ("ACK", "sip:100@192.0.2.1", 1, b"")
    assert ack.get_all("Via") == ["SIP/2.0/TCP one;branch=z9hG4bK1"]
    assert ack.get_all("Route") == ["<sip:p9;lr>"]
    assert (ack.get("From"), ack.call_id, ack.to_tag) == (request.get("From"), request.call_id, "t")


@pytest.mark.parametrize("status", [180, 200])
def test_a_malformed_refusal_has_no_ack_in_the_transaction(status: int) -> None:
    with pytest.raises(ValueError, match="from 300 on"):
        build.ack_for(received(ROUTED), answer(raw_response(status)))


def test_cancel_repeats_the_request_it_ends() -> None:
    request = received(ROUTED)
    cancel = build.cancel_for(request, fields=[("Reason", "SIP;cause=200")])
    assert bytes(cancel) == serialise(
        "CANCEL sip:100@192.0.2.1 SIP/2.0",
        [
            ("Via", "SIP/2.0/TCP one;branch=z9hG4bK1"), ("Max-Forwards", "70"), ("Route", "<sip:p9;lr>"),
            ("From", "<sip:alice@example.org>;tag=a"), ("To", "<sip:100@192.0.2.1>"), ("Call-ID", request.call_id),
            ("CSeq", "1 CANCEL"), ("Reason", "SIP;cause=200"),
        ],
        b"",
    )  # fmt: skip


def test_a_uri_is_text_or_a_value() -> None:
    parts = {"via": VIA, "from_": "<sip:a@h>;tag=a", "to": "<sip:b@h>", "call_id": "c", "cseq": 7}
    as_text = build.request("OPTIONS", "sip:b@h", **parts)  # type: ignore[arg-type] - each part has its type
    assert as_text == build.request("OPTIONS", parse_uri("sip:b@h"), **parts)  # type: ignore[arg-type] - the same
    with pytest.raises(WireError):
        build.request("OPTIONS", "b@h", **parts)  # type: ignore[arg-type] - the same
