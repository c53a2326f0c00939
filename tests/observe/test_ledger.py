"""The ledger: what was decided, found by Call-ID and address, and never more than its bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.observe.ledger import Ledger

WALL = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


def pike(time: float, source: str, call_id: str = "") -> Decision:
    return Decision(time, Reason.PIKE, source=source, call_id=call_id, stage="pike", limit=30, value=31)


def test_a_decision_is_a_sentence() -> None:
    ledger = Ledger(WALL)
    decision = Decision(
        0.1234,
        Reason.RATELIMIT,
        source="192.0.2.1:5060",
        listener="carriers",
        call_id="abc@host",
        stage="ratelimit",
        limit=10,
        value=11,
        detail="bucket invites-per-source",
    )
    ledger.record(decision)
    assert ledger.why("abc@host") == [
        "2023-11-14 22:13:20.123Z refused call abc@host from 192.0.2.1:5060 on carriers because a token bucket was "
        "empty (11 seen; 10 allowed; stage ratelimit; answer 503; reason ratelimit): bucket invites-per-source"
    ]


def test_a_shadow_decision_says_that_it_was_none() -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(0, Reason.SCANNER, source="192.0.2.1:5060", shadow=True))
    (sentence,) = ledger.why("192.0.2.1")
    assert "would have dropped (shadow) from 192.0.2.1:5060" in sentence


@pytest.mark.parametrize("key", ["192.0.2.1", "192.0.2.1:5060", "one", " one "])
def test_found_by_call_and_by_address(key: str) -> None:
    ledger = Ledger(WALL)
    ledger.record(pike(1, "192.0.2.1:5060", "one"))
    ledger.record(pike(2, "192.0.2.2:5060", "two"))
    ledger.record(pike(3, "192.0.2.11:5060", "one-more"))
    found = ledger.why(key)
    assert len(found) == 1
    assert "call one from" in found[0]


@pytest.mark.parametrize("key", ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:5060", "2001:DB8:0::1"])
def test_found_by_ipv6_address(key: str) -> None:
    ledger = Ledger(WALL)
    ledger.record(pike(1, "[2001:db8::1]:5060"))
    ledger.record(pike(1, "[2001:db8::2]:5060"))
    assert len(ledger.why(key)) == 1


@pytest.mark.parametrize(
    ("prefix", "address"),
    [("192.0.2.0/24", "192.0.2.77"), ("2001:db8::/64", "2001:db8::5"), ("2001:db8::/48", "2001:db8:0:7::5")],
)
def test_an_address_finds_the_penalty_of_its_prefix(prefix: str, address: str) -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, Reason.BAN, source=prefix))
    assert len(ledger.why(address)) == 1
    assert len(ledger.why(prefix)) == 1
    assert ledger.why("198.51.100.1") == []


@pytest.mark.parametrize("key", ["", " ", "\x00", "nobody"])
def test_nothing_is_found_for_nothing(key: str) -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, Reason.HEALTH, detail="pbx is active"))
    assert ledger.why(key) == []


def test_it_never_holds_more_than_its_bound() -> None:
    ledger = Ledger(WALL)
    for number in range(limits.DECISIONS * 2):
        ledger.record(pike(number, f"198.51.{number // 256 % 256}.{number % 256}:5060", f"call-{number}"))
        ledger.record(Decision(number, Reason.ROUTED, call_id=f"routed-{number}"))
        ledger.record(pike(number, f"203.0.{number // 256 % 256}.{number % 256}:5060"))
    assert len(ledger) == limits.DECISIONS
    assert len(ledger._folded) <= limits.DECISIONS // 2
    assert ledger.why("call-0") == ledger.why("routed-0") == []
    assert len(ledger.why(f"routed-{limits.DECISIONS * 2 - 1}")) == 1


def test_a_flood_of_refusals_does_not_wash_away_the_calls() -> None:
    ledger = Ledger(WALL, capacity=100)
    ledger.record(Decision(0, Reason.ROUTED, call_id="kept"))
    ledger.record(Decision(0, Reason.BAN, source="192.0.2.66"))
    for number in range(10_000):
        ledger.record(pike(number, f"198.51.{number // 256}.{number % 256}:5060", f"call-{number}"))
    assert len(ledger.why("kept")) == 1
    assert len(ledger.why("192.0.2.66")) == 1


def test_drops_before_parsing_fold_into_one_entry_a_source() -> None:
    ledger = Ledger(WALL, capacity=10)
    ledger.record(pike(0, "192.0.2.7:5060", "victim"))
    for number in range(1000):
        ledger.record(pike(number, f"192.0.2.66:{number + 1}"))
    (sentence,) = ledger.why("192.0.2.66")
    assert "999 times more, last at 2023-11-14 22:29:59.000Z" in sentence
    assert len(ledger.why("victim")) == 1


def test_a_folded_entry_that_is_gone_starts_anew() -> None:
    ledger = Ledger(WALL, capacity=4)
    for source in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"):
        ledger.record(pike(1, source))
    assert len(ledger) == 2
    assert len(ledger.why("192.0.2.1")) == 1
    assert "once more" not in ledger.why("192.0.2.1")[0]
    assert ledger.why("192.0.2.2") == []


def test_an_answer_is_bounded_to_what_came_last() -> None:
    ledger = Ledger(WALL)
    for number in range(limits.LEDGER_ANSWERS + 7):
        ledger.record(pike(number, "192.0.2.1:5060", f"call-{number}"))
    sentences = ledger.why("192.0.2.1")
    assert sentences[0] == "7 earlier decisions are not shown"
    assert len(sentences) == limits.LEDGER_ANSWERS + 1
    assert "call call-7 from" in sentences[1]


def test_recent_is_in_order() -> None:
    ledger = Ledger(WALL)
    for number in range(5):
        ledger.record(Decision(number, Reason.ROUTED if number % 2 else Reason.PIKE, call_id=f"c{number}"))
    assert [sentence.split(" call ")[1].split()[0] for sentence in ledger.recent(3)] == ["c2", "c3", "c4"]
    assert ledger.recent(0) == []


def test_long_texts_are_cut() -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, Reason.ROUTED, call_id="x" * 100_000, detail="y" * 100_000))
    (sentence,) = ledger.why("x" * 100_000)
    assert len(sentence) < 4 * limits.LEDGER_TEXT_CHARS


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20), st.sampled_from(Reason))
def test_a_sentence_is_one_printable_line(call_id: str, detail: str, reason: Reason) -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, reason, call_id=call_id, detail=detail))
    (sentence,) = ledger.recent(1)
    assert sentence.isprintable()
