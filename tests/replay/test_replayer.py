"""Captures played through the signalling core: a flood, a scanner, calls over UDP and TCP, and what is left out."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.captures import (
    COOKED,
    COOKED_2,
    ETHERNET,
    FIN,
    RAW,
    RST,
    SYN,
    UDP,
    Timed,
    frame,
    ip,
    pcap,
    tcp,
    udp,
    udp_body,
)
from support.replaying import EDGE, MEMBER, OPEN, PHONE, answer, make_replayer, message, policy, replay_frames

from edgesbc.base.address import Source
from edgesbc.base.files import write_file
from edgesbc.policy.load import parse_policy
from edgesbc.replay.capture import Capture
from edgesbc.replay.replayer import Entropy, Replayer
from edgesbc.replay.result import ReplayResult
from edgesbc.screen.operator_bans import OperatorBan
from edgesbc.screen.pipeline import Pipeline
from edgesbc.screen.standing import Standings
from edgesbc.store import bans

FLOODER = ("203.0.113.66", 5060)


def from_phone(*messages: bytes, start: float = 0.0, step: float = 0.1) -> list[Timed]:
    return [(start + n * step, frame(udp(PHONE, EDGE, data))) for n, data in enumerate(messages)]


def call(call_id: str = "c1", start: float = 0.0, to_tag: str = "captured") -> list[Timed]:
    """A call that was captured at an edge with other token keys and with another callee."""
    invite = message(call_id=call_id, branch=f"{call_id}i")
    token = "sip:AAAAsomebodyElsesTokenAAAA@192.0.2.1"
    ok = answer(invite, 200, to_tag, extra=f"Contact: <{token}>\r\n")
    ack = message("ACK", call_id, branch=f"{call_id}a", to_tag=to_tag, uri=token)
    bye = message(
        "BYE", call_id, 2, branch=f"{call_id}b", to_tag=to_tag, uri=token, extra="Route: <sip:192.0.2.1;lr>\r\n"
    )
    return [
        (start, frame(udp(PHONE, EDGE, invite))),
        (start + 0.5, frame(udp(EDGE, PHONE, ok))),
        (start + 0.6, frame(udp(PHONE, EDGE, ack))),
        (start + 3.0, frame(udp(PHONE, EDGE, bye))),
    ]


def flood(count: int = 500, start: float = 0.0) -> list[Timed]:
    return [
        (start + n / 1000, frame(udp(FLOODER, EDGE, message(call_id=f"f{n}", branch=f"f{n}", source=FLOODER))))
        for n in range(count)
    ]


def test_a_call_is_answered_acknowledged_and_ended_in_the_replay() -> None:
    result = replay_frames(call())
    assert result.verdicts == {"pass": 3}
    assert result.requests == {"ACK": 1, "BYE": 1, "INVITE": 1}
    assert result.forwarded == {f"{MEMBER[0]}:5060 {method}": 1 for method in ("ACK", "BYE", "INVITE")}
    assert result.answers == {"2xx": 2, "1xx": 1}
    assert (result.calls, result.calls_left, result.calls_most) == ({"answered": 1}, 0, 1)
    assert result.left_out == {"of the edge that was captured": 1}
    assert result.notes == {"requests that got the tag and Contact of this replay's dialog": 2}
    assert (result.packets, result.seconds) == (4, 3.0)


def test_a_flood_is_reported_by_reason_and_source_beside_a_caller() -> None:
    result = replay_frames(sorted(flood() + call(), key=lambda timed: timed[0]))
    assert result.verdicts == {"banned": 469, "pass": 33, "pike": 1}
    assert [(source.address, source.messages) for source in result.sources] == [(FLOODER[0], 500), (PHONE[0], 3)]
    assert result.sources[0].verdicts == {"banned": 469, "pass": 30, "pike": 1}
    assert result.bans == 1
    assert result.calls["answered"] == 31


def test_a_scanner_gets_no_response_and_is_reported() -> None:
    scans = [message("OPTIONS", f"s{n}", branch=f"s{n}", extra="User-Agent: friendly-scanner\r\n") for n in range(5)]
    patient = "[screen.conduct]\npoints = 50"  # each scan is worth ten points
    for more, verdicts in (("", {"scanner": 3, "banned": 2}), (patient, {"scanner": 5})):
        result = replay_frames(from_phone(*scans), make_replayer(more))
        assert result.verdicts == verdicts
        assert result.answers == {}
        assert result.decisions == {"scanner": verdicts["scanner"], **({} if more else {"ban": 1})}


def test_differences_of_the_second_policy_are_reported_with_an_example() -> None:
    strict = policy("[screen.pike]\nreqs_density_per_unit = 10", file="strict.toml")
    result = replay_frames(flood(40), Replayer(policy(), strict))
    assert result.verdicts == {"pass": 30, "banned": 9, "pike": 1}
    assert result.otherwise is not None
    pairs = {
        (difference["live"], difference["other"]): difference["count"] for difference in result.otherwise["differences"]
    }
    assert pairs == {("pass", "banned"): 19, ("pass", "pike"): 1, ("pike", "banned"): 1}
    (trip,) = [difference for difference in result.otherwise["differences"] if difference["other"] == "pike"]
    assert trip["examples"] == [
        {"time": 0.01, "source": "203.0.113.66:5060", "listener": "public-udp", "call_id": "f10"},
    ]
    assert result.otherwise["judged"] > 40  # and the responses of the destinations


def test_the_same_policy_as_second_policy_gives_no_differences() -> None:
    frames = sorted(flood(200) + call("c1") + call("c2", 0.05), key=lambda timed: timed[0])
    result = replay_frames(frames, Replayer(policy(), policy()))
    assert result.otherwise == {"judged": result.otherwise["judged"], "differences": [], "routes": []}  # type: ignore[index]
    assert result.verdicts == replay_frames(frames).verdicts


MAIL = """
listen = [
  { name = "public-udp", zone = "public", transport = "udp", bind = "192.0.2.1:5060" },
  { name = "inside", zone = "core", transport = "udp", bind = "10.0.0.1:5060" },
]
destinations = [{ set = "mail", members = [{ uri = "sip:10.0.0.77" }] }]
[screen.admission]
open = ["public-udp"]
"""


def test_other_routes_of_the_second_policy_are_reported() -> None:
    result = replay_frames(from_phone(message()), Replayer(policy(), parse_policy(MAIL, "mail.toml")))
    assert result.otherwise is not None
    (pair,) = result.otherwise["routes"]
    assert (pair["live"], pair["other"], pair["count"]) == ("pbx", "mail", 1)


# --- time ------------------------------------------------------------------------------------------------


def test_deadlines_between_packets_are_met_on_time() -> None:
    """Silent destinations: the call fails over after two seconds, and fails, long before the next packet."""
    far = from_phone(message(), start=0) + from_phone(message("OPTIONS", "late", branch="late"), start=500_000)
    result = replay_frames(far, make_replayer(inside="silent"))
    assert [key for key in result.forwarded if key.endswith("INVITE")] == [
        "10.0.0.11:5060 INVITE",
        "10.0.0.12:5060 INVITE",
    ]
    assert result.decisions["failover"] >= 1
    assert result.calls_left == 0
    assert sum(result.calls.values()) == 1


def test_a_ban_runs_out_on_the_captures_clock() -> None:
    later = message("OPTIONS", "again", branch="again", source=FLOODER)
    frames = [*flood(40), (200.0, frame(udp(FLOODER, EDGE, later)))]
    assert replay_frames(frames).verdicts == {"pass": 31, "banned": 9, "pike": 1}


def test_a_timestamp_before_the_previous_one_does_not_set_the_clock_back() -> None:
    frames = from_phone(message(), start=10.0) + from_phone(message("OPTIONS", "o", branch="o"), start=4.0)
    result = replay_frames(frames)
    assert result.seconds == 0.0
    assert result.notes == {"packets earlier than the one before them, taken as of the same time": 1}


# --- the inside ------------------------------------------------------------------------------------------


def register(cseq: int, extra: str = "") -> bytes:
    return message("REGISTER", "r", cseq, branch=f"r{cseq}", uri="sip:192.0.2.1", extra=extra)


REGISTERS = '[screen.method]\npublic = ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER"]'


@pytest.mark.parametrize(("status", "verdict"), [(200, "pass"), (403, "banned")])
def test_a_flow_is_registered_if_the_captured_response_says_so(status: int, verdict: str) -> None:
    """A flow whose REGISTER was refused in the capture is not registered in the replay and can be banned."""
    credentials = "Authorization: Digest username=alice, realm=r, nonce=n, uri=u, response=r\r\n"
    sent = register(2, credentials)
    contact = f"Contact: <sip:alice@{PHONE[0]}:{PHONE[1]}>;expires=600\r\n"
    frames = [*from_phone(sent), (0.2, frame(udp(EDGE, PHONE, answer(sent, status, extra=contact))))]
    frames += from_phone(*[message("OPTIONS", f"o{n}", branch=f"o{n}") for n in range(32)], start=5.0, step=0.001)
    result = replay_frames(frames, make_replayer(REGISTERS))
    assert result.forwarded[f"{MEMBER[0]}:5060 REGISTER"] == 1
    assert result.answers[f"{status // 100}xx"] >= 1
    # A registered flow that sends too much loses the excess messages and is not banned.
    assert result.verdicts == ({"pass": 31, "pike": 2} if verdict == "pass" else {"pass": 31, "pike": 1, "banned": 1})


def test_captured_destinations_ring_until_the_captured_response() -> None:
    invite = message()
    frames = from_phone(invite)
    frames += [(1.0, frame(udp(EDGE, PHONE, answer(invite, 180)))), (9.0, frame(udp(EDGE, PHONE, answer(invite, 486))))]
    frames += from_phone(message("ACK", to_tag="bob"), start=9.1)
    result = replay_frames(frames, make_replayer(inside="captured"))
    assert result.answers == {"1xx": 1, "4xx": 1}  # no 100 of the edge: it is too long an answer to so short a request
    assert result.calls == {"refused": 1}


def test_all_responses_in_one_segment_are_used() -> None:
    invite = message(transport="TCP")
    answers = answer(invite, 180) + answer(invite, 200) + b"\r\n\r\n" + answer(invite, 200)[:40]
    packets = [*over_tcp(invite, size=2000)[:2], tcp(EDGE, PHONE, 1, answers)]
    result = replay_frames(timed(packets), make_replayer(inside="captured"))
    assert result.calls == {"answered": 1}
    assert result.answers == {"1xx": 1, "2xx": 1}


def test_a_cancelled_call_is_cancelled_at_captured_destinations() -> None:
    frames = from_phone(message(), message("CANCEL"), step=2.5)
    result = replay_frames(frames, make_replayer(inside="captured"))
    assert result.forwarded == {f"{MEMBER[0]}:5060 {method}": 1 for method in ("CANCEL", "INVITE", "ACK")}
    assert result.calls == {"cancelled": 1}


def test_without_a_dialog_of_this_replay_a_request_goes_in_as_it_is() -> None:
    """The call began before the capture, so no dialog of the replay matches."""
    result = replay_frames(call()[2:])
    assert result.verdicts == {"no-dialog": 1, "pass": 1}
    assert result.notes == {}


# --- what the stages make of it --------------------------------------------------------------------------


def test_unproven_sources_call_at_open_listeners_and_registered_flows_at_any() -> None:
    """The captured response registers the flow: calls before it are refused, calls after it are not."""
    sent = register(2, "Authorization: Digest username=alice, realm=r, nonce=n, uri=u, response=r\r\n")
    contact = f"Contact: <sip:alice@{PHONE[0]}:{PHONE[1]}>;expires=600\r\n"
    frames = [*from_phone(message(call_id="before", branch="before"), sent, step=0.1)]
    frames += [(0.2, frame(udp(EDGE, PHONE, answer(sent, 200, extra=contact))))]
    frames += from_phone(message(call_id="after", branch="after"), start=1.0)
    closed = replay_frames(frames, Replayer(policy(REGISTERS, admission="")))
    assert closed.verdicts == {"pass": 2, "admission": 1}
    assert closed.decisions["admission"] == 1
    assert closed.calls == {"answered": 1}
    unadmitted = replay_frames(frames, Replayer(policy(REGISTERS), policy(REGISTERS, admission="")))
    assert unadmitted.verdicts == {"pass": 3}
    assert unadmitted.otherwise is not None
    assert [
        (difference["live"], difference["other"], difference["count"])
        for difference in unadmitted.otherwise["differences"]
    ] == [("pass", "admission", 1)]


def guesses(count: int, status: int, extra: str = "") -> list[Timed]:
    """REGISTERs of one phone with one password after the other, and the responses of the captured edge."""
    frames = []
    for n in range(count):
        sent = register(n, f"Authorization: Digest username=u{n}, realm=r, nonce=n, uri=u, response=r\r\n")
        frames += from_phone(sent, start=n * 1.0)
        frames += [(n + 0.5, frame(udp(EDGE, PHONE, answer(sent, status, extra=extra))))]
    return frames


STALE = 'WWW-Authenticate: Digest realm="r", nonce="n", stale=true\r\n'


@pytest.mark.parametrize(
    ("status", "extra", "verdicts"),
    [
        (401, "", {"pass": 10, "guess": 1, "banned": 2}),
        (404, "", {"pass": 10, "guess": 1, "banned": 2}),
        (401, STALE, {"pass": 13}),
        (200, "", {"pass": 13}),
    ],
)
def test_attempts_at_passwords_are_counted_by_the_captured_responses(
    status: int, extra: str, verdicts: dict[str, int]
) -> None:
    assert replay_frames(guesses(13, status, extra), make_replayer(REGISTERS)).verdicts == verdicts


def test_a_second_policy_with_fewer_attempts_uses_the_same_responses() -> None:
    strict = policy(f"{REGISTERS}\n[screen.guess]\ntries = 4")
    result = replay_frames(guesses(9, 401), Replayer(policy(REGISTERS), strict))
    assert result.verdicts == {"pass": 9}
    assert result.otherwise is not None
    pairs = {
        (difference["live"], difference["other"]): difference["count"] for difference in result.otherwise["differences"]
    }
    assert pairs == {("pass", "guess"): 1, ("pass", "banned"): 4}
    assert result.decisions == {"routed": 9}  # verdicts of the second policy are not in the sums of the first


def test_ringing_calls_are_those_that_ring_at_captured_destinations() -> None:
    calls = [message(call_id=f"c{n}", branch=f"c{n}") for n in range(6)]
    few = '[screen.admission]\nopen = ["public-udp"]\nringing = 4'
    frames = from_phone(*calls)
    for inside, verdicts in (("captured", {"pass": 4, "ringing": 2}), ("obliging", {"pass": 6})):
        result = replay_frames(frames, Replayer(policy(admission=few), inside=inside))
        assert result.verdicts == verdicts
    against = Replayer(policy(), policy(admission=few), inside="captured")
    otherwise = replay_frames(frames, against).otherwise
    assert otherwise is not None
    assert [
        (difference["live"], difference["other"], difference["count"]) for difference in otherwise["differences"]
    ] == [("pass", "ringing", 2)]


def test_what_cannot_be_read_counts_against_its_flow() -> None:
    noise = [b"no SIP at all\r\n\r\n"] * 14
    strict = policy("[screen.conduct]\npoints = 5")
    result = replay_frames(from_phone(*noise), Replayer(policy(), strict))
    assert result.verdicts == {"malformed": 11, "banned": 3}
    assert result.otherwise is not None
    pairs = {
        (difference["live"], difference["other"]): difference["count"] for difference in result.otherwise["differences"]
    }
    assert pairs == {("malformed", "banned"): 8}
    assert result.bans == 1


def test_saved_bans_are_not_used_and_exemptions_of_the_policy_are(tmp_path: Path) -> None:
    pipeline = Pipeline(policy().screen, Standings(), lambda decision: None, lambda stage, error: None)
    pipeline.operator_bans.put(OperatorBan(PHONE[0], False, 0.0, None, "admin", ""))
    write_file(tmp_path / bans.FILE, bans.as_json(pipeline, 0.0, 0.0))
    state = f'[edge]\nstate_dir = "{tmp_path}"\n'
    assert replay_frames(from_phone(message()), make_replayer(state)).verdicts == {"pass": 1}
    exempt = Replayer(policy(admission=f'[screen]\nexempt = ["{FLOODER[0]}"]\n{OPEN}'))
    assert replay_frames(flood(40), exempt).verdicts == {"pass": 30, "pike": 10}


# --- what goes in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [ETHERNET, RAW, COOKED, COOKED_2])
def test_every_link_type_gives_the_same(link: int) -> None:
    frames = [(0.1 * n, frame(udp(PHONE, EDGE, message(call_id=f"c{n}", branch=f"c{n}")), link)) for n in range(3)]
    assert replay_frames(frames, link=link).calls == {"answered": 3}


def test_packets_that_are_left_out_are_counted_by_reason() -> None:
    elsewhere = ("198.51.100.99", 5060)
    frames = [
        (0.0, frame(udp(PHONE, elsewhere, b"x"))),
        (0.1, frame(udp(EDGE, PHONE, b"x"))),
        (0.2, frame(udp(MEMBER, ("10.0.0.1", 5060), b"x"))),
        (0.3, frame(udp(("10.0.0.1", 5060), MEMBER, b"x"))),
        (0.4, frame(tcp(PHONE, ("192.0.2.1", 5061), 1, b"\x16\x03\x01"))),
        (0.5, frame(tcp(PHONE, ("192.0.2.1", 8080), 1, b"GET / HTTP/1.1"))),
        (0.6, frame(ip("192.0.2.9", "192.0.2.1", 1, bytes(8)))),
        (0.7, bytes(12) + b"\x08\x06" + bytes(28)),
        (0.8, frame(udp(PHONE, EDGE, message()))[:90]),
        (0.9, frame(tcp(PHONE, EDGE, 77, b"le of a message\r\n\r\n"))),
        (1.0, frame(udp(PHONE, EDGE, message()))),
    ]
    result = replay_frames(frames)
    assert result.left_out == {
        "of the inside, whose part the replay plays": 2,
        "to and from other addresses": 1,
        "of the edge that was captured": 1,
        "TLS, which cannot be read": 1,
        "WebSocket, which is not read": 1,
        "neither UDP nor TCP": 1,
        "not IP": 1,
        "cut by the capture's snap length": 1,
        "in the middle of a TCP connection that began before the capture": 1,
    }
    assert result.went_in == result.messages == 1
    assert result.calls == {"answered": 1}


def test_fragments_of_a_datagram_are_reassembled() -> None:
    body = udp_body(PHONE[1], EDGE[1], message(extra=f"Subject: {'x' * 3000}\r\n"))
    parts = [
        ip(PHONE[0], EDGE[0], UDP, body[at : at + 1480], fragment=(7, at, at + 1480 < len(body)))
        for at in range(0, len(body), 1480)
    ]
    lost = ip(PHONE[0], EDGE[0], UDP, body[:1480], fragment=(8, 0, True))
    frames = [(0.1 * n, frame(packet)) for n, packet in enumerate([parts[2], parts[0], lost, parts[1]])]
    result = replay_frames(frames)
    assert result.calls == {"answered": 1}
    assert result.notes == {
        "IP fragments that were not the last of their packet": 3,
        "IP packets of which fragments are missing": 1,
    }
    assert result.went_in == 1


def test_an_address_of_the_capture_can_be_mapped_to_a_listener() -> None:
    old = ("203.0.113.10", 5080)
    options = message("OPTIONS", uri="sip:203.0.113.10:5080")
    frames = [(0.0, frame(udp(PHONE, old, options)))]
    assert replay_frames(frames).left_out == {"to and from other addresses": 1}
    result = replay_frames(frames, make_replayer(to={Source(*old): "public-udp"}))
    assert result.verdicts == {"pass": 1}
    assert result.answers == {"2xx": 1}
    assert result.forwarded == {}  # the mapped address is the edge's own, so the edge answers itself


WILD = """
listen = [
  {{ name = "public-udp", zone = "public", transport = "udp", bind = "0.0.0.0:5060", advertise = "{}" }},
  {{ name = "inside", zone = "core", transport = "udp", bind = "10.0.0.1:5070" }},
]
trunk = [{{ name = "carrier", addresses = ["203.0.113.0/28"] }}]
[media]
address = {{ public = "192.0.2.99", core = "10.0.0.1" }}
[screen.admission]
open = ["public-udp"]
"""


def wild(frames: list[Timed], link: int = ETHERNET, advertise: str = "sip.example.com") -> ReplayResult:
    members = '[[destinations]]\nset = "pbx"\nmembers = [{ uri = "sip:10.0.0.11" }]'
    return replay_frames(frames, Replayer(parse_policy(WILD.format(advertise) + members, "wild.toml")), link)


def test_a_wildcard_listener_matches_its_port_and_its_advertised_address() -> None:
    options = message("OPTIONS", uri="sip:sip.example.com")
    result = wild([(0.0, frame(udp(PHONE, EDGE, options)))])
    assert (result.verdicts, result.forwarded) == ({"pass": 1}, {})


def test_the_edges_end_of_a_packet_is_found_by_the_policy_or_the_capture() -> None:
    peer, trunk = ("198.51.100.7", 5060), ("203.0.113.5", 5060)
    both = [udp(peer, EDGE, message(source=peer)), udp(EDGE, peer, b"SIP/2.0 100 Trying\r\n\r\n")]
    unclear = wild([(0.1 * n, frame(packet)) for n, packet in enumerate(both)])
    assert unclear.left_out == {"either end could be a listener on a wildcard: say which with --to": 2}
    for result in (
        wild([(0.1 * n, frame(packet)) for n, packet in enumerate(both)], advertise="192.0.2.1"),
        wild([(0.1 * n, frame(packet, COOKED, sent=n == 1)) for n, packet in enumerate(both)], COOKED),
    ):
        assert (result.calls, result.left_out) == ({"answered": 1}, {"of the edge that was captured": 1})
    listed = wild([(0.0, frame(udp(trunk, EDGE, message(source=trunk)))), (0.1, frame(udp(EDGE, trunk, b"x")))])
    assert (listed.calls, listed.left_out) == ({"answered": 1}, {"of the edge that was captured": 1})


def test_a_cooked_capture_on_loopback_has_every_packet_twice_and_one_copy_is_used() -> None:
    data = udp(PHONE, EDGE, message("OPTIONS"))
    result = replay_frames([(0.0, frame(data, COOKED, sent=True)), (0.0, frame(data, COOKED))], link=COOKED)
    assert result.verdicts == {"pass": 1}
    assert result.left_out == {"as their sender on the same machine saw them": 1}


# --- TCP -------------------------------------------------------------------------------------------------


def over_tcp(*messages: bytes, size: int = 100, start: int = 2**32 - 150) -> list[bytes]:
    """Packets of a connection: SYN, the bytes in segments, FIN."""
    data = b"".join(messages)
    packets = [tcp(PHONE, EDGE, start, flags=SYN)]
    packets += [tcp(PHONE, EDGE, start + 1 + at, data[at : at + size]) for at in range(0, len(data), size)]
    return [*packets, tcp(PHONE, EDGE, start + 1 + len(data), flags=FIN)]


def timed(packets: list[bytes], step: float = 0.01) -> list[Timed]:
    return [(n * step, frame(packet)) for n, packet in enumerate(packets)]


TCP_CALL = (
    message(transport="TCP"),
    message("ACK", branch="a", to_tag="x", transport="TCP"),
    message("BYE", "c1", 2, "b", "x", transport="TCP"),
)


@pytest.mark.parametrize("seed", range(5))
def test_a_stream_with_reordered_and_repeated_segments_is_reassembled(seed: int) -> None:
    packets = over_tcp(*TCP_CALL)
    middle = packets[1:-1] + packets[3:6]
    random.Random(seed).shuffle(middle)
    result = replay_frames(timed([packets[0], *middle, packets[-1]]))
    assert result.verdicts == {"pass": 4}  # the connection, and three messages
    assert (result.connections, result.messages) == (1, 3)
    assert (result.calls, result.calls_left) == ({"answered": 1}, 0)
    assert result.left_out == {}


def test_a_stream_can_be_joined_where_a_message_begins() -> None:
    result = replay_frames(timed(over_tcp(message(transport="TCP"), size=2000)[1:]))
    assert result.calls == {"answered": 1}


def test_a_stream_that_is_not_sip_is_closed_and_its_rest_left_out() -> None:
    packets = [tcp(PHONE, EDGE, 0, flags=SYN), tcp(PHONE, EDGE, 1, b"\rno"), tcp(PHONE, EDGE, 4, message())]
    result = replay_frames(timed(packets))
    assert result.verdicts == {"malformed": 1, "pass": 1}
    assert result.left_out == {"on a TCP connection that the edge would have closed": 1}


def test_a_segment_missing_in_the_capture_is_reported() -> None:
    packets = over_tcp(message(transport="TCP"), message("OPTIONS", "o", 1, "o", transport="TCP"))
    del packets[2]
    result = replay_frames(timed(packets))
    assert result.verdicts == {"pass": 1}
    assert result.notes == {"TCP segments behind a hole": len(packets) - 3}


def test_after_a_reset_the_same_ports_make_a_new_connection() -> None:
    first, second = (
        over_tcp(message(transport="TCP")),
        over_tcp(message(call_id="c2", branch="2", transport="TCP"), start=9),
    )
    result = replay_frames(timed([*first[:-1], tcp(PHONE, EDGE, 5, flags=RST), *second]))
    assert (result.connections, result.calls) == (2, {"answered": 2})


def test_segments_after_the_end_open_no_new_connection() -> None:
    packets = over_tcp(message(transport="TCP"), size=2000)
    result = replay_frames(timed([*packets, packets[1]]))
    assert result.connections == 1
    assert result.left_out == {"after the end of their TCP connection": 1}


def test_a_connection_of_a_denied_source_is_refused_at_once() -> None:
    result = replay_frames(
        timed(over_tcp(message(transport="TCP"), size=2000)), make_replayer('[screen.acl]\ndeny = ["198.51.100.0/24"]')
    )
    assert result.verdicts == {"acl-denied": 1}
    assert result.left_out == {"on a TCP connection that the edge would not have accepted": 1}
    assert result.connections == 0


# --- the whole of it -------------------------------------------------------------------------------------


def test_a_truncated_capture_is_replayed_up_to_its_end() -> None:
    data = pcap(call())
    result = make_replayer().play(Capture(io.BytesIO(data[:-10])), "cut.pcap")
    assert result.broken.startswith("packet 4: the file ends inside a packet")
    assert (result.packets, result.verdicts) == (3, {"pass": 2})


def test_an_empty_capture_has_an_empty_result() -> None:
    result = replay_frames([])
    assert (result.packets, result.messages, result.seconds, result.verdicts, result.broken) == (0, 0, 0.0, {}, "")


def test_the_same_capture_and_seed_give_the_same_and_another_seed_the_same_verdicts() -> None:
    frames = sorted(flood(100) + call("c1") + call("c2", 0.03), key=lambda timed: timed[0])
    first, second, other = (replay_frames(frames, make_replayer(seed=seed)) for seed in (1, 1, 2))
    assert first == second
    assert first.verdicts == other.verdicts
    assert Entropy(1)(16) == Entropy(1)(16) != Entropy(2)(16)
    assert 0.0 <= Entropy(3).random() < 1.0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(-5, 100),
            st.sampled_from(
                [frame(udp(PHONE, EDGE, message())), *[data for _, data in call()], *map(frame, over_tcp(*TCP_CALL))]
            ),
            st.integers(0, 400),
            st.binary(max_size=3),
        ),
        max_size=25,
    ),
    st.sampled_from(["obliging", "captured", "silent"]),
)
def test_every_packet_is_used_or_counted_as_left_out(
    frames: list[tuple[float, bytes, int, bytes]], inside: str
) -> None:
    """For any frames: no exception is raised, and every packet is in a sum."""
    spoiled = [(at, data[:place] + noise + data[place + len(noise) :]) for at, data, place, noise in frames]
    result = replay_frames(spoiled, make_replayer(inside=inside))
    assert result.packets == len(spoiled)
    parts = result.notes.get("IP fragments that were not the last of their packet", 0)
    assert result.went_in + sum(result.left_out.values()) + parts == result.packets
    assert sum(result.verdicts.values()) >= result.messages
