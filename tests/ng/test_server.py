"""Commands of SIP proxies, carried out by a table of media sessions without sockets."""

import pytest
from support.media import sdp
from support.ng import CLIENT, NgHarness

from edgesbc.base import limits
from edgesbc.base.address import Source
from edgesbc.base.latch_mode import LatchMode
from edgesbc.media.commands import MediaTimeout
from edgesbc.ng.bencode import encode
from edgesbc.ng.messages import frame, parse_frame

CALLER, CALLEE = "198.51.100.1", "10.0.0.11"
PUB, PRIV = "203.0.113.10", "10.0.0.1"


@pytest.fixture
def harness():
    return NgHarness()


def set_up(harness, **keys):
    """A call from the public to the private side."""
    offered = harness.described("offer", sdp(CALLER), direction=["pub", "priv"], **keys)
    return offered, harness.described("answer", sdp(CALLEE, 5000), to_tag="b", **keys)


def at(harness, description):
    """The pair that the receiver of a description sends to."""
    host, port = description.connection.address, description.media[0].port
    return next(
        pair for pair in harness.ports.open_pairs.values() if (pair.interface.advertise, pair.port) == (host, port)
    )


def test_ping(harness):
    assert harness.ask("ping") == {"result": "pong"}


def test_a_call_between_two_networks(harness):
    offered, answered = set_up(harness)
    assert str(offered.connection) == f"IN IP4 {PRIV}"
    assert str(answered.connection) == f"IN IP4 {PUB}"
    facing_callee = at(harness, offered)
    assert facing_callee.rtp.send_to == Source(CALLEE, 5000)
    assert at(harness, answered) is facing_callee.other
    assert facing_callee.other.rtp.send_to == Source(CALLER, 4000)
    reply = harness.ask("delete", call_id="c", from_tag="a")
    assert reply["result"] == "ok"
    assert set(reply["tags"]) == {"a", "b"}
    assert harness.state() == ([], [], 0)


def test_a_side_that_sends_from_another_port_gets_its_media_at_the_signalled_one(harness):
    offered = harness.described("offer", sdp(CALLER), direction=["pub", "priv"], flags=["asymmetric"])
    harness.described("answer", sdp(CALLEE, 5000), to_tag="b")
    facing_callee = at(harness, offered)
    modes = LatchMode.STRICT, LatchMode.SYMMETRIC_OFF
    assert (facing_callee.rtp.latch, facing_callee.other.rtp.latch) == modes
    harness.described("offer", sdp(CALLER), to_tag="b")
    harness.described("answer", sdp(CALLEE, 5000), to_tag="b", flags=["asymmetric"])
    assert (facing_callee.rtp.latch, facing_callee.other.rtp.latch) == modes[::-1]


def test_without_a_direction_both_sides_have_the_first_interface():
    harness = NgHarness("203.0.113.10", private=())
    offered = harness.described("offer", sdp(CALLER))
    answered = harness.described("answer", sdp("198.51.100.2"), to_tag="b")
    assert offered.connection == answered.connection
    assert offered.media[0].port != answered.media[0].port
    assert at(harness, offered).other.port == answered.media[0].port


def test_later_offers_keep_the_interfaces_of_their_tags(harness):
    offered, answered = set_up(harness)
    again = harness.described("offer", sdp(CALLEE, 6000), from_tag="b", to_tag="a")
    assert str(again.connection) == f"IN IP4 {PUB}"
    assert again.media[0].port == answered.media[0].port
    back = harness.described("answer", sdp(CALLER, 4100), from_tag="b", to_tag="a")
    assert str(back.connection) == f"IN IP4 {PRIV}"
    assert at(harness, back).rtp.send_to == Source(CALLEE, 6000)
    assert offered.media[0].port == back.media[0].port


def test_an_offer_that_is_never_answered_changes_no_media(harness):
    """A re-INVITE that is refused: proxies send nothing for it, so that the offer must not take effect."""
    offered, _ = set_up(harness)
    harness.described("offer", sdp(CALLER, 9000), to_tag="b")
    assert at(harness, offered).other.rtp.send_to == Source(CALLER, 4000)
    harness.described("offer", sdp(CALLEE, 7000), from_tag="b", to_tag="a")
    harness.described("answer", sdp(CALLER, 4200), from_tag="b", to_tag="a")
    assert at(harness, offered).rtp.send_to == Source(CALLEE, 7000)
    assert at(harness, offered).other.rtp.send_to == Source(CALLER, 4200)


def test_an_offer_in_the_200_to_an_invite_without_a_description(harness):
    offered = harness.described("offer", sdp(CALLEE), from_tag="b", to_tag="a", direction=["priv", "pub"])
    assert str(offered.connection) == f"IN IP4 {PUB}"
    answered = harness.described("answer", sdp(CALLER), from_tag="b", to_tag="a")
    assert str(answered.connection) == f"IN IP4 {PRIV}"


def test_the_last_fork_to_answer_gets_the_media(harness):
    offered, _ = set_up(harness)
    harness.described("answer", sdp("10.0.0.12", 5200), to_tag="b2")
    assert at(harness, offered).rtp.send_to == Source("10.0.0.12", 5200)
    assert set(harness.ask("query", call_id="c")["tags"]) == {"a", "b2"}


def test_branches_have_ports_of_their_own_until_one_is_answered(harness):
    ports = []
    for branch in ("z1", "z2"):
        offered = harness.described("offer", sdp(CALLER), via_branch=branch, direction=["pub", "priv"])
        ports.append(offered)
    assert ports[0].media[0].port != ports[1].media[0].port
    harness.described("answer", sdp("10.0.0.12", 5200), to_tag="b2", via_branch="z2")
    assert at(harness, ports[1]).rtp.send_to == Source("10.0.0.12", 5200)
    harness.ask("delete", call_id="c", from_tag="a", via_branch="z1")
    assert len(harness.ports.open_pairs) == 2
    # It comes again, when the other branch has the call.
    assert "warning" in harness.ask("delete", call_id="c", from_tag="a", via_branch="z1")
    # Later requests have other branches: the tags name the dialog.
    again = harness.described("offer", sdp(CALLER, 4400), to_tag="b2", via_branch="z9")
    assert again.media[0].port == ports[1].media[0].port
    harness.ask("delete", call_id="c", from_tag="b2", to_tag="a", via_branch="z10")
    assert harness.state() == ([], [], 0)


def test_a_call_has_no_more_branches_than_a_proxy_forks_to(harness):
    for number in range(limits.NG_DIALOGS_PER_CALL):
        harness.described("offer", sdp(CALLER), via_branch=f"z{number}", direction=["pub", "priv"])
    assert "branches" in harness.reason("offer", sdp=sdp(CALLER), via_branch="more", direction=["pub", "priv"])
    harness.ask("delete", call_id="c", from_tag="a")
    assert harness.state() == ([], [], 0)


def test_a_command_that_comes_again_is_carried_out_once(harness):
    data = frame(b"7_1", {"command": "offer", "call-id": "c", "from-tag": "a", "sdp": sdp(CALLER)})
    first = harness.server.receive(data, CLIENT, 0.0)
    harness.described("answer", sdp("198.51.100.2"), to_tag="b")
    commands = len(harness.media.commands)
    assert harness.server.receive(data, CLIENT, 5.0) == first
    assert len(harness.media.commands) == commands
    assert harness.server.counts["any", "again"] == 1
    # Another client may count its commands the same way.
    harness.server.receive(data, "192.0.2.10:5000", 5.0)
    assert len(harness.media.commands) == commands + 1


@pytest.mark.parametrize("data", [b"", b"junk", b"\x80\x00" * 80, b"x" * 300, b" d7:commande"])
def test_junk_gets_a_counter_and_no_reply(harness, data):
    assert harness.server.receive(data, CLIENT, 0.0) is None
    assert harness.server.counts["any", "junk"] == 1


@pytest.mark.parametrize("rest", [b"", b"d", b"i5e", b"d7:command4:ping", b"OPTIONS sip:x SIP/2.0", b"d7:commandi1ee"])
def test_what_is_no_command_gets_an_error(harness, rest):
    reply = harness.server.receive(b"1_1 " + rest, CLIENT, 0.0)
    assert parse_frame(reply)[1]["result"] == "error"


@pytest.mark.parametrize("name", ["start recording", "play media", "block DTMF", "subscribe request", "x" * 500])
def test_an_unknown_command_is_refused_and_counted_under_one_name(harness, name):
    assert harness.reason(name) == "Unrecognized command"
    assert harness.server.counts["other", "error"] == 1


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"sdp": ""}, "v=0"), ({"sdp": "v=0\r\nm=audio"}, ""), ({"sdp": sdp("0.0.0.1")}, "address"),
        ({"sdp": sdp("127.0.0.1")}, "loopback"), ({"sdp": sdp(PRIV)}, "inside"), ({"sdp": sdp(PUB, 31000)}, "itself"),
        ({"sdp": sdp(CALLER), "from_tag": ""}, "from-tag"), ({"sdp": sdp(CALLER), "call_id": ""}, "call-id"),
        ({"sdp": sdp(CALLER), "direction": ["pub", "dmz"]}, "no interface 'dmz'; there are pub, priv"),
        ({"sdp": sdp(CALLER), "direction": ["pub", "priv"], "address_family": "IP6"}, "priv has no address of IP6"),
        ({"sdp": sdp("2001:db8::7"), "direction": ["priv", "pub"]}, "IPv4"),
        ({"sdp": sdp(CALLER), "ICE": "force"}, "ICE"), ({"sdp": sdp(CALLER), "to_tag": "a"}, "same tag"),
        ({"sdp": sdp(CALLER), "transport_protocol": "RTP/SAVP"}, "RTP/SAVP"),
        ({"sdp": "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n"
                 "m=application 5000 UDP/DTLS/SCTP webrtc-datachannel\r\n"}, "relayed"),
    ],
)  # fmt: skip
def test_an_offer_that_is_refused_leaves_nothing(harness, keys, word):
    assert word in harness.reason("offer", **keys)
    set_up(harness)
    if "from_tag" not in keys and "call_id" not in keys:
        harness.reason("offer", **{"to_tag": "b"} | keys)


def test_a_refused_answer_changes_nothing(harness):
    assert harness.reason("answer", to_tag="b", sdp=sdp(CALLEE)) == "Unknown call-id"
    set_up(harness)
    assert "to-tag" in harness.reason("answer", sdp=sdp(CALLEE))
    harness.described("offer", sdp(CALLER, 4800), to_tag="b")
    assert "sections" in harness.reason("answer", to_tag="b", sdp=sdp(CALLEE, more="m=audio 4 RTP/AVP 0\r\n"))
    harness.described("answer", sdp(CALLEE, 5800), to_tag="b")


def test_an_answer_that_is_repeated_after_the_end_of_the_call_shows_no_address_of_the_inside(harness):
    """The BYE has overtaken the ACK, and the callee repeats its 2xx: after an error, proxies pass it on as it is."""
    _, answered = set_up(harness)
    harness.ask("delete", call_id="c", from_tag="a")
    assert harness.described("answer", sdp(CALLEE, 5000), to_tag="b") == answered
    assert harness.state() == ([], [], 0)
    assert harness.reason("answer", to_tag="b", sdp=sdp(CALLEE, 5002)) == "Unknown call-id"
    assert harness.reason("answer", to_tag="c", sdp=sdp(CALLEE, 5000)) == "Unknown call-id"
    harness.now = limits.ENDED_CALL_SECONDS + 1
    assert harness.reason("answer", to_tag="b", sdp=sdp(CALLEE, 5000)) == "Unknown call-id"


def test_a_full_table_and_a_range_without_ports_send_the_proxy_to_the_next_media_plane():
    harness = NgHarness(last=30003, max_sessions=1)
    set_up(harness)
    second = {"call_id": "d", "sdp": sdp(CALLER), "direction": ["pub", "priv"]}
    assert harness.reason("offer", **second) == "Parallel session limit reached"
    reply = harness.ask("offer", from_tag="a", supports=["load limit"], **second)
    assert reply == {"result": "load limit", "message": "Parallel session limit reached"}
    harness = NgHarness(last=30003)
    set_up(harness)
    harness.described("offer", sdp(CALLER), call_id="e", direction=["pub", "priv"])
    assert harness.reason("offer", **second) == "Ran out of ports"


def test_a_delete_of_an_unknown_call(harness):
    reply = harness.ask("delete", call_id="c", from_tag="a")
    assert reply["result"] == "ok"
    assert "warning" in reply
    assert "not found" in harness.reason("delete", flags=["fatal"])
    set_up(harness)
    assert "warning" in harness.ask("delete", call_id="c", from_tag="stranger")
    assert len(harness.server) == 1


def test_a_delayed_delete_ends_the_session_later_and_an_offer_takes_it_back(harness):
    set_up(harness)
    harness.ask("delete", call_id="c", from_tag="a", delete_delay=30)
    harness.server.expire(29.0)
    assert len(harness.server) == 1
    assert harness.server.deadline() is not None
    harness.described("offer", sdp(CALLER, 4900), to_tag="b")
    harness.server.expire(60.0)
    assert len(harness.server) == 1
    harness.now = 60.0
    harness.ask("delete", call_id="c", from_tag="b", delete_delay=5)
    harness.server.expire(66.0)
    assert harness.state() == ([], [], 0)
    assert harness.server.deadline() is None


def test_a_session_that_ends_for_silence_is_forgotten(harness):
    set_up(harness)
    assert not harness.media.table.expire(30.0)
    (event,) = harness.media.table.expire(100.0)
    assert isinstance(event, MediaTimeout)
    harness.server.media_event(event)
    assert harness.state() == ([], [], 0)
    assert harness.ask("statistics")["statistics"]["totalstatistics"]["timeoutsessions"] == 1
    assert harness.reason("query") == "Unknown call-id"


def test_query_tells_of_both_sides(harness):
    set_up(harness, label="caller", metadata="kept:yes")
    harness.now = 7.0
    for pair in harness.ports.open_pairs.values():
        pair.packets, pair.rtcp_packets, pair.octets = 12, 2, 2_000
    reply = harness.ask("query", call_id="c")
    assert (reply["created"], reply["last signal"], reply["metadata"]) == (1000, 1000, "kept:yes")
    assert reply["totals"]["RTP"] == {"packets": 20, "bytes": 4_000, "errors": 0}
    assert reply["totals"]["RTCP"]["packets"] == 4
    caller, callee = reply["tags"]["a"], reply["tags"]["b"]
    assert (caller["in dialogue with"], callee["in dialogue with"]) == ("b", "a")
    assert caller["label"] == "caller"
    (media,) = callee["medias"]
    assert (media["index"], media["type"], media["protocol"]) == (1, "audio", "RTP/AVP")
    rtp, rtcp = media["streams"]
    assert rtp["endpoint"] == {"family": "IPv4", "address": CALLEE, "port": 5000}
    assert (rtp["flags"], rtcp["flags"]) == (["RTP"], ["RTCP"])
    assert (rtp["stats"]["packets"], rtcp["stats"]["packets"]) == (10, 2)
    assert rtcp["local port"] == rtp["local port"] + 1


def test_list_names_as_many_calls_as_are_wanted_and_fit(harness):
    for number in range(40):
        harness.described("offer", sdp(CALLER), call_id=f"c{number}", direction=["pub", "priv"])
    assert len(harness.ask("list")["calls"]) == 32
    assert harness.ask("list", limit=2)["calls"] == ["c0", "c1"]
    long = NgHarness()
    for number in range(100):
        long.described("offer", sdp(CALLER), call_id=f"{number:0990}", direction=["pub", "priv"])
    assert len(frame(b"x" * limits.NG_COOKIE_BYTES, long.ask("list", limit=1_000))) < limits.NG_BYTES


def test_a_query_that_does_not_fit_into_a_datagram_is_cut(harness):
    for number in range(limits.NG_DIALOGS_PER_CALL):
        harness.described(
            "offer", sdp(CALLER, more="m=video 4002 RTP/AVP 99\r\n"), via_branch=f"z{number}",
            direction=["pub", "priv"], label="l" * 250,
        )  # fmt: skip
        harness.described("answer", sdp(CALLEE, more="m=video 4002 RTP/AVP 99\r\n"), to_tag=f"{number:0990}",
                          via_branch=f"z{number}")  # fmt: skip
    assert len(encode(harness.ask("query", call_id="c"))) < limits.NG_BYTES


def test_statistics_count_commands_refusals_and_junk(harness):
    set_up(harness)
    harness.reason("offer", sdp="")
    harness.server.receive(b"junk", CLIENT, 0.0)
    harness.now = 9.0
    figures = harness.ask("statistics")["statistics"]
    assert figures["currentstatistics"]["sessionstotal"] == 1
    assert figures["totalstatistics"]["managedsessions"] == 1
    assert figures["totalstatistics"]["rejectedsessions"] == 1
    assert figures["totalstatistics"]["uptime"] == 9
    control = figures["controlstatistics"]
    assert (control["totaloffercount"], control["totalanswercount"], control["totaljunkcount"]) == (2, 1, 1)


# --- what flags do ----------------------------------------------------------------------------------------


def test_a_peer_behind_a_nat_is_learned_at_the_source_of_its_sip_message(harness):
    source = ["IP4", CALLER]
    harness.described("offer", sdp("192.168.1.5"), received_from=source, direction=["pub", "priv"])
    answered = harness.described("answer", sdp(CALLEE), to_tag="b", received_from=["IP4", CALLEE])
    target = at(harness, answered).rtp
    assert target.learn_from == {CALLER}
    assert target.send_to is None


def test_sip_source_address_and_media_address_replace_those_of_the_description(harness):
    private = sdp("192.168.1.5", audio="a=rtcp:4321 IN IP4 192.168.1.6\r\n")
    harness.described(
        "offer", private, received_from=["IP4", CALLER], flags=["SIP source address"], direction=["pub", "priv"]
    )
    answered = harness.described("answer", sdp(CALLEE), to_tag="b", media_address="10.0.0.99")
    facing_caller = at(harness, answered)
    assert facing_caller.rtp.send_to == Source(CALLER, 4000)
    assert facing_caller.rtcp.send_to == Source(CALLER, 4321)
    assert facing_caller.other.rtp.send_to == Source("10.0.0.99", 4000)


def test_hold_by_address_stays_hold_when_addresses_are_replaced(harness):
    set_up(harness)
    held = harness.described("offer", sdp("0.0.0.0"), to_tag="b", media_address=CALLER)
    assert held.connection_of(held.media[0]).unspecified


def test_the_family_that_the_other_side_is_to_see():
    harness = NgHarness("pub/203.0.113.10", "pub/2001:db8::10", private=())
    offered = harness.described("offer", sdp(CALLER), address_family="IP6")
    assert str(offered.connection) == "IN IP6 2001:db8::10"
    answered = harness.described("answer", sdp("2001:db8:1::7"), to_tag="b")
    assert str(answered.connection) == "IN IP4 203.0.113.10"


def test_profiles_with_and_without_feedback_meet(harness):
    audio = "a=rtcp-fb:0 nack\r\n"
    offered = harness.described(
        "offer", sdp(CALLER, audio=audio).replace("AVP", "AVPF"), transport_protocol="RTP/AVP",
        direction=["pub", "priv"],
    )  # fmt: skip
    assert offered.media[0].protocol == "RTP/AVP"
    assert offered.media[0].attribute("rtcp-fb") is None
    answered = harness.described("answer", sdp(CALLEE), to_tag="b")
    assert answered.media[0].protocol == "RTP/AVPF"


@pytest.mark.parametrize("words", [{"rtcp_mux": ["demux"]}, {"flags": ["rtcp-mux-reject"]}])
def test_rtcp_mux_can_be_kept_from_the_other_side(harness, words):
    mux = sdp(CALLER, audio="a=rtcp-mux\r\n")
    assert harness.described("offer", mux, direction=["pub", "priv"]).media[0].attribute("rtcp-mux") is not None
    assert harness.described("offer", mux, call_id="d", direction=["pub", "priv"], **words).media[0].attribute(
        "rtcp-mux"
    ) is None  # fmt: skip


def test_loop_protect_returns_a_description_that_has_passed_as_it_is(harness):
    first = harness.ask(
        "offer", call_id="c", from_tag="a", sdp=sdp(CALLER), flags=["loop-protect"], direction=["pub", "priv"]
    )
    assert "a=rtpengine:e1\r\n" in first["sdp"]
    before = harness.state()
    again = harness.ask("offer", call_id="c", from_tag="a", sdp=first["sdp"], flags=["loop-protect"])
    assert again == {"result": "ok", "sdp": first["sdp"]}
    assert harness.state() == before
    # Without the flag it is an address of the relay, which media must not be sent to.
    assert harness.ask("offer", call_id="d", from_tag="a", sdp=first["sdp"])["result"] == "error"


def test_ice_and_dtls_of_a_browser_do_not_cross_a_relay_of_plain_rtp(harness):
    audio = (
        "a=candidate:1 1 udp 1 198.51.100.1 4000 typ host\r\na=ice-ufrag:x\r\na=ice-pwd:y\r\na=fingerprint:sha-1 A\r\n"
    )
    offered = harness.described("offer", sdp(CALLER, audio=audio), ICE="remove", direction=["pub", "priv"])
    assert [attribute.name for attribute in offered.media[0].attributes] == []


# --- streams -----------------------------------------------------------------------------------------------


def test_commands_of_a_stream_are_taken_one_by_one(harness):
    ping = encode({"command": "ping"})
    assert harness.server.receive_stream(ping[:-1], 0.0) == (b"", 0)
    assert harness.server.receive_stream(ping + ping[:3], 0.0) == (encode({"result": "pong"}), len(ping))


@pytest.mark.parametrize("data", [b"i1e", b"GET / HTTP/1.1", b"d1:ai1e1:ai1ee"])
def test_a_stream_that_is_no_command_cannot_go_on(harness, data):
    with pytest.raises(ValueError):
        harness.server.receive_stream(data, 0.0)
    assert harness.server.counts["any", "junk"] == 1
