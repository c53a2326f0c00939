"""URIs: what is read, what is refused, and that writing one loses nothing."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.sip import hostile, telephone_uris, uris

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.uri import Uri, are_equivalent, parse_uri


def parts(uri: Uri) -> tuple[object, ...]:
    return (uri.scheme, uri.user, uri.host, uri.port, uri.params, uri.headers, uri.opaque)


@given(uris())
def test_writing_a_uri_loses_nothing(text: str) -> None:
    uri = parse_uri(text)
    assert parts(parse_uri(str(uri))) == parts(uri)
    assert str(parse_uri(str(uri))) == str(uri)


@given(
    st.one_of(
        st.text(), st.text('sip:@[]%;=?,<>"\\ 0aſK', max_size=40), hostile.map(lambda data: data.decode("latin-1"))
    )
)
@example("sip:" + "a" * limits.START_LINE_BYTES)
def test_any_text_is_a_uri_or_a_wire_error(text: str) -> None:
    with contextlib.suppress(WireError):
        uri = parse_uri(text)
        assert str(uri).isascii()
        assert not set(str(uri)) & set(' \t\r\n<>"\x00')
        assert parts(parse_uri(str(uri))) == parts(uri)


@pytest.mark.parametrize(
    ("text", "user", "host", "port", "params"),
    [
        ("sip:example.com", None, "example.com", None, ()),
        ("SIPS:Alice@EXAMPLE.com:5061", "Alice", "example.com", 5061, ()),
        ("sip:a:secret@h", "a:secret", "h", None, ()),
        ("sip:+1-212:1234@gw.com;user=phone", "+1-212:1234", "gw.com", None, (("user", "phone"),)),
        ("sip:user;par=u%40example.net@example.com", "user;par=u%40example.net", "example.com", None, ()),
        ("sip:sips%3Auser%40example.com@example.net", "sips%3Auser%40example.com", "example.net", None, ()),
        ("sip:null-%00-null@h", "null-%00-null", "h", None, ()),
        ("sip:[2001:DB8::1]:5070;lr", None, "2001:db8::1", 5070, (("lr", None),)),
        ("sip:[2001:db8::10:5070]", None, "2001:db8::10:5070", None, ()),
        ("sip:h;Transport=TCP;x=", None, "h", None, (("transport", "TCP"), ("x", ""))),
        ("sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@h",
         "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)", "h", None, ()),
    ],
)  # fmt: skip
def test_the_parts_of_a_uri(
    text: str, user: str | None, host: str, port: int | None, params: list[tuple[str, str | None]]
) -> None:
    uri = parse_uri(text)
    assert (uri.user, uri.host, uri.port, uri.params) == (user, host, port, params)


@pytest.mark.parametrize(
    "text",
    [
        "", "sip:", "sip", "alice@example.com", "sip:@h", "sip:a@", "sip:a@b@c", "sip:h:0", "sip:h:65536", "sip:h:x",
        "sip:h:", "sip:h;", "sip:h;;a", "sip:h;=a", "sip:h;a=1;A=2", "sip:a%4@h", "sip:a%@h", "sip:a%zz@h", "sip:a b@h",
        " sip:h", "sip:h ", "sip:h\r\nX: y", "sip:h\x00", "<sip:h>", "sip:é@h", "sip:h;a=é", "sip:h?a=é", "sip:h?a=<b>",
        "\u017fip:h", "sip:\u212a",
        "sip:2001:db8::10", "sip:[2001:db8:::192.0.2.1]", "sip:[::1", "sip:::1]", "sip:[]", "sip:.h",
        "sip:-h", "sip:a\\b@h", 'sip:"a"@h', "1a:b", "tel:", "tel:a b", "tel:+1%4", 'tel:"1"', "tel:é", "sips",
    ],
)  # fmt: skip
def test_a_malformed_uri(text: str) -> None:
    with pytest.raises(WireError):
        parse_uri(text)


def test_a_uri_of_another_scheme_is_not_parsed() -> None:
    uri = parse_uri("TEL:+49-30;phone-context=x@y?a=b")
    assert (uri.scheme, uri.host, uri.opaque) == ("tel", "", "+49-30;phone-context=x@y?a=b")
    assert str(uri) == "tel:+49-30;phone-context=x@y?a=b"


@given(telephone_uris())
def test_a_telephone_uri_passes_as_it_is(text: str) -> None:
    uri = parse_uri(text)
    assert (uri.scheme, str(uri)) == ("tel", text)


@pytest.mark.parametrize(
    "text",
    [
        "tel:+1-201-555-0123", "tel:+1.(201).555.0123", "tel:7042;phone-context=example.com", "tel:*31%23;ext=12",
        "tel:863-1234;phone-context=+1-914-555;isub=12", "tel:911;phone-context=+1;x=%5B", "urn:service:sos.fire",
        "http://[2001:db8::1]:80/a?b#c", "mailto:a@b", "im:user@example.com", "pres:user@example.com", "im-1+x.y:z",
        "soap.beep://192.0.2.103:3002", "isbn:2983792873", "cid:foo4%25foo1@bar.net", "data:,a%20b",
    ],
)  # fmt: skip
def test_a_uri_of_another_scheme_is_not_changed(text: str) -> None:
    uri = parse_uri(text)
    assert (uri.user, uri.host, uri.port, uri.params, str(uri)) == (None, "", None, (), text)


def test_a_long_uri_is_answered_414() -> None:
    with pytest.raises(WireError) as caught:
        parse_uri("sip:" + "a" * limits.START_LINE_BYTES)
    assert caught.value.status_hint == 414


@pytest.mark.parametrize(
    ("text", "transport"),
    [("sip:h", "udp"), ("sips:h", "tls"), ("sip:h;transport=TCP", "tcp"), ("sips:h;transport=WSS", "wss")],
)
def test_the_transport_of_a_uri(text: str, transport: str) -> None:
    assert parse_uri(text).transport == transport


def test_a_parameter_with_a_value_without_one_and_missing() -> None:
    uri = parse_uri("sip:h;lr;maddr=192.0.2.1")
    assert (uri.param("maddr"), uri.param("lr"), uri.param("ttl")) == ("192.0.2.1", "", None)


# --- equivalence -----------------------------------------------------------------------------------------

# RFC 3261 section 19.1.4 has these examples.
EQUIVALENT = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    ("sip:a%2Fb@h", "sip:a%2fb@h"),
    ("tel:+1", "tel:+1"),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
    ("sip:bob@biloxi.com", "sip:biloxi.com"),
    ("sip:bob@biloxi.com", "sip:bob:secret@biloxi.com"),
    ("sip:a%2Fb@h", "sip:a/b@h"),
    ("sip:bob@h;maddr=192.0.2.1", "sip:bob@h"),
    ("tel:+1", "sip:+1@h"),
]


@pytest.mark.parametrize(("one", "other"), EQUIVALENT)
def test_equivalent_uris(one: str, other: str) -> None:
    assert are_equivalent(parse_uri(one), parse_uri(other))
    assert are_equivalent(parse_uri(other), parse_uri(one))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_uris(one: str, other: str) -> None:
    assert not are_equivalent(parse_uri(one), parse_uri(other))
    assert not are_equivalent(parse_uri(other), parse_uri(one))


@given(uris())
def test_every_uri_is_equivalent_to_itself(text: str) -> None:
    assert are_equivalent(parse_uri(text), parse_uri(text))
