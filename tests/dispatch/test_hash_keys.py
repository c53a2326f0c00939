"""Keys of requests for ``hash``."""

import pytest

from edgesbc.base.address import Source
from edgesbc.dispatch.hash_keys import hash_key
from edgesbc.sip.field_lookup import field_value
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

INVITE = (
    b"INVITE sip:+4930123@edge.example;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.9:5071;branch=z9hG4bKa\r\n"
    b"From: <sip:alice:secret@Example.COM:5071;x=y>;tag=1\r\nTo: <sip:+4930123@edge.example>\r\n"
    b"Call-ID: abc@192.0.2.9\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nx-TENANT: blue\r\nContent-Length: 0\r\n\r\n"
)


def request() -> Request:
    message = parse_message(INVITE)
    assert isinstance(message, Request)
    return message


@pytest.mark.parametrize(
    ("hash_on", "key"),
    [
        ("call-id", "abc@192.0.2.9"),
        ("from-uri", "alice@example.com"),
        ("to-uri", "+4930123@edge.example"),
        ("request-user", "+4930123"),
        ("source", "192.0.2.9"),
        ("header:X-Tenant", "blue"),
        ("header:i", "abc@192.0.2.9"),
        ("header:X-Missing", ""),
    ],
)
def test_key(hash_on: str, key: str) -> None:
    assert hash_key(hash_on, request(), Source("192.0.2.9", 5071)) == key


def test_names_of_fields_in_any_case() -> None:
    assert field_value(request(), "call-ID") == "abc@192.0.2.9"
    assert field_value(request(), "X-tenant") == "blue"
    assert field_value(request(), "Subject") is None


@pytest.mark.parametrize("hash_on", ["request-user", "to-uri", "from-uri"])
def test_a_number_has_one_key_whatever_its_spelling(hash_on: str) -> None:
    def key(number: str) -> str:
        data = INVITE.replace(b"sip:+4930123@edge.example", number.encode()).replace(
            b"sip:alice:secret@Example.COM:5071;x=y", number.encode()
        )
        message = parse_message(data)
        assert isinstance(message, Request)
        return hash_key(hash_on, message, Source("192.0.2.9", 5071))

    spellings = ["sip:+49-30-123@edge.example", "sip:+4930123;npdi;rn=49@edge.example", "sip:%2B4930123:x@edge.example"]
    assert {key(spelling) for spelling in spellings} == {key("sip:+4930123@edge.example")}
    assert key("tel:+49-30-123") == key("tel:+4930123;ext=1") != key("tel:+4930124")
