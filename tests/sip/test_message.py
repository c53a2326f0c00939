"""Messages as values: access to their fields, and writing them."""

from __future__ import annotations

import pytest
from support.sip import request, response

from edgesbc.sip.message import PHRASES, Request, Response, phrase, serialise
from edgesbc.sip.parse import parse_message


def test_typed_access_to_a_request() -> None:
    message = parse_message(
        request(extra="Contact: <sip:a@h>, <sip:b@h>\r\nX-Any: 1\r\nx-any: 2\r\n", body=b"\x00\xff")
    )
    assert isinstance(message, Request)
    assert (message.method, str(message.uri), message.max_forwards) == ("INVITE", "sip:100@192.0.2.1", 70)
    assert (message.cseq, message.cseq_method, message.call_id) == (1, "INVITE", "c1@198.51.100.7")
    assert (message.from_tag, message.to_tag, message.from_.uri.user, message.to.uri.user) == ("a", "", "alice", "100")
    assert (message.via.host, message.via.branch, message.body) == ("198.51.100.7", "z9hG4bKa1", b"\x00\xff")
    assert (message.get("Contact"), message.get_all("Contact")) == ("<sip:a@h>", ["<sip:a@h>", "<sip:b@h>"])
    assert (message.get("Route"), message.get_all("Route")) == (None, [])
    assert not message.in_dialog


def test_a_request_with_a_to_tag_is_in_a_dialog() -> None:
    message = parse_message(request("BYE", to="<sip:100@192.0.2.1>;tag=b"))
    assert isinstance(message, Request)
    assert message.in_dialog
    assert message.to_tag == "b"


def test_typed_access_to_a_response() -> None:
    message = parse_message(response(183))
    assert isinstance(message, Response)
    assert (message.status, message.phrase, message.cseq_method, message.to_tag) == (183, "Some words", "INVITE", "b")


def test_a_message_says_what_it_is() -> None:
    assert repr(parse_message(request())) == "<INVITE sip:100@192.0.2.1 c1@198.51.100.7 1>"
    assert repr(parse_message(response())) == "<200 INVITE c1@198.51.100.7 1>"


def test_writing_a_message_says_how_long_its_body_is() -> None:
    assert serialise("A b SIP/2.0", [("Via", "x"), ("X", "é\udcff")], b"\x00\r\n") == (
        b"A b SIP/2.0\r\nVia: x\r\nX: \xc3\xa9\xff\r\nContent-Length: 3\r\n\r\n\x00\r\n"
    )


@pytest.mark.parametrize("where", ["first", "last"])
def test_content_length_is_no_field_of_a_message(where: str) -> None:
    extra, length = ("Content-Length: 0\r\n", "") if where == "first" else ("", None)
    message = parse_message(request(extra=extra, length=length))
    assert "Content-Length" not in dict(message.fields)
    assert message.get("Content-Length") is None
    assert len(message.fields) == 6


def test_phrases() -> None:
    assert phrase(200) == "OK"
    assert phrase(699) == "Unknown"
    assert all(100 <= status <= 699 and text.isascii() for status, text in PHRASES.items())
