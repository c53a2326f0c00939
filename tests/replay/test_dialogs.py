"""Captured requests are changed to match the dialog of the replay; all other messages are replayed unchanged."""

from __future__ import annotations

import pytest
from support.replaying import answer, message

from edgesbc.base import limits
from edgesbc.replay.dialogs import Dialogs
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

OURS = "Contact: <sip:ourtoken@192.0.2.1:5060>\r\n"


def knowing(status: int = 200) -> Dialogs:
    dialogs = Dialogs()
    dialogs.learn(answer(message(), status, "ours", OURS))
    return dialogs


def test_a_request_gets_tag_and_target_of_the_replay_and_loses_its_route() -> None:
    dialogs = knowing()
    extra = "Route: <sip:192.0.2.1;lr>\r\nX-Mine: kept\r\n"
    sent = message("BYE", cseq=2, to_tag="theirs", uri="sip:theirtoken@192.0.2.1", extra=extra)
    bye = parse_message(dialogs.fit(sent))
    assert isinstance(bye, Request)
    assert (str(bye.uri), bye.to_tag, bye.from_tag) == ("sip:ourtoken@192.0.2.1:5060", "ours", "alice")
    assert (bye.get("Route"), bye.get("X-Mine"), bye.via.branch) == (None, "kept", "z9hG4bKb1")
    assert dialogs.fitted == 1


def test_a_provisional_answer_names_an_early_dialog() -> None:
    prack = message("PRACK", cseq=2, to_tag="theirs")
    assert b"tag=ours" in knowing(180).fit(prack)


@pytest.mark.parametrize(
    "data",
    [
        message(),
        message("BYE", to_tag="theirs", call_id="another"),
        message("BYE", to_tag="theirs", uri="tel:+49123"),
        answer(message("BYE"), 200),
        b"\r\n\r\n",
        b"BYE nothing\r\n\r\n",
        b"",
    ],
)
def test_a_message_outside_of_dialogs_is_not_changed(data: bytes) -> None:
    dialogs = knowing()
    assert dialogs.fit(data) == data
    assert dialogs.fitted == 0


@pytest.mark.parametrize(
    "data",
    [
        answer(message(), 100, "ours", OURS),
        answer(message(), 486, "ours", OURS),
        answer(message("OPTIONS"), 200, "ours", OURS),
        answer(message(), 200, "ours"),
        b"SIP/2.0 400 Bad Request\r\n\r\n",
    ],
)
def test_a_response_that_names_no_dialog_is_ignored(data: bytes) -> None:
    dialogs = Dialogs()
    dialogs.learn(data)
    assert len(dialogs) == 0


def test_dialogs_are_bounded_and_the_oldest_is_dropped() -> None:
    dialogs = Dialogs()
    first = answer(message(), 200, "ours", OURS).decode()
    for n in range(limits.REPLAY_DIALOGS + 1):
        dialogs.learn(first.replace("Call-ID: c1", f"Call-ID: c{n}").encode())
    assert len(dialogs) == limits.REPLAY_DIALOGS
    forgotten, known = (message("BYE", f"c{n}", to_tag="theirs") for n in (0, 1))
    assert dialogs.fit(forgotten) == forgotten
    assert dialogs.fit(known) != known
