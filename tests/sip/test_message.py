"""Messages as values: access to their fields, construction, changed copies and the wire form."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.sip import messages, request, response

from edgesbc import sip
from edgesbc.base.errors import WireError
from edgesbc.sip.message import Field, Message, Request, Response, serialise
from edgesbc.sip.parse import parse_message
from edgesbc.sip.phrases import PHRASES, phrase
from edgesbc.sip.uri import Uri, parse_uri

FIELDS: list[Field] = [
    ("Via", "SIP/2.0/UDP h;branch=z9hG4bKa"), ("From", "<sip:a@h>;tag=a"), ("To", "<sip:b@h>"),
    ("Call-ID", "c"), ("CSeq", "1 INVITE"),
]  # fmt: skip
URI = parse_uri("sip:b@h")
SOURCE = Path(sip.__file__).with_name("message.py")  # also where the module is compiled


def a_request() -> Request:
    message = parse_message(request(extra="Contact: <sip:a@h>\r\n", body=b"\x00\xff"))
    assert isinstance(message, Request)
    return message


def a_response() -> Response:
    message = parse_message(response(183))
    assert isinstance(message, Response)
    return message


def refused(word: str, fields: list[Field], uri: Uri = URI, method: str = "INVITE") -> None:
    with pytest.raises(WireError) as caught:
        Request(method=method, uri=uri, fields=fields)
    assert word in caught.value.reason


# --- parsed messages -------------------------------------------------------------------------------------


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
    message = a_response()
    assert (message.status, message.phrase, message.cseq_method, message.to_tag) == (183, "Some words", "INVITE", "b")


def test_the_representation_of_a_message() -> None:
    assert repr(parse_message(request())) == "<INVITE sip:100@192.0.2.1 c1@198.51.100.7 1>"
    assert repr(parse_message(response())) == "<200 INVITE c1@198.51.100.7 1>"


@pytest.mark.parametrize("where", ["first", "last"])
def test_content_length_is_no_field_of_a_message(where: str) -> None:
    extra, length = ("Content-Length: 0\r\n", "") if where == "first" else ("", None)
    message = parse_message(request(extra=extra, length=length))
    assert "Content-Length" not in dict(message.fields)
    assert message.get("Content-Length") is None
    assert len(message.fields) == 6


# --- construction ----------------------------------------------------------------------------------------


def test_a_constructed_message_is_the_parsed_one() -> None:
    parsed, answer = a_request(), a_response()
    assert Request(method=parsed.method, uri=parsed.uri, fields=parsed.fields, body=parsed.body) == parsed
    rebuilt = Response(status=answer.status, phrase=answer.phrase, fields=answer.fields, body=answer.body)
    assert rebuilt == answer
    assert (rebuilt.to_tag, rebuilt.via, rebuilt.cseq) == (answer.to_tag, answer.via, answer.cseq)


@given(messages())
def test_a_message_and_its_wire_form_say_the_same(data: bytes) -> None:
    message = parse_message(data)
    assert parse_message(bytes(message)) == message
    copy = message.replace()
    assert (copy, copy.fields, hash(copy)) == (message, message.fields, hash(message))


@given(st.lists(st.tuples(st.text(min_size=1, max_size=6), st.text(max_size=8)), max_size=4), st.binary(max_size=9))
def test_a_constructor_accepts_what_the_parser_reads_back_and_nothing_else(extra: list[Field], body: bytes) -> None:
    try:
        message = Request(method="INVITE", uri=URI, fields=[*FIELDS, *extra], body=body)
    except WireError:
        return
    reparsed = parse_message(bytes(message))
    assert (reparsed, reparsed.fields, reparsed.body) == (message, message.fields, body)


def test_names_become_canonical_values_stripped_and_lists_split() -> None:
    extra = [("m", " <sip:a@h>, <sip:b@h>"), ("SUBJECT", "\ts "), ("x-Own", "")]
    message = Request(method="INVITE", uri=URI, fields=FIELDS + extra)
    assert message.fields[5:] == (
        ("Contact", "<sip:a@h>"), ("Contact", "<sip:b@h>"), ("Subject", "s"), ("x-Own", ""),
    )  # fmt: skip
    assert message.get_all("Contact") == ["<sip:a@h>", "<sip:b@h>"]


@pytest.mark.parametrize("sign", ["\r", "\n", "\r\n", "\0", "\x1b", "\x7f", "\ud800"])
@pytest.mark.parametrize("place", ["name", "value", "phrase", "method", "uri"])
def test_a_line_end_in_an_argument_is_refused(place: str, sign: str) -> None:
    smuggled = f"a{sign}Route: <sip:evil>"
    with pytest.raises(WireError):
        if place == "name":
            Request(method="INVITE", uri=URI, fields=[*FIELDS, (smuggled, "b")])
        elif place == "value":
            Request(method="INVITE", uri=URI, fields=[*FIELDS, ("Subject", smuggled)])
        elif place == "phrase":
            Response(status=200, phrase=smuggled, fields=FIELDS)
        elif place == "method":
            Request(method=smuggled, uri=URI, fields=FIELDS)
        else:
            Request(method="INVITE", uri=Uri("sip", None, smuggled), fields=FIELDS)


def test_arguments_that_a_request_refuses() -> None:
    refused("not a token", FIELDS, method="IN VITE")
    refused("not that of the request line", FIELDS, method="BYE")
    refused("no header fields", FIELDS, uri=parse_uri("sip:b@h?Subject=x"))
    refused("written from the body", [*FIELDS, ("l", "0")])
    refused("name of a header field", [*FIELDS, ("A b", "")])
    refused("stands twice", [*FIELDS, ("To", "<sip:c@h>")])
    refused("Max-Forwards", [*FIELDS, ("Max-Forwards", "-1")])
    for number, (name, _) in enumerate(FIELDS):
        refused(f"{name} is missing", FIELDS[:number] + FIELDS[number + 1 :])


@pytest.mark.parametrize("status", [0, 99, 700])
def test_a_status_is_a_number_from_100_to_699(status: int) -> None:
    with pytest.raises(WireError):
        Response(status=status, fields=FIELDS)


def test_a_response_has_the_phrase_of_its_status() -> None:
    assert bytes(Response(status=486, fields=FIELDS)).startswith(b"SIP/2.0 486 Busy Here\r\n")
    assert bytes(Response(status=486, phrase="", fields=FIELDS)).startswith(b"SIP/2.0 486 \r\n")


# --- values ----------------------------------------------------------------------------------------------


def test_replace_changes_only_the_given_parts() -> None:
    message = a_request()
    changed = message.replace(uri=parse_uri("sip:new@h"), fields=[*message.fields, ("Reason", "SIP;cause=200")])
    assert (str(changed.uri), changed.get("Reason"), changed.body) == ("sip:new@h", "SIP;cause=200", message.body)
    assert (message.get("Reason"), str(message.uri)) == (None, "sip:100@192.0.2.1")
    bye = message.replace(
        method="BYE", body=b"", fields=[p for p in message.fields if p[0] != "CSeq"] + [("CSeq", "2 BYE")]
    )
    assert bytes(bye).endswith(b"CSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(WireError):
        message.replace(fields=[*message.fields, ("Subject", "a\nb")])


def test_replace_keeps_a_phrase_with_its_status() -> None:
    message = a_response()
    assert message.replace(body=b"x").phrase == message.replace(status=183).phrase == "Some words"
    assert message.replace(status=404).phrase == "Not Found"
    assert message.replace(status=404, phrase="Nobody").phrase == "Nobody"


def test_equality_is_that_of_the_wire_form() -> None:
    one, other = parse_message(request()), parse_message(request())
    assert one == other
    assert len({one, other}) == 1
    assert one != parse_message(request(extra="Subject: s\r\n"))
    assert one != bytes(one)


def test_every_attribute_of_a_message_is_final() -> None:
    """So the index and the parsed values always match the fields."""
    assigned = [
        node for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))) if isinstance(node, ast.Assign)
    ]
    assert not [ast.unparse(node) for node in assigned if isinstance(node.targets[0], ast.Attribute)]
    assert isinstance(a_request().fields, tuple)
    with pytest.raises(TypeError):
        a_request().fields += [("Route", "<sip:evil>")]  # type: ignore[operator, misc] - what is shown to fail


def test_a_message_has_a_start_line() -> None:
    assert a_request().start_line == "INVITE sip:100@192.0.2.1 SIP/2.0"
    assert a_response().start_line == "SIP/2.0 183 Some words"
    with pytest.raises(NotImplementedError):
        _ = Message(tuple(FIELDS), b"").start_line


# --- the wire form ---------------------------------------------------------------------------------------


def test_the_wire_form_announces_the_length_of_the_body() -> None:
    assert serialise("A b SIP/2.0", [("Via", "x"), ("X", "é\udcff")], b"\x00\r\n") == (
        b"A b SIP/2.0\r\nVia: x\r\nX: \xc3\xa9\xff\r\nContent-Length: 3\r\n\r\n\x00\r\n"
    )


def test_phrases() -> None:
    assert phrase(200) == "OK"
    assert phrase(699) == "Unknown"
    assert all(100 <= status <= 699 and text.isascii() for status, text in PHRASES.items())
