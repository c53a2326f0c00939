"""The media of a call that several callees have answered: those of the one that the caller keeps (RFC 3261 section
13.2.2.4)."""

from __future__ import annotations

import pytest
from support.media_calls import MediaCall

from edgesbc.sip.message import Response

OUTWARD = pytest.mark.parametrize("outward", [False, True], ids=["inward", "outward"])
PORTS = {"one": 7000, "two": 7100}


def answer(call: MediaCall, tag: str, status: int = 200, extra: str = "") -> Response:
    """A callee answers; the response that the caller gets, whose Contact it uses from then on."""
    return call.respond(call.invited, status, call.sdp("b", PORTS[tag]), extra, tag)


def heard_at(call: MediaCall) -> set[int]:
    """The ports of callees that media of the caller may be sent to."""
    targets = str(call.agreed)
    return {port for port in PORTS.values() if f"{call.hosts['b']}', port={port}" in targets or f":{port}" in targets}


def hang_up(call: MediaCall, ok: Response, side: str = "a") -> None:
    """One side ends the dialog of a 2xx."""
    call.tags["b"] = ok.to_tag
    call.targets["a"] = (ok.get("Contact") or "").strip("<>")
    call.respond(call.request(side, "BYE"), 200)


@OUTWARD
def test_the_first_that_answers_has_the_media(outward: bool) -> None:
    call = MediaCall(outward, answered=False)
    answer(call, "one")
    before = call.agreed
    second = answer(call, "two")
    assert second.body.startswith(b"v=0")  # its ACK needs an answer, and so does the caller
    assert call.agreed == before
    assert heard_at(call) == {7000}
    hang_up(call, second)
    assert heard_at(call) == {7000}


@OUTWARD
@pytest.mark.parametrize("side", ["a", "b"])
def test_another_has_them_once_the_first_is_hung_up(outward: bool, side: str) -> None:
    call = MediaCall(outward, answered=False)
    first = answer(call, "one")
    answer(call, "two")
    hang_up(call, first, side)
    assert heard_at(call) == {7100}
    assert call.harness.edge.calls == 1


@OUTWARD
def test_a_repeated_2xx_of_the_other_changes_nothing(outward: bool) -> None:
    call = MediaCall(outward, answered=False)
    answer(call, "one")
    second = answer(call, "two")
    commands = len(call.harness.commands)
    assert answer(call, "two").body == second.body
    assert answer(call, "one").body != b""
    assert len(call.harness.commands) == commands
    assert heard_at(call) == {7000}


@OUTWARD
def test_the_one_that_answers_had_early_media_before_the_other(outward: bool) -> None:
    """The 200 repeats the description of its 183: the media plane has to hear of it again."""
    call = MediaCall(outward, answered=False)
    answer(call, "one", 183)
    answer(call, "two", 183)
    assert heard_at(call) == {7100}
    answer(call, "one")
    assert heard_at(call) == {7000}


@OUTWARD
def test_late_offers_of_two_that_answer_are_two(outward: bool) -> None:
    """Each ACK has the answer to the offer of its own callee; the media are those of the first that is acknowledged."""
    call = MediaCall(outward, late=True, answered=False)
    oks = {tag: answer(call, tag) for tag in PORTS}
    for tag, ok in oks.items():
        call.tags["b"] = tag
        call.targets["a"] = (ok.get("Contact") or "").strip("<>")
        (ack,) = call.ack(ok, call.sdp("a", PORTS[tag] + 1000), f"z9hG4bK{tag}")
        assert ack.body.startswith(b"v=0"), tag
        assert heard_at(call) == {7000}
        (repeated,) = call.ack(ok, call.sdp("a", PORTS[tag] + 1000), f"z9hG4bK{tag}again")
        assert repeated.body == ack.body
    hang_up(call, oks["one"])
    assert heard_at(call) == {7100}


@OUTWARD
def test_late_offers_in_two_reliable_responses_are_two(outward: bool) -> None:
    call = MediaCall(outward, late=True, answered=False)
    early = {tag: answer(call, tag, 183, "Require: 100rel\r\nRSeq: 1") for tag in PORTS}
    for tag, response in early.items():
        call.tags["b"] = tag
        call.targets["a"] = (response.get("Contact") or "").strip("<>")
        prack = call.request("a", "PRACK", call.sdp("a", PORTS[tag] + 1000))
        assert prack.body.startswith(b"v=0"), tag
        assert heard_at(call) == {PORTS[tag]}
        call.respond(prack, 200)


@OUTWARD
def test_one_that_offered_while_it_rang_and_has_not_answered_loses_the_media(outward: bool) -> None:
    """As where a proxy hunts: the first rings, and then another answers."""
    call = MediaCall(outward, late=True, answered=False)
    for tag, status, extra in (("one", 183, "Require: 100rel\r\nRSeq: 1"), ("two", 200, "")):
        response = answer(call, tag, status, extra)
        call.tags["b"] = tag
        call.targets["a"] = (response.get("Contact") or "").strip("<>")
        if status == 183:
            call.respond(call.request("a", "PRACK", call.sdp("a", 8000)), 200)
        else:
            call.ack(response, call.sdp("a", 8100))
        assert heard_at(call) == {PORTS[tag]}


@OUTWARD
def test_a_late_offer_that_another_has_taken_the_place_of_is_not_answered_by_silence(outward: bool) -> None:
    """The caller acknowledges the second alone: the call goes on with that."""
    call = MediaCall(outward, late=True, answered=False)
    oks = {tag: answer(call, tag) for tag in PORTS}
    call.tags["b"] = "two"
    call.targets["a"] = (oks["two"].get("Contact") or "").strip("<>")
    (ack,) = call.ack(oks["two"], call.sdp("a", 8100))
    assert ack.body.startswith(b"v=0")
    assert heard_at(call) == {7100}
    call.harness.wait(40)
    assert heard_at(call) == {7100}
