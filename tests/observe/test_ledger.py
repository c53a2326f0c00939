"""The ledger: decisions are found by Call-ID and address, within its bound."""

from __future__ import annotations

import ipaddress
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.decision import Decision
from edgesbc.base.reasons import Reason
from edgesbc.observe.ledger import Ledger
from edgesbc.observe.render import LedgerEntry

WALL = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


def pike(time: float, source: str, call_id: str = "") -> Decision:
    return Decision(time, Reason.PIKE, source=source, call_id=call_id, stage="pike", limit=30, value=31)


def sentences(ledger: Ledger, key: str) -> list[str]:
    return ledger.ask(key).sentences()


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
    assert sentences(ledger, "abc@host") == [
        "2023-11-14 22:13:20.123Z refused call abc@host from 192.0.2.1:5060 on carriers because a token bucket was "
        "empty (11 seen; 10 allowed; stage ratelimit; answer 503; reason ratelimit): bucket invites-per-source"
    ]


def test_decisions_of_one_moment_keep_their_order() -> None:
    ledger = Ledger(WALL)
    for reason in (Reason.PIKE, Reason.BAN, Reason.NO_ROUTE, Reason.ROUTED):
        ledger.record(Decision(1, reason, source="192.0.2.1:5060"))
    assert [decision["reason"] for decision in ledger.ask("192.0.2.1").decisions] == [
        "pike",
        "ban",
        "no-route",
        "routed",
    ]


def test_a_ban_and_a_change_of_health_are_about_their_source() -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(0, Reason.BAN, "192.0.2.1:5060", limit=60, stage="pike", detail="address: pike"))
    ledger.record(Decision(0, Reason.HEALTH, "192.0.2.1:5060", detail="active to trying"))
    ban, health = (sentence.partition("Z ")[2] for sentence in sentences(ledger, "192.0.2.1"))
    assert ban.startswith(
        "penalised 192.0.2.1:5060 because a penalty was set, renewed or lifted (60 s; stage pike; reason ban)"
    )
    assert health.startswith("noted health of 192.0.2.1:5060 because")


def test_a_ban_names_its_call_and_an_operator_ban_is_not_one() -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(0, Reason.BAN, "192.0.2.1:5060", "carriers", "abc@host", stage="conduct", detail="flow"))
    ledger.record(Decision(0, Reason.BAN, "192.0.2.1", stage="operator", detail="lifted by root"))
    ban, order = (sentence.partition("Z ")[2] for sentence in sentences(ledger, "192.0.2.1"))
    assert ban.startswith("penalised 192.0.2.1:5060 on carriers after call abc@host because")
    assert order == (
        "noted an order about 192.0.2.1 because a penalty was set, renewed or lifted "
        "(stage operator; reason ban): lifted by root"
    )


def test_a_shadow_decision_is_marked() -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(0, Reason.SCANNER, source="192.0.2.1:5060", shadow=True))
    (sentence,) = sentences(ledger, "192.0.2.1")
    assert "would have dropped (shadow) from 192.0.2.1:5060" in sentence


@pytest.mark.parametrize("key", ["192.0.2.1", "192.0.2.1:5060", "one", " one "])
def test_found_by_call_and_by_address(key: str) -> None:
    ledger = Ledger(WALL)
    ledger.record(pike(1, "192.0.2.1:5060", "one"))
    ledger.record(pike(2, "192.0.2.2:5060", "two"))
    ledger.record(pike(3, "192.0.2.11:5060", "one-more"))
    lines = sentences(ledger, key)
    assert len(lines) == 1
    assert "call one from" in lines[0]


@pytest.mark.parametrize("key", ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:5060", "2001:DB8:0::1"])
def test_found_by_ipv6_address(key: str) -> None:
    ledger = Ledger(WALL)
    ledger.record(pike(1, "[2001:db8::1]:5060"))
    ledger.record(pike(1, "[2001:db8::2]:5060"))
    assert len(sentences(ledger, key)) == 1


@pytest.mark.parametrize(
    ("prefix", "address"),
    [("192.0.2.0/24", "192.0.2.77"), ("2001:db8::/64", "2001:db8::5"), ("2001:db8::/48", "2001:db8:0:7::5")],
)
def test_an_address_finds_the_ban_of_its_prefix(prefix: str, address: str) -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, Reason.BAN, source=prefix))
    assert len(sentences(ledger, address)) == 1
    assert len(sentences(ledger, prefix)) == 1
    assert sentences(ledger, "198.51.100.1") == []


@pytest.mark.parametrize("key", ["", " ", "\x00", "nobody"])
def test_an_unknown_key_finds_nothing(key: str) -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, Reason.HEALTH, detail="pbx is active"))
    assert sentences(ledger, key) == []


def test_the_ledger_is_bounded() -> None:
    ledger = Ledger(WALL)
    for number in range(limits.DECISIONS * 2):
        ledger.record(pike(number, f"198.51.{number // 256 % 256}.{number % 256}:5060", f"call-{number}"))
        ledger.record(Decision(number, Reason.ROUTED, call_id=f"routed-{number}"))
        ledger.record(Decision(number, Reason.BAN, source="192.0.2.1"))
        ledger.record(pike(number, f"203.0.{number // 256 % 256}.{number % 256}:5060"))
    assert len(ledger) == limits.DECISIONS
    assert len(ledger._folded) <= limits.DECISIONS // 2
    assert sentences(ledger, "call-0") == sentences(ledger, "routed-0") == []
    assert len(sentences(ledger, f"routed-{limits.DECISIONS * 2 - 1}")) == 1


def test_a_flood_of_refusals_displaces_no_calls() -> None:
    ledger = Ledger(WALL, capacity=100)
    ledger.record(Decision(0, Reason.ROUTED, call_id="kept"))
    ledger.record(Decision(0, Reason.BAN, source="192.0.2.66"))
    for number in range(10_000):
        ledger.record(pike(number, f"198.51.{number // 256}.{number % 256}:5060", f"call-{number}"))
    assert len(sentences(ledger, "kept")) == 1
    assert len(sentences(ledger, "192.0.2.66")) == 1


@pytest.mark.parametrize("reason", [Reason.ADMISSION, Reason.GUESS, Reason.RINGING, Reason.TRUNK_CALLS, Reason.BAN])
def test_forged_sources_displace_neither_calls_nor_health(reason: Reason) -> None:
    ledger = Ledger(WALL, capacity=100)
    ledger.record(Decision(0, Reason.ROUTED, call_id="kept"))
    ledger.record(Decision(0, Reason.HEALTH, source="10.0.0.11:5060"))
    for number in range(10_000):
        ledger.record(Decision(number, reason, f"198.51.{number // 256}.{number % 256}:5060", call_id=f"call-{number}"))
    assert len(sentences(ledger, "kept")) == 1
    assert len(sentences(ledger, "10.0.0.11")) == 1


def test_drops_before_parsing_fold_into_one_entry_a_source() -> None:
    ledger = Ledger(WALL, capacity=10)
    ledger.record(pike(0, "192.0.2.7:5060", "victim"))
    for number in range(1000):
        ledger.record(pike(number, f"192.0.2.66:{number + 1}"))
    (sentence,) = sentences(ledger, "192.0.2.66")
    assert "999 times more from ports of this address, last at 2023-11-14 22:29:59.000Z" in sentence
    assert len(sentences(ledger, "victim")) == 1


def test_decisions_about_a_name_are_found_by_the_name() -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(0, Reason.NAME, source="pbx.example.com", stage="resolver", detail="now 192.0.2.1:5060"))
    (sentence,) = sentences(ledger, "PBX.example.com")
    assert sentence.partition("Z ")[2].startswith("looked up pbx.example.com because")
    assert sentences(ledger, "example.com") == []


def test_a_folded_entry_is_found_by_any_port_of_the_address() -> None:
    """The decisions of one port and of the others are counted together, and the sentence says so."""
    ledger = Ledger(WALL)
    ledger.record(pike(1, "192.0.2.66:1111"))
    assert sentences(ledger, "192.0.2.66:2222") == []
    ledger.record(pike(2, "192.0.2.66:1111"))
    assert sentences(ledger, "192.0.2.66:2222") == []
    ledger.record(pike(3, "192.0.2.66:2222"))
    (sentence,) = sentences(ledger, "192.0.2.66:2222")
    assert "2 times more from ports of this address" in sentence
    assert sentences(ledger, "192.0.2.66:1111") == [sentence]
    assert sentences(ledger, "192.0.2.67:2222") == []


def test_a_prefix_is_found_in_every_notation() -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, Reason.BAN, source="2001:db8::/64"))
    assert len(sentences(ledger, "2001:DB8:0:0::7/64")) == 1
    assert len(sentences(ledger, "[2001:db8::7]:5060")) == 1
    assert sentences(ledger, "2001:db8::/63") == []


def test_a_dropped_folded_entry_is_counted_anew() -> None:
    ledger = Ledger(WALL, capacity=4)
    for source in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.1"):
        ledger.record(pike(1, source))
    assert len(ledger) == 2
    assert len(sentences(ledger, "192.0.2.1")) == 1
    assert "once more" not in sentences(ledger, "192.0.2.1")[0]
    assert sentences(ledger, "192.0.2.2") == []


def test_an_answer_is_bounded_to_the_last_decisions() -> None:
    ledger = Ledger(WALL)
    for number in range(limits.LEDGER_ANSWERS + 7):
        ledger.record(pike(number, "192.0.2.1:5060", f"call-{number}"))
    lines = sentences(ledger, "192.0.2.1")
    assert lines[0] == "7 earlier decisions are not shown"
    assert len(lines) == limits.LEDGER_ANSWERS + 1
    assert "call call-7 from" in lines[1]


# --- the index ---------------------------------------------------------------------------------------------

HOSTS = ("192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "2001:db8::2")
SOURCES = st.one_of(
    st.builds(lambda host, port: f"[{host}]:{port}" if ":" in host else f"{host}:{port}", st.sampled_from(HOSTS),
              st.sampled_from((5060, 5061))),
    st.sampled_from(("", "192.0.2.0/24", "2001:db8::/64", "2001:db8::/48", *HOSTS)),
)  # fmt: skip
CALLS = st.sampled_from(("", "", "one", "two", "192.0.2.1", "192.0.2.1:5060", "x" * (limits.LEDGER_TEXT_CHARS + 9)))
DECISIONS = st.lists(
    st.tuples(
        st.sampled_from((Reason.PIKE, Reason.NO_ROUTE, Reason.ROUTED, Reason.BAN)), SOURCES, CALLS, st.booleans()
    ),
    max_size=40,
)
KEYS = ("one", "two", "x" * (limits.LEDGER_TEXT_CHARS + 9), "nobody", *HOSTS, "192.0.2.1:5060", "[2001:db8::1]:5061",
        "192.0.2.0/24", "2001:db8::/48", "192.0.2.77", "2001:db8:0:7::1")  # fmt: skip


def scanned(ledger: Ledger, key: str) -> list[LedgerEntry]:
    """The entries that a look-up of ``key`` must give, by an examination of every entry."""
    host, port = key, ""
    if key.startswith("["):
        host, _, port = key[1:].partition("]:")
    elif key.count(":") == 1:
        host, _, port = key.partition(":")
    try:
        network = ipaddress.ip_network(host)
    except ValueError:
        network = None
    entries = []
    for entry in [entry for ring in ledger._rings for entry in ring.entries]:
        source, of = entry.decision.source, entry.host
        if entry.decision.call_id == key[: limits.LEDGER_TEXT_CHARS]:
            entries.append(entry)
        elif network is not None and of:
            about = ipaddress.ip_network(of)
            same = about == network
            covers = "/" not in host and "/" in of and about.version == network.version and network.subnet_of(about)
            port_matches = not port or source in (key, of) or "/" in of or entry.other_ports
            if (same or covers) and port_matches:
                entries.append(entry)
    return sorted(entries, key=lambda entry: entry.number)


@given(DECISIONS, st.integers(1, 12))
@example([(Reason.PIKE, "192.0.2.1:5060", "192.0.2.1", False)] * 3, 2)
def test_the_index_finds_what_a_scan_of_all_entries_finds(
    decisions: list[tuple[Reason, str, str, bool]], capacity: int
) -> None:
    ledger = Ledger(WALL, capacity)
    for time, (reason, source, call_id, shadow) in enumerate(decisions):
        ledger.record(Decision(time, reason, source=source, call_id=call_id, shadow=shadow))
        for key in KEYS:
            assert ledger._find(key) == scanned(ledger, key), key
        the_index_is_that_of_the_ring(ledger)


def the_index_is_that_of_the_ring(ledger: Ledger) -> None:
    for ring in ledger._rings:
        assert len(ring.entries) <= ring.capacity
        calls = [(entry.decision.call_id, entry) for entry in ring.entries if entry.decision.call_id]
        hosts = [(entry.host, entry) for entry in ring.entries if entry.host]
        for index, pairs in ((ring.by_call, calls), (ring.by_host, hosts)):
            assert {key: [entry for of, entry in pairs if of == key] for key, _ in pairs} == index
    unparsed = {id(entry) for entry in ledger._refusals.entries if not entry.decision.call_id}
    assert {id(entry) for entry in ledger._folded.values()} == unparsed


@given(DECISIONS)
def test_folding_counts_every_decision(decisions: list[tuple[Reason, str, str, bool]]) -> None:
    ledger = Ledger(WALL)
    for time, (reason, source, call_id, shadow) in enumerate(decisions):
        ledger.record(Decision(time, reason, source=source, call_id=call_id, shadow=shadow))
    assert sum(1 + entry.repeats for ring in ledger._rings for entry in ring.entries) == len(decisions)


# --- as objects --------------------------------------------------------------------------------------------


def test_an_answer_has_every_value_of_a_decision() -> None:
    ledger = Ledger(WALL)
    for time in (0.1234, 1, 2):
        ledger.record(pike(time, "192.0.2.1:5060"))
    (decision,) = ledger.ask("192.0.2.1").decisions
    assert decision == {
        "time": "2023-11-14T22:13:20.123Z", "reason": "pike", "meaning": Reason.PIKE.meaning,
        "source": "192.0.2.1:5060", "listener": "", "call_id": "", "stage": "pike", "limit": 30, "value": 31,
        "shadow": False, "detail": "", "repeats": 2, "last": "2023-11-14T22:13:22.000Z",
        "sentence": sentences(ledger, "192.0.2.1")[0],
    }  # fmt: skip


def test_a_record_is_json_with_any_number() -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, Reason.BAN, source="192.0.2.1", limit=float("inf"), value=float("nan")))
    (decision,) = ledger.ask("192.0.2.1").decisions
    assert (decision["limit"], decision["value"]) == (None, None)


def test_the_longest_answer_is_bounded() -> None:
    ledger = Ledger(WALL)
    worst = "\U0010ffff" * limits.LEDGER_TEXT_CHARS  # escaped once for a terminal, and that once more in JSON
    for time in range(limits.LEDGER_ANSWERS * 2):
        ledger.record(Decision(time, Reason.MALFORMED, source="192.0.2.1:5060", call_id=worst, detail=worst))
    answer = ledger.ask(worst)
    assert answer.left_out == len(answer.decisions) == limits.LEDGER_ANSWERS
    assert len(json.dumps(answer.decisions)) < 3 * 1024 * 1024 < limits.CONTROL_ANSWER_BYTES


def test_long_texts_are_cut() -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, Reason.ROUTED, call_id="x" * 100_000, detail="y" * 100_000))
    (sentence,) = sentences(ledger, "x" * 100_000)
    assert len(sentence) < 4 * limits.LEDGER_TEXT_CHARS


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20), st.sampled_from(Reason))
def test_a_sentence_is_one_printable_line(call_id: str, detail: str, reason: Reason) -> None:
    ledger = Ledger(WALL)
    ledger.record(Decision(1, reason, source="192.0.2.1:5060", call_id=call_id, detail=detail))
    (sentence,) = sentences(ledger, "192.0.2.1")
    assert sentence.isprintable()
    for decision in ledger.ask(call_id).decisions:
        assert all(str(value).isprintable() for value in decision.values())
