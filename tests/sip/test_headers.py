"""Single header fields: addresses, Via, CSeq, parameters and lists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sip import hostile, name_addrs, params, tokens, vias

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.headers import NameAddr, parse_cseq, parse_name_addr, parse_params, parse_via, split_list

PARSERS: list[Callable[[str], object]] = [parse_cseq, parse_name_addr, parse_params, parse_via, split_list]


@pytest.mark.parametrize("parser", PARSERS)
@given(text=st.one_of(st.text(), hostile.map(lambda data: data.decode("utf-8", "surrogateescape"))))
def test_any_text_is_a_value_or_a_wire_error(parser: Callable[[str], object], text: str) -> None:
    with contextlib.suppress(WireError):
        parser(text)


# --- name-addr and addr-spec -----------------------------------------------------------------------------


@given(name_addrs())
def test_writing_an_address_loses_nothing(text: str) -> None:
    address = parse_name_addr(text)
    reparsed = parse_name_addr(str(address))
    assert (reparsed.display, reparsed.uri_text, reparsed.params) == (address.display, address.uri_text, address.params)
    assert str(reparsed) == str(address)


@pytest.mark.parametrize(
    ("text", "display", "uri", "params"),
    [
        ("<sip:a@b>", "", "sip:a@b", ()),
        ('"A, B" <sip:a@b>;tag=1', '"A, B"', "sip:a@b", (("tag", "1"),)),
        ("caller<sip:a@b>;tag=323", "caller", "sip:a@b", (("tag", "323"),)),
        ("Two Words\t<sip:a@b>", "Two Words", "sip:a@b", ()),
        ('"J \\\\\\""   <sip:j@e.com>  ;  tag = 98asjd8', '"J \\\\\\""', "sip:j@e.com", (("tag", "98asjd8"),)),
        ('"<sip:x@y>;tag=0" <sip:a@b>', '"<sip:x@y>;tag=0"', "sip:a@b", ()),
        ("sip:a@b;tag=1", "", "sip:a@b", (("tag", "1"),)),
        ("sip:a@b ;   tag    = 19n", "", "sip:a@b", (("tag", "19n"),)),
        ("<sip:a@b;x=1?y=2>;Q=0.5;z", "", "sip:a@b;x=1?y=2", (("q", "0.5"), ("z", None))),
        ('<sip:a@b>;+sip.instance="<urn:uuid:0;1,2>"', "", "sip:a@b", (("+sip.instance", '"<urn:uuid:0;1,2>"'),)),
        ("tel:+1", "", "tel:+1", ()),
    ],
)  # fmt: skip
def test_the_parts_of_an_address(text: str, display: str, uri: str, params: list[tuple[str, str | None]]) -> None:
    address = parse_name_addr(text)
    assert (address.display, address.uri_text, address.params) == (display, uri, params)


@pytest.mark.parametrize(
    "text",
    [
        "", '"', '"a <sip:a@b>', '"Mr. J. User <sip:j.user@example.com>', "<sip:a@b", "sip:a@b>", "<>", "< sip:a@b >",
        "<sip:a@b> x", "<sip:a@b>,<sip:c@d>", "sip:a@b,sip:c@d", "sip:a@b?x=y", "A, B <sip:a@b>", "a@b <sip:a@b>",
        "<sip:a@b>;", "<sip:a@b>;;a", "<sip:a@b>;a=", "<sip:a@b>;=a", '<sip:a@b>;a="b', "<sip:a@b>;a=b c",
        "<sip:a@b>;tag=1;tag=2", "<sip:a@b>;tag=1;TAG=1", "<sip:a@b>;tag", '<sip:a@b>;tag="1"', "<sip:a@b>;tag=[::1]",
        "<sip:a@b>;a=é", '"a\\" <sip:a@b>',
    ],
)  # fmt: skip
def test_a_malformed_address(text: str) -> None:
    with pytest.raises(WireError):
        parse_name_addr(text)


def test_the_uri_of_an_address_is_read_when_asked_for() -> None:
    assert parse_name_addr("<sip:a@B>").uri.host == "b"
    nonsense = parse_name_addr("<nonsense>")
    with pytest.raises(WireError):
        _ = nonsense.uri


def test_a_contact_of_all_is_no_uri() -> None:
    with pytest.raises(WireError):
        _ = parse_name_addr("*").uri


def test_a_tag_and_none() -> None:
    assert (parse_name_addr("<sip:a>;x;tag=1").tag, parse_name_addr("<sip:a>;x").tag) == ("1", "")


# --- Via -------------------------------------------------------------------------------------------------


@given(vias())
def test_writing_a_via_loses_nothing(text: str) -> None:
    via = parse_via(text)
    reparsed = parse_via(str(via))
    assert (reparsed.transport, reparsed.host, reparsed.port, reparsed.params, reparsed.branch) == (
        via.transport, via.host, via.port, via.params, via.branch,
    )  # fmt: skip
    assert str(reparsed) == str(via)


@pytest.mark.parametrize(
    ("text", "transport", "host", "port", "branch"),
    [
        ("SIP/2.0/UDP Example.com;branch=z9hG4bKa", "UDP", "example.com", None, "z9hG4bKa"),
        ("SIP  /   2.0 /tcp     h.example   : 5070 ;  branch  =   z9hG4bK9", "TCP", "h.example", 5070, "z9hG4bK9"),
        ("sip/2.0/TLS [2001:DB8::9:1]:5061", "TLS", "2001:db8::9:1", 5061, ""),
        ("SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bK", "UNKNOWN", "t4.example.com", None, "z9hG4bK"),
    ],
)  # fmt: skip
def test_the_parts_of_a_via(text: str, transport: str, host: str, port: int | None, branch: str) -> None:
    via = parse_via(text)
    assert (via.transport, via.host, via.port, via.branch) == (transport, host, port, branch)


def test_vias_of_one_peer_keep_their_own_parameters() -> None:
    """Its transport, host and port are cached, its parameters are not."""
    first, second, bare = (parse_via(f"SIP/2.0/TCP h:5070{text}") for text in (";branch=a;rport", ";Branch=b", ""))
    assert [via.params for via in (first, second, bare)] == [(("branch", "a"), ("rport", None)), (("branch", "b"),), ()]
    assert {(via.transport, via.host, via.port) for via in (first, second, bare)} == {("TCP", "h", 5070)}


@pytest.mark.parametrize(
    "text",
    [
        "", ";", ";branch=a", "SIP/2.0/UDP;branch=a", "SIP/2.0/UDP h:;branch=a",
        "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/3.0/UDP h", "SIP/2.0 UDP h", "HTTP/1.1 h", "SIP/2.0/UDPh",
        "SIP/2.0/UDP h:0", "SIP/2.0/UDP h:65536", "SIP/2.0/UDP h:", "SIP/2.0/UDP h x", "SIP/2.0/UDP 2001:db8::1",
        "SIP/2.0/UDP [::1",
        "SIP/2.0/UDP [:::]", "SIP/2.0/UDP h;branch=a;branch=b", "SIP/2.0/UDP h;", "SIP/2.0/UDP h,SIP/2.0/UDP i",
        "\u017fIP/2.0/UDP h", "SIP/2.0/UDP \u212a", "SIP/2.0/UDP h;branch=a b", "SIP/2.0/UDP a@h",
    ],
)  # fmt: skip
def test_a_malformed_via(text: str) -> None:
    with pytest.raises(WireError):
        parse_via(text)


@pytest.mark.parametrize("received", ["2001:db8::9:255", "[2001:db8::9:255]", "192.0.2.1"])
def test_received_may_be_an_ipv6_address_with_and_without_brackets(received: str) -> None:
    assert parse_via(f"SIP/2.0/UDP h;received={received};branch=z9hG4bKas3").param("received") == received


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SIP/2.0/UDP 192.0.2.1:5060;branch=a", "SIP/2.0/UDP 192.0.2.1:5060;branch=a"),
        ("SIP/2.0/UDP 10.0.0.1;branch=a", "SIP/2.0/UDP 10.0.0.1;branch=a;received=192.0.2.1"),
        ("SIP/2.0/UDP 192.0.2.1;rport;branch=a", "SIP/2.0/UDP 192.0.2.1;branch=a;received=192.0.2.1;rport=7"),
        # received and rport of the sender are replaced.
        ("SIP/2.0/UDP h;received=9.9.9.9;rport=9", "SIP/2.0/UDP h;received=192.0.2.1;rport=7"),
        ("SIP/2.0/UDP 192.0.2.1;received=9.9.9.9", "SIP/2.0/UDP 192.0.2.1"),
    ],
)
def test_received_and_rport(text: str, expected: str) -> None:
    assert str(parse_via(text).received_from("192.0.2.1", 7)) == expected


def test_received_of_an_ipv6_peer_can_be_read_again() -> None:
    via = parse_via("SIP/2.0/UDP h;rport;branch=z9hG4bKa").received_from("2001:db8::7", 5062)
    assert parse_via(str(via)).param("received") == "2001:db8::7"


# --- CSeq, parameters, lists -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"), [("1 INVITE", (1, "INVITE")), ("0009 \t ACK", (9, "ACK")), ("2147483647 a", (2**31 - 1, "a"))]
)
def test_cseq(text: str, value: tuple[int, str]) -> None:
    assert parse_cseq(text) == value


@pytest.mark.parametrize("text", ["2147483648 INVITE", "36893488147419103232 REGISTER", "-1 A", "1", "1 A B", "1e3 A"])
def test_a_malformed_cseq(text: str) -> None:
    with pytest.raises(WireError):
        parse_cseq(text)


@given(st.integers(0, 2**31 - 1), tokens)
def test_writing_a_cseq_loses_nothing(number: int, method: str) -> None:
    value = parse_cseq(f"{number:010} \t{method}")
    assert value == (number, method) == parse_cseq(str(value))


@given(params())
def test_writing_parameters_loses_nothing(text: str) -> None:
    value = parse_params(text)
    written = NameAddr("", "sip:a", value).written_params()
    assert parse_params(written) == value


@given(st.lists(name_addrs(), min_size=1, max_size=4), st.sampled_from([",", " , ", ",\t"]))
def test_a_list_of_addresses_is_split_where_it_was_joined(addresses: list[str], between: str) -> None:
    assert [value.strip(" \t") for value in split_list(between.join(addresses))] == [
        address.strip(" \t") for address in addresses
    ]


def test_parameters_read_the_same_plain_and_with_space() -> None:
    expected = (("a", "1"), ("b", None), ("c", "::1"))
    assert parse_params(";A=1;b;c=::1") == parse_params(" ; A = 1 ; b\t;c\t= ::1 ") == expected


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a ,\tb ", ["a", "b"]),
        ('"a,b" <c,d>;e, "\\",",f', ['"a,b" <c,d>;e', '"\\","', "f"]),
        ("<a>,<b>", ["<a>", "<b>"]),
    ],
)
def test_the_values_of_a_list(text: str, values: list[str]) -> None:
    assert [value.strip() for value in split_list(text)] == values


def test_a_list_of_too_many_values_is_refused() -> None:
    assert len(split_list(",".join("a" * limits.HEADER_FIELDS))) == limits.HEADER_FIELDS
    with pytest.raises(WireError) as caught:
        split_list(",".join("a" * (limits.HEADER_FIELDS + 1)))
    assert caught.value.status_hint == 513


@pytest.mark.parametrize("text", ["", ",", "a,", ",a", "a,,b", "a, ,b", 'a,"b', "a,<b", 'a,"b\\"', "a,b<c"])
def test_a_malformed_list(text: str) -> None:
    with pytest.raises(WireError):
        split_list(text)
