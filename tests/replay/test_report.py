"""The text of a report."""

from __future__ import annotations

import attrs
from support.captures import frame, udp
from support.replaying import EDGE, PHONE, make_replayer, message, policy, replay_frames

from edgesbc.replay.replayer import Replayer
from edgesbc.replay.report import lines


def test_a_small_replay_in_full() -> None:
    strict = policy('[screen.method]\npublic = ["OPTIONS"]', file="strict.toml")
    options = message("OPTIONS", "o", branch="o")
    elsewhere = udp(PHONE, ("192.0.2.77", 9), b"x")
    frames = [
        (n * 0.5, frame(packet))
        for n, packet in enumerate([udp(PHONE, EDGE, message()), udp(PHONE, EDGE, options), elsewhere])
    ]
    assert list(lines(replay_frames(frames, Replayer(policy(), strict)))) == [
        "test.pcap: 3 packets in 1.000 s, judged by edge.toml",
        "went in: 2 packets with 2 messages",
        "left out (packets):",
        "  1  to and from other addresses",
        "verdicts (messages):",
        "  2  pass",
        "sources (the busiest 1 of 1):",
        "  198.51.100.7  2  pass 2",
        "requests read:",
        "  1  INVITE",
        "  1  OPTIONS",
        "answers sent outward:",
        "  2  2xx",
        "  1  1xx",
        "sent inward, to an inside that is obliging:",
        "  1  10.0.0.11:5060 INVITE",
        "calls: 1 answered, 1 alive at the end, 1 at once at most",
        "strict.toml would have judged 1 of them otherwise:",
        "  1  pass -> method, as 198.51.100.7:5062 at 0.000 s, Call-ID c1",
    ]


def test_no_messages_and_no_differences_are_reported_too() -> None:
    assert list(lines(replay_frames([], Replayer(policy(), policy(file="new.toml"))))) == [
        "test.pcap: 0 packets in 0.000 s, judged by edge.toml",
        "went in: 0 packets with 0 messages",
        "new.toml would have judged and routed all of it the same",
    ]


def test_text_of_peers_is_escaped() -> None:
    strict = policy('[screen.method]\npublic = ["OPTIONS"]')
    result = replay_frames(
        [(0.0, frame(udp(PHONE, EDGE, message(call_id="a\\x1b[2J" + "b" * 200))))], Replayer(policy(), strict)
    )
    text = "\n".join(lines(result))
    assert "Call-ID a\\\\x1b[2J" in text  # the peer's own backslash is escaped too
    assert "b" * 100 not in text


def test_the_error_of_a_broken_capture_is_first() -> None:
    result = attrs.evolve(replay_frames([], make_replayer()), broken="packet 7: the file ends inside a packet")
    second = list(lines(result))[1]
    assert (
        second
        == "the capture is broken, and what stands before that was judged: packet 7: the file ends inside a packet"
    )
