"""Sums by source in bounded memory, and their order."""

from __future__ import annotations

import json

from support.captures import frame, udp
from support.replaying import EDGE, PHONE, message, policy, replay_frames

from edgesbc.base import limits
from edgesbc.base.counts import Counts
from edgesbc.replay.replayer import Replayer
from edgesbc.replay.result import Sources, flat


def test_the_busiest_sources_are_first_and_the_others_are_one_line() -> None:
    sources = Sources()
    for host, times in (("192.0.2.1", 2), ("192.0.2.2", 5), ("192.0.2.3", 1), ("192.0.2.4", 2)):
        for _ in range(times):
            sources.add(host, "pike" if host.endswith("2") else "pass")
    lines = sources.top(2)
    assert [(line.address, line.messages, line.verdicts) for line in lines] == [
        ("192.0.2.2", 5, {"pike": 5}),
        ("192.0.2.1", 2, {"pass": 2}),
        ("", 3, {"pass": 3}),
    ]
    assert sources.top(9)[-1].address == "192.0.2.3"


def test_beyond_the_bound_the_half_with_fewest_messages_is_merged() -> None:
    sources = Sources()
    for _ in range(3):
        sources.add("198.51.100.1", "pass")
    for n in range(limits.REPLAY_SOURCES + 100):
        sources.add(f"2001:db8::{n:x}", "pike")
    assert len(sources) <= limits.REPLAY_SOURCES
    lines = sources.top(1)
    assert (lines[0].address, lines[0].messages) == ("198.51.100.1", 3)
    assert sum(line.messages for line in lines) == limits.REPLAY_SOURCES + 103
    assert sources.count == limits.REPLAY_SOURCES + 101


def test_counts_are_sorted_by_size_and_then_by_name() -> None:
    counts = Counts({("b",): 1, ("a", "x"): 1, ("c",): 7})
    assert list(flat(counts).items()) == [("c", 7), ("a x", 1), ("b", 1)]


def test_a_result_is_json() -> None:
    result = replay_frames([(0.0, frame(udp(PHONE, EDGE, message())))], Replayer(policy(), policy()))
    reloaded = json.loads(json.dumps(result.as_dict()))
    assert reloaded["verdicts"] == {"pass": 1}
    assert reloaded["sources"] == [{"address": PHONE[0], "messages": 1, "verdicts": {"pass": 1}}]
    assert reloaded["otherwise"]["differences"] == []
