"""For how long a registration counts, and what its sender hears of that."""

from __future__ import annotations

import pytest
from support.signalling import CORE, MEMBERS, PUBLIC, EdgeHarness, invite, respond

from edgesbc.base import limits
from edgesbc.base.address import Flow, Source
from edgesbc.screen.standing import Standing
from edgesbc.sip.message import Response

PBX = Flow(CORE, MEMBERS[0])
PHONE = Flow(PUBLIC, Source("203.0.113.9", 40000))
DIGEST = 'Authorization: Digest username="bob", realm="inside", nonce="n", uri="sip:x", response="1"\r\n'
CONTACT = "<sip:alice@192.168.1.5:5062>"
DAY = 86400


def answer(
    asked: str = "", param: str = "", field: str = "", credentials: str = DIGEST
) -> tuple[Response, EdgeHarness]:
    """The 200 that a phone gets whose registrar answers with these times."""
    harness = EdgeHarness(trunks={})
    data = invite("REGISTER", branch="z9hG4bKreg", extra=credentials + asked)
    ((_, request),) = harness.receive(PHONE, data)
    lines = f"Contact: {CONTACT}{param}\r\nContact: <sip:other@10.0.0.9>;expires={DAY}"
    if field:
        lines += f"\r\nExpires: {field}"
    ((_, response),) = harness.receive(PBX, respond(request, 200, extra=lines, contact=False))
    assert isinstance(response, Response)
    return response, harness


@pytest.mark.parametrize(
    ("asked", "param", "field", "contact", "expires"),
    [
        ("", ";expires=86400", "", f"{CONTACT};expires=7200", None),
        ("", ";expires=86400;q=0.5", "86400", f"{CONTACT};q=0.5;expires=7200", "7200"),
        ("", "", "86400", f"{CONTACT};expires=7200", "7200"),
        ("Expires: 86400\r\n", "", "", f"{CONTACT};expires=7200", None),
        ("", ";expires=7200", "", f"{CONTACT};expires=7200", None),
        ("", ";expires=600", "86400", f"{CONTACT};expires=600", "7200"),
        ("", ";expires=" + "9" * 5000, "", f"{CONTACT};expires=7200", None),
        ("", "", "", CONTACT, None),
    ],
)
def test_a_phone_hears_of_no_longer_time_than_it_counts_as_registered(
    asked: str, param: str, field: str, contact: str, expires: str | None
) -> None:
    """Before, one that was told a day lost its standing after two hours, and could not call until it registered."""
    response, harness = answer(asked, param, field)
    assert (response.get_all("Contact"), response.get("Expires")) == ([contact], expires)
    assert harness.standings.of(PHONE, harness.now) is Standing.REGISTERED


def test_it_counts_until_the_time_that_it_hears_of() -> None:
    _, harness = answer(param=f";expires={DAY}")
    assert harness.standings.of(PHONE, harness.now + limits.REGISTERED_SECONDS - 1) is Standing.REGISTERED
    assert harness.standings.of(PHONE, harness.now + limits.REGISTERED_SECONDS + 1) < Standing.REGISTERED


def test_a_registration_that_does_not_count_is_not_shortened() -> None:
    response, _ = answer(param=f";expires={DAY}", credentials="")
    assert response.get_all("Contact") == [f"{CONTACT};expires={DAY}"]
