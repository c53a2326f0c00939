"""The user of a URI in one spelling, and another number in its place."""

import pytest
from hypothesis import given
from support.sip import uris

from edgesbc.sip.uri import parse_uri
from edgesbc.sip.user_part import WrittenUser, plain_user

# Spellings of one number each: RFC 3966 sections 3 and 6, RFC 3261 sections 19.1.4 and 19.1.6, RFC 4694 section 4.
SPELLINGS = {
    "+12015550123": [
        "tel:+12015550123",
        "tel:+1-201-555-0123",
        "tel:+1(201)555.0123",
        "tel:+1-201-555-0123;ext=12",
        "tel:+1-201-555-0123;isub=12345;npdi;rn=+1-202-544",
        "tel:%2B12015550123",
        "sip:+12015550123@example.com",
        "sip:+1-201-555-0123@example.com;user=phone",
        "sip:+1.201.555.0123:secret@example.com",
        "sip:%2B1%20201%20555%200123@example.com",
        "sip:+12015550123;npdi;rn=+1202544;phone-context=+1:secret@example.com;user=phone",
        "sip:+12015550123%3Bnpdi@example.com",
        "sips:+1(201)%35550123@example.com",
    ],
    "7042": ["tel:7042;phone-context=example.com", "sip:7042;phone-context=+1@example.com", "sip:70-42@example.com"],
    "*21#": ["sip:*21%23@example.com", "sip:*21#@example.com", "tel:*21#;phone-context=+49"],
    "00900123": ["sip:0-0900123@example.com", "sip:(00)900.123@example.com"],
    "7042AB": ["tel:70-42AB;phone-context=example.com"],
}
PLAIN = {
    "sip:alice@example.com": "alice",
    "sip:alice:secret@example.com": "alice",
    "sip:alice.smith@example.com": "alice.smith",
    "sip:alice-1@example.com": "alice-1",
    "sip:alice;day=tuesday@example.com": "alice;day=tuesday",
    "sip:%61lice%40home@example.com": "alice@home",
    "sip:-@example.com": "-",
    "sip:(.)@example.com": "(.)",
    "sip:+@example.com": "+",
    "sip:example.com": "",
    "urn:service:sos": "service:sos",
}


@pytest.mark.parametrize(("number", "text"), [(number, text) for number in SPELLINGS for text in SPELLINGS[number]])
def test_each_spelling_of_a_number_is_the_same(number: str, text: str) -> None:
    assert plain_user(parse_uri(text)) == number
    assert WrittenUser(parse_uri(text)).number == number


@pytest.mark.parametrize(("text", "user"), PLAIN.items())
def test_a_user_that_is_no_number_keeps_its_signs(text: str, user: str) -> None:
    assert plain_user(parse_uri(text)) == user


@pytest.mark.parametrize(
    ("text", "number", "becomes"),
    [
        ("sip:0-30:secret@example.com", "+4930", "+4930:secret"),
        ("sip:030;npdi;rn=49@example.com", "+4930", "+4930;npdi;rn=49"),
        ("sip:030;Phone-Context=+49;ext=7@example.com", "+4930", "+4930;ext=7"),
        ("sip:030;phone-context=+49;ext=7@example.com", "30", "30;phone-context=+49;ext=7"),
        ("tel:0-30;phone-context=+49", "+4930", "+4930"),
        ("sip:030%3bnpdi@example.com", "30", "30;npdi"),
        ("sip:alice;day=tuesday@example.com", "bob", "bob"),
    ],
)
def test_another_number_keeps_the_parameters_and_the_password(text: str, number: str, becomes: str) -> None:
    assert WrittenUser(parse_uri(text)).with_number(number) == becomes


@given(uris())
def test_any_uri_has_a_user_to_compare(text: str) -> None:
    uri = parse_uri(text)
    plain = plain_user(uri)
    written = WrittenUser(uri)
    assert ";" not in written.number or not written.params
    if uri.user is not None and written.params:
        assert plain == written.number
