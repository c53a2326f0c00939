import attrs
import pytest
from support.media import CORE, PUBLIC, RecordedPorts, TableHarness, answer, offer, sdp

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.commands import Establish, MediaSilence, MediaTimeout, Refresh
from edgesbc.media.latch import NO_TARGET, build_interfaces
from edgesbc.media.session_table import SessionTable
from edgesbc.media.side_activity import OneWay

VIDEO = "m=video 4002 RTP/AVP 99\r\n"
CALLER, CALLEE = "198.51.100.1", "10.0.0.11"


def first_offer(**changes):
    return offer(**{"session_id": "c", "offerer": "a", "sdp": sdp(CALLER)} | changes)


def test_two_sides_with_one_tag_are_refused():
    """A tag says which side sent a description: a side with the other's tag could change the other's media."""
    harness = TableHarness()
    harness.refused(first_offer(answerer="a"), 488)
    harness.ok(first_offer())
    harness.refused(answer("c", "a", "a", sdp(CALLEE)), 488)
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    harness.refused(first_offer(offerer="b", answerer="b", zone=Zone.CORE), 488)


def test_a_call_from_offer_to_delete():
    harness = TableHarness()
    offered = harness.ok(first_offer())
    assert str(offered.connection) == f"IN IP4 {CORE}"
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE, 5000)))
    assert str(answered.connection) == f"IN IP4 {PUBLIC}"
    to_callee, to_caller = harness.facing(Zone.CORE, offered), harness.facing(Zone.PUBLIC, answered)
    assert to_callee.other is to_caller
    assert to_callee.rtp.send_to == Source(CALLEE, 5000)
    assert to_callee.rtcp.send_to == Source(CALLEE, 5001)
    assert to_caller.rtp.send_to == Source(CALLER, 4000)
    assert len(harness.ports.open_pairs) == 2
    harness.delete("c", "a")
    assert not harness.ports.open_pairs
    assert len(harness.table) == 0
    assert harness.table.deadline() is None


def test_a_proxy_inside_sends_a_call_out_again():
    """Phone, edge, proxy, edge, phone: the media of the two calls go from one port of the relay to another."""
    harness = TableHarness()
    inward = harness.ok(first_offer())
    outward = harness.ok(offer("d", "a", sdp(CORE, inward.media[0].port), Zone.CORE, received_from=CALLEE))
    back = harness.ok(answer("d", "a", "b", sdp("198.51.100.2", 6000)))
    harness.ok(answer("c", "a", "b", sdp(CORE, back.media[0].port), received_from=CALLEE))
    first, second = harness.facing(Zone.CORE, inward), harness.facing(Zone.CORE, back)
    assert first.rtp.send_to == Source(CORE, back.media[0].port)
    assert second.rtp.send_to == Source(CORE, inward.media[0].port)
    assert harness.facing(Zone.PUBLIC, outward).rtp.send_to == Source("198.51.100.2", 6000)


def test_an_offer_in_the_200_to_an_invite_without_a_description():
    harness = TableHarness()
    # the callee offers in its 200; the caller answers in the ACK
    offered = harness.ok(offer("c", "b", sdp(CALLEE, 5000), Zone.CORE, answerer="a"))
    assert str(offered.connection) == f"IN IP4 {PUBLIC}"
    answered = harness.ok(answer("c", "b", "a", sdp(CALLER)))
    assert str(answered.connection) == f"IN IP4 {CORE}"
    assert harness.facing(Zone.CORE, answered).rtp.send_to == Source(CALLEE, 5000)
    # the offer of another fork replaces that of the first, on the same ports
    second = harness.ok(offer("c", "b2", sdp("10.0.0.12", 6000), Zone.CORE, answerer="a"))
    assert second.media[0].port == offered.media[0].port
    assert harness.facing(Zone.CORE, answered).rtp.send_to == Source(CALLEE, 5000)
    harness.ok(answer("c", "b2", "a", sdp(CALLER)))
    assert harness.facing(Zone.CORE, answered).rtp.send_to == Source("10.0.0.12", 6000)
    assert len(harness.table) == 1


def test_failover_repeats_the_offer_on_the_same_ports_and_the_last_answer_applies():
    harness = TableHarness()
    offered = harness.ok(first_offer())
    early = harness.ok(answer("c", "a", "b1", sdp(CALLEE)))
    second = harness.ok(first_offer())
    assert second == offered
    final = harness.ok(answer("c", "a", "b2", sdp("10.0.0.12")))
    assert final.media[0].port == early.media[0].port
    assert harness.facing(Zone.CORE, offered).rtp.send_to == Source("10.0.0.12", 4000)
    assert len(harness.ports.open_pairs) == 2
    (session,) = harness.table.sessions()
    assert [side.tag for side in session.sides] == ["a", "b2"]


def test_reinvites_from_either_side_keep_the_ports_and_move_the_target():
    harness = TableHarness()
    offered = harness.ok(first_offer())
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    moved = harness.ok(first_offer(sdp=sdp("198.51.100.2"), answerer="b"))
    assert moved.media[0].port == offered.media[0].port
    assert harness.facing(Zone.PUBLIC, answered).rtp.send_to == Source(CALLER, 4000)
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    assert harness.facing(Zone.PUBLIC, answered).rtp.send_to == Source("198.51.100.2", 4000)
    back = harness.ok(offer("c", "b", sdp(CALLEE, 7000), Zone.CORE, answerer="a"))
    assert back.media[0].port == answered.media[0].port
    assert str(back.connection) == f"IN IP4 {PUBLIC}"
    assert harness.facing(Zone.CORE, offered).rtp.send_to == Source(CALLEE, 4000)
    reply = harness.ok(answer("c", "b", "a", sdp("198.51.100.3")))
    assert reply.media[0].port == offered.media[0].port
    assert harness.facing(Zone.CORE, offered).rtp.send_to == Source(CALLEE, 7000)
    assert harness.facing(Zone.PUBLIC, answered).rtp.send_to == Source("198.51.100.3", 4000)
    assert len(harness.ports.open_pairs) == 2


def test_another_caller_that_reuses_the_call_id_gets_its_own_session():
    harness = TableHarness()
    answered_before = harness.ok(first_offer()).media[0].port
    other = harness.ok(first_offer(offerer="x", sdp=sdp("198.51.100.66")))
    assert other.media[0].port != answered_before
    assert len(harness.table) == 2
    harness.delete("c", "x")
    assert len(harness.table) == 1
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    for n in range(limits.MEDIA_SESSIONS_PER_ID - 1):
        harness.ok(first_offer(offerer=f"x{n}"))
    harness.refused(first_offer(offerer="one too many"), 400)
    harness.delete("c", "b")
    assert len(harness.table) == limits.MEDIA_SESSIONS_PER_ID - 1
    harness.delete("c", "")
    harness.delete("c", "one too many")
    harness.delete("other", "x0")
    assert len(harness.table) == limits.MEDIA_SESSIONS_PER_ID - 1


def test_sections_come_go_and_are_rejected():
    harness = TableHarness()
    offered = harness.ok(first_offer(sdp=sdp(CALLER, more=VIDEO + "m=application 4004 UDP/BFCP *\r\n")))
    assert [bool(m.port) for m in offered.media] == [True, True, False]
    assert len(harness.ports.open_pairs) == 4
    described = sdp(CALLEE, more=VIDEO.replace("4002", "0") + "m=application 0 UDP/BFCP *\r\n")
    answered = harness.ok(answer("c", "a", "b", described))
    assert [bool(m.port) for m in answered.media] == [True, False, False]
    # the next destination may still take the video that the first one declined
    other = harness.ok(answer("c", "a", "b2", sdp(CALLEE, more=VIDEO + "m=application 4004 UDP/BFCP *\r\n")))
    assert [bool(m.port) for m in other.media] == [True, True, False]
    harness.ok(first_offer(answerer="b2", sdp=sdp(CALLER, more=VIDEO.replace("4002", "0"))))
    assert len(harness.ports.open_pairs) == 4  # the offer may be refused
    harness.ok(answer("c", "a", "b2", sdp(CALLEE, more=VIDEO.replace("4002", "0"))))
    assert len(harness.ports.open_pairs) == 2


def test_an_answer_to_nothing_and_an_answer_that_does_not_fit():
    harness = TableHarness()
    harness.refused(answer("c", "a", "b", sdp(CALLEE)), 481)
    harness.ok(first_offer())
    harness.refused(answer("c", "b", "a", sdp(CALLEE)), 481)
    harness.refused(answer("c", "a", "b", sdp(CALLEE, more=VIDEO)), 488)
    harness.refused(answer("other", "a", "b", sdp(CALLEE)), 481)


def test_rtcp_mux_is_honoured_when_both_sides_want_it():
    harness = TableHarness()
    mux = "a=rtcp-mux\r\na=rtcp:4000\r\n"
    offered = harness.ok(first_offer(sdp=sdp(CALLER, audio=mux)))
    assert offered.media[0].attribute("rtcp-mux")
    assert not offered.media[0].attribute("rtcp")
    declined = harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    assert not declined.media[0].attribute("rtcp-mux")
    # RTCP then goes to the next port
    assert harness.facing(Zone.PUBLIC, declined).rtcp.send_to == Source(CALLER, 4001)
    accepted = harness.ok(answer("c", "a", "b", sdp(CALLEE, audio="a=rtcp-mux\r\n")))
    assert accepted.media[0].attribute("rtcp-mux")
    harness.ok(first_offer(answerer="b"))
    unasked = harness.ok(answer("c", "a", "b", sdp(CALLEE, audio="a=rtcp-mux\r\n")))
    assert not unasked.media[0].attribute("rtcp-mux")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=rtcp:4444\r\n", Source(CALLER, 4444)),
        ("a=rtcp:4444 IN IP4 198.51.100.5\r\n", Source("198.51.100.5", 4444)),
        ("a=rtcp:4444 IN IP4 phone.example\r\n", Source(CALLER, 4444)),
        ("", Source(CALLER, 4001)),
    ],
)
def test_where_rtcp_goes(line, expected):
    harness = TableHarness()
    harness.ok(first_offer(sdp=sdp(CALLER, audio=line)))
    assert expected in [pair.rtcp.send_to for pair in harness.ports.open_pairs.values()]


def test_port_0_in_the_rtcp_attribute_means_none():
    harness = TableHarness()
    harness.ok(first_offer(sdp=sdp(CALLER, audio="a=rtcp:0\r\n")))
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    pair = harness.facing(Zone.PUBLIC, answered)
    assert (pair.rtp.send_to, pair.rtcp) == (Source(CALLER, 4000), NO_TARGET)


def test_the_address_of_rtcp_is_restricted_as_that_of_rtp():
    harness = TableHarness()
    harness.refused(first_offer(sdp=sdp(CALLER, audio="a=rtcp:4444 IN IP4 10.0.0.1\r\n")), 488)
    harness.refused(first_offer(sdp=sdp(CALLER, audio="a=rtcp:x\r\n")), 400)
    harness.refused(first_offer(sdp=sdp(CALLER, audio="a=rtcp:80\r\n")), 488)


@pytest.mark.parametrize(
    "body",
    [
        sdp("0.0.0.0", 4000, audio="a=rtcp:4001 IN IP4 127.0.0.1\r\n"),
        sdp(CALLER).replace("c=IN IP4 198.51.100.1", "c=IN IP4 0.0.0.0"),
    ],
)
def test_a_port_on_hold_by_an_unspecified_address_has_no_target(body):
    harness = TableHarness()
    harness.ok(first_offer())
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    description = harness.ok(first_offer(sdp=body, answerer="b"))
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    assert description.connection_of(description.media[0]).unspecified
    assert harness.facing(Zone.PUBLIC, answered).rtp == NO_TARGET
    assert harness.facing(Zone.PUBLIC, answered).rtcp == NO_TARGET


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (first_offer(sdp=""), 400),
        (first_offer(sdp="nonsense"), 400),
        (first_offer(session_id="x" * (limits.MEDIA_NAME_BYTES + 1)), 400),
        (first_offer(session_id="\xe9" * (limits.MEDIA_NAME_BYTES // 2 + 1)), 400),
        (first_offer(offerer="x" * (limits.MEDIA_NAME_BYTES + 1)), 400),
        (first_offer(answerer="x" * (limits.MEDIA_NAME_BYTES + 1)), 400),
        (first_offer(offerer=""), 400),
        (answer("c", "", "b", sdp(CALLEE)), 400),
        (first_offer(sdp=sdp("192.168.1.1"), received_from="no address"), 488),
        (first_offer(sdp=sdp(CALLER, 0)), 488),
        (first_offer(sdp=sdp(CALLER).replace("c=IN IP4", "b=IN IP4")), 400),
        (first_offer(sdp=sdp(CALLER).replace("RTP/AVP", "UDP/TLS/RTP/SAVPF")), 488),
        (first_offer(sdp=sdp("127.0.0.1")), 488),
        (answer("c", "a", "b", sdp(CALLEE)), 481),
    ],
)
def test_a_refused_command_leaves_nothing(command, status):
    TableHarness().refused(command, status)


def test_an_answer_whose_sender_has_no_tag_is_refused():
    harness = TableHarness()
    harness.ok(first_offer())
    harness.refused(answer("c", "a", "", sdp(CALLEE)), 400)


def test_the_longest_identifiers_are_accepted():
    harness = TableHarness()
    longest = limits.MEDIA_NAME_BYTES
    harness.ok(first_offer(session_id="c" * longest, offerer="a" * longest))
    harness.ok(answer("c" * longest, "a" * longest, "b" * longest, sdp(CALLEE)))


def test_each_zone_has_an_interface():
    interfaces = build_interfaces({Zone.PUBLIC: PUBLIC}, (30000, 39999))
    with pytest.raises(ValueError, match="core"):
        SessionTable(RecordedPorts(), interfaces)


def test_when_ports_run_out_nothing_is_left_half_open():
    harness = TableHarness(last=30003)  # two pairs on each interface
    harness.refused(first_offer(sdp=sdp(CALLER, more=VIDEO * 2)), 503)
    assert not harness.ports.open_pairs


def test_a_refused_reinvite_leaves_the_session_as_it_was():
    harness = TableHarness(last=30003)
    offered = harness.ok(first_offer())
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    harness.refused(first_offer(answerer="b", sdp=sdp("198.51.100.9", more=VIDEO * 2)), 503)
    harness.refused(first_offer(answerer="b", sdp=sdp("127.0.0.1")), 488)
    assert harness.facing(Zone.PUBLIC, answered).rtp.send_to == Source(CALLER, 4000)
    assert harness.facing(Zone.CORE, offered).rtp.send_to == Source(CALLEE, 4000)


def test_the_table_is_bounded():
    harness = TableHarness(max_sessions=3)
    for n in range(3):
        harness.ok(first_offer(session_id=f"c{n}"))
    harness.refused(first_offer(session_id="c4"), 503)
    harness.ok(first_offer(session_id="c1"))


def run_until(harness, start, end):
    """Expire the table at each of its deadlines; returns (time, event) pairs."""
    events = []
    while (deadline := harness.table.deadline()) is not None and deadline <= end:
        events += [(deadline, event) for event in harness.table.expire(max(start, deadline))]
    return events


def test_a_silent_session_ends_with_an_event():
    harness = TableHarness(media_timeout=60.0)
    harness.ok(first_offer())
    harness.ok(answer("c", "a", "b", sdp(CALLEE)), 10.0)
    harness.table.receive(Establish("c", "a"), 10.0)
    assert run_until(harness, 10.0, 69.0) == []
    ((when, event),) = run_until(harness, 69.0, 1000.0)
    assert event == MediaTimeout("c", ("a", "b"))
    assert when == 70.0
    assert not harness.ports.open_pairs
    assert len(harness.table) == 0


def test_packets_keep_a_session_alive():
    harness = TableHarness(media_timeout=60.0)
    offered = harness.ok(first_offer())
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    harness.table.receive(Establish("c", "a"), 0.0)
    for now in range(0, 600, 10):
        harness.facing(Zone.CORE, offered).packets += 1
        assert run_until(harness, float(now), float(now)) == []
    events = run_until(harness, 600.0, 2000.0)
    assert len(events) == 1
    assert 650.0 <= events[0][0] <= 590.0 + 75.0


@pytest.mark.parametrize("direction", ["sendonly", "recvonly", "inactive"])
def test_a_session_on_hold_ends_without_packets_and_refreshes(direction):
    harness = on_hold(direction)
    assert run_until(harness, 0.0, 599.0) == []
    ((ended, _),) = run_until(harness, 0.0, 2000.0)
    assert 600.0 <= ended <= 600.0 + 15.0


@pytest.mark.parametrize("keeps", ["a packet", "a refresh", "a description"])
def test_what_keeps_a_session_on_hold(keeps):
    harness = on_hold("inactive")
    for now in range(500, 4000, 500):
        if keeps == "a packet":
            next(iter(harness.ports.open_pairs.values())).packets += 1
        elif keeps == "a refresh":
            assert harness.table.receive(Refresh("c", "b"), float(now)) is None
        else:
            harness.ok(first_offer(sdp=sdp(CALLER, audio="a=inactive\r\n"), answerer="b"), float(now))
        assert run_until(harness, float(now), now + 499.0) == []


def test_a_session_on_hold_with_refreshes_lives_as_long_as_the_longest_call():
    harness = on_hold("inactive", limits.CALL_SECONDS)
    assert run_until(harness, 0.0, limits.CALL_SECONDS - 1.0) == []
    harness.table.receive(Refresh("c", "a"), limits.CALL_SECONDS - 1.0)
    assert len(run_until(harness, limits.CALL_SECONDS - 1.0, limits.CALL_SECONDS + 2.0 * limits.RING_SECONDS)) == 1


def on_hold(direction, hold_timeout=600.0):
    harness = TableHarness(media_timeout=60.0, hold_timeout=hold_timeout)
    harness.ok(first_offer())
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    harness.ok(first_offer(sdp=sdp(CALLER, audio=f"a={direction}\r\n"), answerer="b"))
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    harness.table.receive(Establish("c", "a"), 0.0)
    return harness


# --- a side that falls silent ----------------------------------------------------------------------------


class Talk:
    """An established call whose sides send what the test says, each ten seconds."""

    def __init__(self, one_way=OneWay.END, audio="", established=True):
        self.harness = TableHarness(media_timeout=60.0, one_way=one_way, one_way_timeout=600.0)
        offered = self.harness.ok(first_offer(sdp=sdp(CALLER, audio=audio)))
        answered = self.harness.ok(answer("c", "a", "b", sdp(CALLEE)))
        self.callee = self.harness.facing(Zone.CORE, offered)
        self.caller = self.harness.facing(Zone.PUBLIC, answered)
        self.now = 0.0
        if established:
            self.harness.table.receive(Establish("c", "a"), 0.0)

    def go_on(self, seconds, *sides, rtcp=()):
        """``sides`` send RTP for so long, those in ``rtcp`` RTCP."""
        events = []
        for _ in range(int(seconds // 10)):
            self.now += 10.0
            for side in sides:
                side.packets += 500
            for side in rtcp:
                side.packets += 2
                side.rtcp_packets += 2
            events += [event for _, event in run_until(self.harness, self.now, self.now)]
        return events


@pytest.mark.parametrize(("silent", "tag"), [("caller", "a"), ("callee", "b")])
def test_a_call_with_one_dead_side_ends_although_the_other_sends(silent, tag):
    talk = Talk()
    other = talk.callee if silent == "caller" else talk.caller
    assert talk.go_on(300, talk.caller, talk.callee) == []
    assert talk.go_on(50, other) == [MediaSilence("c", tag, "packets", 30.0)], "it is told before the call ends"
    (event,) = talk.go_on(40, other)
    assert event == MediaTimeout("c", ("a", "b"), (MediaSilence("c", tag, "packets", 60.0),))
    assert len(talk.harness.table) == 0


@pytest.mark.parametrize(("silent", "tag"), [("caller", "a"), ("callee", "b")])
def test_a_side_that_sends_rtcp_alone_ends_the_call_after_ten_minutes(silent, tag):
    talk = Talk()
    other, dead = (talk.callee, talk.caller) if silent == "caller" else (talk.caller, talk.callee)
    assert talk.go_on(590, other, rtcp=(dead,)) == [MediaSilence("c", tag, "RTP", 300.0)]
    (event,) = talk.go_on(40, other, rtcp=(dead,))
    assert event.silent == (MediaSilence("c", tag, "RTP", 600.0),)


@pytest.mark.parametrize("changes", ["caller", "callee"])
def test_a_fax_that_receives_may_be_silent(changes):
    """It sends nothing while a page comes, for which only the error correction of T.30 is a bound."""
    talk = Talk()
    fax = "m=image {} udptl t38\r\n"
    offerer, tags = ("a", ("b",)) if changes == "caller" else ("b", ("a",))
    hosts = (CALLER, CALLEE) if changes == "caller" else (CALLEE, CALLER)
    zone = Zone.PUBLIC if changes == "caller" else Zone.CORE
    described = [sdp(host).replace("m=audio 4000 RTP/AVP 0 8\r\n", fax.format(4000)) for host in hosts]
    talk.harness.ok(offer("c", offerer, described[0], zone, answerer=tags[0]))
    talk.harness.ok(answer("c", offerer, tags[0], described[1]))
    assert talk.go_on(900, talk.caller) == []
    (event,) = talk.go_on(90)
    assert event == MediaTimeout("c", ("a", "b"), ())


def test_an_echo_that_answers_with_rtcp_on_both_sides_ends_too():
    talk = Talk()
    (event,) = talk.go_on(640, rtcp=(talk.caller, talk.callee))
    assert [silence.missing for silence in event.silent] == ["RTP", "RTP"]


def test_a_side_that_is_heard_again_is_told_again_when_it_falls_silent_again():
    talk = Talk()
    for _ in range(3):
        assert talk.go_on(50, talk.caller) == [MediaSilence("c", "b", "packets", 30.0)]
        assert talk.go_on(50, talk.caller, talk.callee) == []
    assert len(talk.harness.table) == 1


def test_where_both_sides_fall_silent_neither_is_told_before_the_end():
    talk = Talk()
    assert talk.go_on(50) == []
    (event,) = talk.go_on(40)
    assert isinstance(event, MediaTimeout)


def test_a_policy_may_only_tell():
    talk = Talk(OneWay.TELL)
    assert talk.go_on(90, talk.caller) == [MediaSilence("c", "b", "packets", 60.0)]
    assert talk.go_on(3000, talk.caller) == []
    assert talk.go_on(30, talk.caller, talk.callee) == []
    assert talk.go_on(90, talk.caller) == [MediaSilence("c", "b", "packets", 60.0)]
    assert len(talk.harness.table) == 1


def test_a_policy_may_let_one_side_be_silent():
    talk = Talk(OneWay.OFF)
    assert talk.go_on(5000, talk.caller) == []


@pytest.mark.parametrize("direction", ["sendonly", "recvonly", "inactive"])
def test_on_hold_nobody_has_to_send(direction):
    talk = Talk(audio=f"a={direction}\r\n")
    assert talk.go_on(1500, talk.caller) == []


def test_before_the_answer_nobody_has_to_send():
    """Ringing with a description may be heard from the caller's own phone; the ports are there when it is answered."""
    talk = Talk(established=False)
    assert talk.go_on(150) == []
    talk.harness.table.receive(Establish("c", "a"), talk.now)
    told = [MediaSilence("c", "b", "packets", 30.0)]
    assert talk.go_on(50, talk.caller) == told
    assert len(talk.go_on(40, talk.caller)) == 1


def test_after_a_new_description_both_sides_have_their_time_again():
    talk = Talk()
    assert talk.go_on(50, talk.caller) == [MediaSilence("c", "b", "packets", 30.0)]
    talk.harness.ok(first_offer(answerer="b"), talk.now)
    talk.harness.ok(answer("c", "a", "b", sdp(CALLEE)), talk.now)
    assert talk.go_on(50, talk.caller) == []
    assert len(talk.go_on(40, talk.caller)) == 1


def test_a_public_call_has_a_bound_of_sections():
    many = "m=audio 4100 RTP/AVP 0\r\n" * (limits.SDP_MEDIA - 1)
    harness = TableHarness()
    offered = harness.ok(first_offer(sdp=sdp(CALLER, more=many)))
    assert sum(media.port != 0 for media in offered.media) == limits.MEDIA_SECTIONS
    assert len(offered.media) == limits.SDP_MEDIA
    assert len(harness.ports.open_pairs) == 2 * limits.MEDIA_SECTIONS
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE, more=many)))
    assert sum(media.port != 0 for media in answered.media) == limits.MEDIA_SECTIONS


@pytest.mark.parametrize("bound", ["ports", "descriptors"])
def test_a_part_of_the_ports_is_kept_for_trunks_and_the_private_side(bound):
    harness = TableHarness(max_streams=20 if bound == "descriptors" else None)
    harness.table._reserve.unreserved = 18 if bound == "ports" else harness.table._reserve.unreserved
    for n in range(18):
        harness.ok(first_offer(session_id=str(n), reserved=False))
    harness.refused(first_offer(session_id="x", reserved=False), 503)
    for n in range(2):
        harness.ok(first_offer(session_id=f"trunk-{n}"))
    harness.ok(first_offer(session_id="3", reserved=False))  # what a call has, it keeps
    more = sdp(CALLER, more=VIDEO)
    harness.refused(first_offer(session_id="3", sdp=more, reserved=False), 503)
    for n in range(3):
        harness.delete(str(n), "a")
    harness.ok(first_offer(session_id="x", reserved=False))


def test_the_reserve_is_a_part_of_the_range():
    table = TableHarness().table
    assert table._reserve.unreserved == 5_000 - int(5_000 * limits.MEDIA_RESERVED_SHARE)
    same = SessionTable(RecordedPorts(), build_interfaces(dict.fromkeys(Zone, PUBLIC), (30000, 39999)))
    assert same._reserve.unreserved == 2_500 - int(2_500 * limits.MEDIA_RESERVED_SHARE)


def test_a_session_without_an_answer_lives_as_long_as_a_call_may_ring():
    harness = TableHarness(media_timeout=60.0)
    harness.ok(first_offer())
    assert run_until(harness, 0.0, float(limits.RING_SECONDS)) == []
    assert len(run_until(harness, 0.0, 2.0 * limits.RING_SECONDS)) == 1


def test_twice_as_many_calls_fit_the_descriptors_where_rtcp_shares_the_rtp_port():
    harness = TableHarness(max_streams=20)
    mux = "a=rtcp-mux\r\n"
    for n in range(35):
        harness.ok(first_offer(session_id=str(n), sdp=sdp(CALLER, audio=mux), reserved=False))
        harness.ok(answer(str(n), "a", "b", sdp(CALLEE, audio=mux)))
    harness.refused(first_offer(session_id="x", reserved=False), 503)  # its answer may need ports for RTCP
    for n in range(35):
        harness.delete(str(n), "a")
    assert harness.table._reserve._sockets == 0


def reopened(harness, *descriptions):
    """How often the peers of the ports have been learned again, by the descriptions that name them."""
    return [harness.facing(zone, description).reopened for zone, description in zip(Zone, descriptions, strict=True)]


def test_the_peers_of_a_session_are_learned_again_when_another_offer_is_answered():
    harness = TableHarness()
    offered = harness.ok(first_offer())
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE), final=False))
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    assert reopened(harness, answered, offered) == [0, 0], "it is the first exchange, and its answer is repeated"
    harness.ok(first_offer(answerer="b"))
    assert reopened(harness, answered, offered) == [0, 0], "it has no answer"
    harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    assert reopened(harness, answered, offered) == [1, 1]
    harness.ok(offer("c", "b", sdp(CALLEE), Zone.CORE, answerer="a"))
    harness.ok(answer("c", "b", "a", sdp(CALLER), final=False))
    assert reopened(harness, answered, offered) == [1, 1], "the answer may not stay"
    harness.ok(answer("c", "b", "a", sdp(CALLER)))
    assert reopened(harness, answered, offered) == [2, 2]


@pytest.mark.parametrize("mode", LatchMode)
def test_each_side_has_its_mode(mode):
    harness = TableHarness()
    offered = harness.ok(attrs.evolve(first_offer(), latch=mode))
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE)))
    to_caller, to_callee = harness.facing(Zone.PUBLIC, answered), harness.facing(Zone.CORE, offered)
    assert (to_caller.rtp.latch, to_caller.rtcp.latch) == (mode, mode)
    assert (to_callee.rtp.latch, to_callee.rtcp.latch) == (LatchMode.STRICT, LatchMode.STRICT)
    harness.ok(first_offer(answerer="b"))
    harness.ok(attrs.evolve(answer("c", "a", "b", sdp(CALLEE)), latch=mode))
    assert (to_caller.rtp.latch, to_callee.rtp.latch) == (LatchMode.STRICT, mode)


BFCP = "m=application 5070 UDP/BFCP *\r\na=floorctrl:c-s\r\na=setup:actpass\r\na=fingerprint:SHA-1 00\r\n"


@pytest.mark.parametrize("profiles", [(), ("udp/bfcp",), ("UDP",)])
def test_sections_of_named_profiles_are_relayed_and_of_others_rejected(profiles):
    harness = TableHarness(opaque_profiles=profiles)
    offered = harness.ok(first_offer(sdp=sdp(CALLER, more=BFCP + "m=message 2855 TCP/MSRP *\r\n")))
    audio, bfcp, msrp = offered.media
    assert (bool(audio.port), msrp.port) == (True, 0)
    if profiles != ("udp/bfcp",):
        assert bfcp.port == 0
        return
    assert [str(attribute.name) for attribute in bfcp.attributes] == ["floorctrl"]
    pair = harness.facing(Zone.CORE, offered, 1)
    described = sdp(CALLEE, more=BFCP.replace("5070", "6070") + "m=message 0 TCP/MSRP *\r\n")
    answered = harness.ok(answer("c", "a", "b", described))
    assert [bool(media.port) for media in answered.media] == [True, True, False]
    assert (pair.rtp.send_to, pair.rtp.opaque, pair.rtcp) == (Source(CALLEE, 6070), True, NO_TARGET)


def test_a_section_alone_of_a_named_profile_makes_a_call_and_its_family_counts():
    both = {Zone.PUBLIC: [PUBLIC, "2001:db8::10"], Zone.CORE: [CORE]}
    harness = TableHarness(addresses=both, opaque_profiles=["UDP/BFCP"])
    alone = sdp("2001:db8:1::7", more=BFCP).replace("m=audio 4000", "m=audio 0")
    offered = harness.ok(first_offer(sdp=alone, received_from="2001:db8:1::7"))
    assert [bool(media.port) for media in offered.media] == [False, True]
    answered = harness.ok(answer("c", "a", "b", sdp(CALLEE, more=BFCP).replace("m=audio 4000", "m=audio 0")))
    assert answered.connection.address == "2001:db8::10"
