"""The header fields of probes, by the policy of their set."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from support.signalling import EdgeHarness

from edgesbc.dispatch.settings import HealthSettings, MemberSettings, ProbeSettings
from edgesbc.sip.message import Request

FIELDS = ("Contact", "Allow", "Accept", "User-Agent")


def probe(uri: str = "sip:10.0.0.11", **settings: Any) -> Request:
    """The first probe to a member at ``uri``."""
    harness = EdgeHarness(health=HealthSettings(interval=5.0))
    of_set = attrs.evolve(
        harness.dispatcher.settings("pbx"), members=(MemberSettings(uri),), probe=ProbeSettings(**settings)
    )
    harness.dispatcher.reload([of_set], harness.now)
    message = harness.wait(1.0)[0][1]
    assert isinstance(message, Request)
    assert message.method == "OPTIONS"
    return message


def test_a_probe_says_who_asks_and_what_it_understands() -> None:
    request = probe()
    assert (request.get("From") or "").partition(";")[0] == "<sip:edge@10.0.0.1:5060>"
    allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY"
    assert [request.get(name) for name in FIELDS] == ["<sip:edge@10.0.0.1:5060>", allow, "application/sdp", None]


def test_a_probe_to_a_server_that_asks_for_the_name_of_the_edge() -> None:
    request = probe("sip:10.0.0.11;transport=tcp", host="sbc.example.com:5061", user="", user_agent="edge 1")
    assert (request.get("From") or "").partition(";")[0] == "<sip:sbc.example.com:5061>"
    assert request.get("Contact") == "<sip:sbc.example.com:5061;transport=tcp>"
    assert request.get("User-Agent") == "edge 1"


@pytest.mark.parametrize(
    ("host", "written"),
    [("sbc.example.com", "sbc.example.com:5060"), ("[2001:db8::7]", "[2001:db8::7]:5060"), ("192.0.2.7:5070",) * 2],
)
def test_the_host_has_the_port_of_the_listener_or_its_own(host: str, written: str) -> None:
    assert probe(host=host).get("Contact") == f"<sip:edge@{written}>"


def test_each_field_may_be_left_out() -> None:
    request = probe(contact=False, allow=(), accept=(), user_agent="")
    assert [request.get(name) for name in FIELDS] == [None] * 4


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "a b"}, {"host": "a\r\nX: y"}, {"host": "sbc.example.com:x"}, {"host": "a:5060\r\n"},
        {"host": "<sip:a>"}, {"user": "a b"},
        {"user": "a\r\n"}, {"allow": ("invite",)}, {"allow": ("A\r\nB",)}, {"accept": ("sdp",)},
        {"accept": ("a/b\r\nX: y",)}, {"user_agent": "a\r\nX: y"}, {"allow": ("INVITE",) * 65},
    ],
)  # fmt: skip
def test_values_that_cannot_stand_in_a_field_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ProbeSettings(**settings)
