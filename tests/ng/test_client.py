"""Rtpengines that carry out commands of signalling: on a clock and with datagrams of the test."""

from __future__ import annotations

from typing import Any

import pytest
from support.media import answer, offer, sdp

from edgesbc.base import limits
from edgesbc.base.address import Source, Zone
from edgesbc.media.commands import (
    Acknowledge,
    Consent,
    Delete,
    Establish,
    MediaCommand,
    MediaError,
    MediaReply,
    MediaTimeout,
    Refresh,
    RelayLayout,
    Restore,
    Rollback,
)
from edgesbc.media.latch import build_interfaces
from edgesbc.ng.client import ClientEffect, EngineReply, RtpengineClient, ToEngine
from edgesbc.ng.messages import frame, parse_frame
from edgesbc.ng.settings import RtpengineSettings
from edgesbc.sdp.session import SessionDescription, parse_session

CALLER, CALLEE = "198.51.100.1", "10.0.0.11"
RELAY = "192.0.2.50"


class Engines:
    """A client, and what its rtpengines get; ``dead`` ones do not reply."""

    def __init__(self, *weights: int, names: bool = False, random: float = 0.0) -> None:
        own = {"public": "pub", "core": "priv"} if names else {}
        settings = [
            RtpengineSettings(Source("127.0.0.1", 2223 + n), weight, **own) for n, weight in enumerate(weights or (1,))
        ]
        interfaces = build_interfaces(
            {Zone.PUBLIC: "203.0.113.10", Zone.CORE: "10.0.0.1"}, (1, 1), denied=["10.0.0.0/8"]
        )
        self.random = random
        self.client = RtpengineClient(settings, interfaces, b"t", lambda: self.random, 60.0, 0.0)
        self.now = 0.0
        self.dead: set[int] = set()
        self.received: list[tuple[int, dict[str, Any]]] = []
        self.names: list[bytes] = []
        self.replies: dict[int, MediaReply | MediaError] = {}
        self.events: list[MediaTimeout] = []
        self.answers: dict[str, dict[str, Any]] = {}
        self._cookie = 0
        self._port = 40_000

    def give(self, command: MediaCommand) -> int:
        """Give a command; returns its cookie."""
        self._cookie += 1
        self.apply(self.client.carry_out(self._cookie, command, self.now))
        return self._cookie

    def ask(self, command: MediaCommand) -> MediaReply | MediaError:
        """The reply to a command, which is there at once."""
        return self.replies[self.give(command)]

    def described(self, command: MediaCommand) -> SessionDescription:
        reply = self.ask(command)
        assert isinstance(reply, MediaReply), reply
        return parse_session(reply.sdp)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        end = self.now + seconds
        while (deadline := self.client.deadline()) is not None and deadline <= end:
            assert deadline >= self.now
            self.now = deadline
            self.apply(self.client.expire(self.now))
        self.now = end

    def apply(self, effects: list[ClientEffect]) -> None:
        for effect in effects:
            if isinstance(effect, ToEngine):
                self._receive(effect)
            elif isinstance(effect, EngineReply):
                assert effect.cookie not in self.replies, "a command is replied to twice"
                self.replies[effect.cookie] = effect.reply
            else:
                self.events.append(effect)

    def _receive(self, effect: ToEngine) -> None:
        cookie, command = parse_frame(effect.data)
        self.names.append(cookie)
        self.received.append((effect.engine, command))
        if effect.engine not in self.dead:
            reply = self.answers.get(command["command"], self._reply(command))
            self.apply(self.client.receive(effect.engine, frame(cookie, reply), self.now))

    def _reply(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["command"] == "ping":
            return {"result": "pong"}
        if "sdp" not in command:
            return {"result": "ok"}
        self._port += 2
        text = command["sdp"].replace(CALLER, RELAY).replace(CALLEE, RELAY)
        return {"result": "ok", "sdp": text.replace("m=audio 4000", f"m=audio {self._port}") + "a=rtcp:1\r\n"}

    def commands(self, engine: int | None = None) -> list[str]:
        """The names of the commands that came, without pings."""
        return [
            command["command"]
            for number, command in self.received
            if command["command"] != "ping" and engine in (None, number)
        ]


def first_offer(**changes: Any) -> MediaCommand:
    return offer(**{"session_id": "c", "offerer": "a", "sdp": sdp(CALLER)} | changes)


def set_up(engines: Engines) -> None:
    engines.described(first_offer())
    engines.described(answer("c", "a", "b", sdp(CALLEE)))
    engines.give(Establish("c", "a", b"record"))
    engines.received.clear()


def test_a_call_from_offer_to_delete() -> None:
    engines = Engines(names=True)
    offered = engines.described(first_offer(received_from=CALLER))
    assert str(offered.connection) == f"IN IP4 {RELAY}"
    assert offered.media[0].port == 40_002
    assert offered.media[0].attribute("rtcp") is None
    engines.described(answer("c", "a", "b", sdp(CALLEE)))
    (_, sent), (_, back) = engines.received
    assert (sent["call-id"], sent["from-tag"], sent["direction"]) == ("c", "a", ["pub", "priv"])
    assert sent["received-from"] == ["IP4", CALLER]
    assert sent["ICE"] == "remove"
    assert "zones:public,core" in sent["metadata"]
    assert (back["command"], back["from-tag"], back["to-tag"]) == ("answer", "a", "b")
    engines.give(Delete("c", "a"))
    assert "from-tag" not in engines.received[-1][1]  # all of the call, whatever callees it had
    assert engines.commands() == ["offer", "answer", "delete"]
    assert (len(engines.client), engines.client.waiting, engines.client.sessions_at(0)) == (0, 0, 0)


def test_what_a_restart_of_signalling_has_to_know_is_in_the_metadata() -> None:
    engines = Engines()
    set_up(engines)
    engines.ask(first_offer(answerer="b"))
    assert "record:cmVjb3Jk" in engines.received[-1][1]["metadata"]  # base64 of "record"
    assert engines.received[-1][1]["to-tag"] == "b"


@pytest.mark.parametrize(
    ("description", "status"),
    [
        (sdp("127.0.0.1"), 488), (sdp(CALLEE), 488), (sdp("0.0.0.1"), 488), (sdp("203.0.113.10"), 488),
        (sdp("2001:db8::9"), 488), ("v=0", 400),
        (sdp(CALLER).replace("RTP/AVP", "TCP/MSRP"), 488),
    ],
)  # fmt: skip
def test_a_description_is_judged_before_an_rtpengine_gets_it(description: str, status: int) -> None:
    """An rtpengine sends media to any address."""
    engines = Engines()
    reply = engines.ask(first_offer(sdp=description, zone=Zone.PUBLIC))
    assert isinstance(reply, MediaError)
    assert reply.status == status
    assert engines.commands() == []
    assert len(engines.client) == 0


def test_a_phone_behind_a_nat_is_reached_at_the_source_of_its_message() -> None:
    engines = Engines()
    engines.described(first_offer(sdp=sdp("192.168.1.5"), received_from=CALLER))
    assert {"SIP-source-address", "NAT-wait"} <= set(engines.received[-1][1]["flags"])
    engines.described(first_offer(session_id="d"))
    assert "trust-address" in engines.received[-1][1]["flags"]


def test_nothing_is_sent_before_a_packet_to_who_has_proven_no_address() -> None:
    engines = Engines()
    engines.described(first_offer(consent=Consent.NONE, received_from=CALLER))
    assert "NAT-wait" in engines.received[-1][1]["flags"]
    engines.described(answer("c", "a", "b", sdp(CALLEE)))
    assert "NAT-wait" not in engines.received[-1][1]["flags"]
    engines.give(Acknowledge("c", "a"))
    engines.described(first_offer(answerer="b"))
    assert "NAT-wait" not in engines.received[-1][1]["flags"]


def test_more_sections_than_a_call_may_have_and_those_that_are_not_relayed_have_no_port() -> None:
    engines = Engines()
    more = "m=audio 4000 RTP/AVP 0\r\n" * limits.MEDIA_SECTIONS + "m=message 4000 TCP/MSRP *\r\n"
    described = engines.described(first_offer(sdp=sdp(CALLER, more=more)))
    ports = [media.port for media in described.media]
    assert all(ports[: limits.MEDIA_SECTIONS])
    assert ports[limits.MEDIA_SECTIONS :] == [0, 0]


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ({"result": "error", "error-reason": "Unknown call-id"}, 481), ({"result": "error"}, 500), ({}, 500),
        ({"result": "error", "error-reason": "Ran out of ports"}, 503), ({"result": "load limit"}, 503),
        ({"result": "ok"}, 500), ({"result": "ok", "sdp": 5}, 500), ({"result": "ok", "sdp": "v=1"}, 500),
        ({"result": "ok", "sdp": sdp(RELAY, more="m=audio 5 RTP/AVP 0\r\n")}, 500), ({"result": []}, 500),
        ({"result": "ok", "sdp": "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 5 RTP/AVP 0\r\n"}, 500),
    ],
)  # fmt: skip
def test_a_reply_that_is_no_description_refuses_the_offer_and_leaves_nothing(
    reply: dict[str, Any], status: int
) -> None:
    engines = Engines()
    engines.answers["offer"] = reply
    refused = engines.ask(first_offer())
    assert isinstance(refused, MediaError)
    assert refused.status == status
    assert (len(engines.client), engines.client.waiting) == (0, 0)
    assert engines.commands() == ["offer", "delete"]  # it may have opened it


def test_no_address_of_a_peer_crosses_in_what_the_rtpengine_returns() -> None:
    engines = Engines()
    audio = "a=candidate:1 1 udp 1 198.51.100.9 4000 typ host\r\na=rtcp:4004 IN IP4 198.51.100.9\r\n"
    described = engines.described(first_offer(sdp=sdp(CALLER, audio=audio)))
    assert b"198.51.100.9" not in described.serialise()


def test_a_command_is_repeated_with_its_cookie_until_the_reply_comes() -> None:
    engines = Engines()
    engines.dead = {0}
    cookie = engines.give(first_offer())
    engines.pass_time(1.0)
    assert cookie not in engines.replies
    engines.dead = set()
    engines.pass_time(0.8)
    assert isinstance(engines.replies[cookie], MediaReply)
    own = {name for name, (_, command) in zip(engines.names, engines.received, strict=True) if "sdp" in command}
    assert len(own) == 1
    assert engines.commands().count("offer") == 5


def test_a_new_call_goes_to_another_rtpengine_where_the_first_is_silent() -> None:
    engines = Engines(1, 1)
    engines.dead = {0}
    cookie = engines.give(first_offer())
    engines.pass_time(limits.NG_TRY_SECONDS)
    assert isinstance(engines.replies[cookie], MediaReply)
    assert (engines.client.is_up(0), engines.client.sessions_at(0), engines.client.sessions_at(1)) == (True, 0, 1)
    assert engines.commands(0)[-1] == "delete"
    assert isinstance(engines.ask(first_offer(session_id="d")), MediaReply)  # the next one does not wait
    engines.pass_time(limits.NG_PING_SECONDS + limits.NG_GIVE_UP_SECONDS)
    assert not engines.client.is_up(0)
    engines.dead = set()
    engines.pass_time(limits.NG_RECHECK_SECONDS + 0.1)
    assert engines.client.is_up(0)
    engines.described(first_offer(session_id="e"))
    assert engines.client.sessions_at(0) == 1


def test_a_late_reply_refuses_no_call() -> None:
    """A machine that is busy for a second: what has the only rtpengine late is no reason to refuse the calls after."""
    engines = Engines()
    engines.dead = {0}
    cookies = [engines.give(first_offer())]
    engines.pass_time(limits.NG_TRY_SECONDS + 0.1)
    cookies.append(engines.give(first_offer(session_id="d")))
    engines.dead = set()
    engines.pass_time(0.8)
    assert [type(engines.replies[cookie]) for cookie in cookies] == [MediaReply, MediaReply]
    assert engines.client.is_up(0)


def test_a_reply_that_comes_after_all_says_that_the_rtpengine_is_there() -> None:
    engines = Engines()
    engines.dead = {0}
    cookie = engines.give(first_offer())
    name = engines.names[-1]
    engines.pass_time(limits.NG_GIVE_UP_SECONDS + 0.1)
    assert isinstance(engines.replies[cookie], MediaError)
    assert not engines.client.up
    engines.apply(engines.client.receive(0, frame(b"other_1", {"result": "ok"}), engines.now))
    assert not engines.client.up  # not the client's cookie
    engines.apply(engines.client.receive(0, frame(name, {"result": "ok"}), engines.now))
    assert engines.client.up


def test_a_forged_icmp_error_costs_no_calls() -> None:
    engines = Engines()
    engines.pass_time(0.1)
    engines.apply(engines.client.unreachable(0, engines.now))
    assert not engines.client.up
    engines.pass_time(0.0)
    assert engines.client.up


def test_a_port_that_nobody_listens_at_costs_a_new_call_no_time() -> None:
    engines = Engines(1, 1)
    engines.dead = {0}
    cookie = engines.give(first_offer())
    engines.apply(engines.client.unreachable(0, engines.now))
    assert isinstance(engines.replies[cookie], MediaReply)
    assert engines.client.sessions_at(1) == 1


def test_all_are_silent() -> None:
    engines = Engines(1, 1, 1)
    engines.dead = {0, 1, 2}
    cookie = engines.give(first_offer())
    engines.pass_time(limits.MEDIA_REPLY_SECONDS - 0.1)  # before signalling stops waiting
    reply = engines.replies[cookie]
    assert isinstance(reply, MediaError)
    assert reply.status == 503
    assert not engines.client.up
    at_once = engines.ask(first_offer(session_id="d"))
    assert isinstance(at_once, MediaError)
    assert at_once.status == 503
    assert len(engines.client) == 0
    engines.pass_time(60)
    assert engines.client.waiting <= 3  # pings alone, one for each


@pytest.mark.parametrize(
    "reply", [{"result": "load limit"}, {"result": "error", "error-reason": "Parallel session limit reached"}]
)
def test_one_without_room_sends_a_new_call_to_another(reply: dict[str, Any]) -> None:
    engines = Engines(1, 1)
    full = engines.client.receive

    def receive(engine: int, data: bytes, now: float) -> list[ClientEffect]:
        cookie, got = parse_frame(data)
        return full(engine, frame(cookie, reply) if engine == 0 and "sdp" in got else data, now)

    engines.client.receive = receive  # type: ignore[method-assign]
    engines.described(first_offer())
    assert engines.client.sessions_at(1) == 1
    assert engines.client.is_up(0)
    engines.described(answer("c", "a", "b", sdp(CALLEE)))
    assert engines.commands(1) == ["offer", "answer"]


def test_weights_and_stickiness() -> None:
    engines = Engines(1, 3)
    places = []
    for number in range(8):
        engines.random = number / 8
        engines.described(first_offer(session_id=str(number)))
        places.append(engines.received[-1][0])
    assert places == [0, 0, 1, 1, 1, 1, 1, 1]
    engines.random = 0.99
    engines.described(answer("0", "a", "b", sdp(CALLEE)))
    assert engines.received[-1][0] == 0


def test_an_answered_call_at_a_silent_rtpengine_is_refused_and_goes_on_when_it_is_back() -> None:
    engines = Engines(1, 1)
    set_up(engines)
    engines.dead = {0}
    cookie = engines.give(first_offer(answerer="b", sdp=sdp(CALLER, 4002)))
    engines.pass_time(limits.MEDIA_REPLY_SECONDS)
    reply = engines.replies[cookie]
    assert isinstance(reply, MediaError)
    assert reply.status == 503
    assert engines.commands(1) == []
    engines.dead = set()
    cookie = engines.give(first_offer(answerer="b"))
    engines.pass_time(1.0)
    assert isinstance(engines.replies[cookie], MediaReply)


def test_commands_of_a_call_are_sent_one_after_the_other() -> None:
    engines = Engines()
    engines.dead = {0}
    engines.give(first_offer())
    engines.give(answer("c", "a", "b", sdp(CALLEE)))
    assert engines.commands() == ["offer"]
    engines.pass_time(0.1)
    engines.dead = set()
    engines.pass_time(1.0)
    engines.give(Delete("c", "a"))
    assert engines.commands()[-3:] == ["offer", "answer", "delete"]
    assert len(engines.client) == 0


def test_a_refused_change_is_taken_back_by_what_was_agreed_before() -> None:
    """Rtpengine applies an offer at once: it gets the offer and the answer of before again."""
    engines = Engines()
    set_up(engines)
    engines.described(first_offer(answerer="b", sdp=sdp(CALLER, 9000)))
    engines.give(Rollback("c", "a"))
    assert engines.commands() == ["offer", "offer", "answer"]
    again, back = engines.received[-2][1], engines.received[-1][1]
    assert "m=audio 4000" in again["sdp"]
    assert (again["from-tag"], again["to-tag"]) == ("a", "b")  # without to-tag it would be a branch of its own
    assert (back["from-tag"], back["to-tag"]) == ("a", "b")
    engines.give(Rollback("c", "a"))
    assert len(engines.commands()) == 3  # nothing is pending
    # An offer of the other side, taken back.
    engines.described(offer("c", "b", sdp(CALLEE, 9000), Zone.CORE, answerer="a"))
    engines.give(Rollback("c", "b"))
    assert engines.commands()[-3:] == ["offer", "offer", "answer"]
    engines.described(first_offer(answerer="b", sdp=sdp(CALLER, 9002)))
    engines.described(answer("c", "a", "b", sdp(CALLEE)))


def test_a_change_whose_reply_is_lost_is_taken_back_too() -> None:
    engines = Engines()
    set_up(engines)
    engines.dead = {0}
    cookie = engines.give(first_offer(answerer="b", sdp=sdp(CALLER, 9000)))
    engines.pass_time(limits.NG_GIVE_UP_SECONDS + 0.1)
    assert isinstance(engines.replies[cookie], MediaError)
    engines.dead = set()
    engines.pass_time(0.3)
    assert engines.commands()[-2:] == ["offer", "answer"]
    assert "m=audio 4000" in engines.received[-2][1]["sdp"]


def test_an_answer_is_not_given_again_without_its_offer() -> None:
    engines = Engines()
    set_up(engines)
    engines.described(first_offer(answerer="b", sdp=sdp(CALLER, 9000)))
    engines.answers["offer"] = {"result": "error", "error-reason": "no"}
    engines.give(Rollback("c", "a"))
    assert engines.commands() == ["offer", "offer"]


def test_a_rollback_of_the_first_offer_leaves_nothing_to_apply() -> None:
    engines = Engines()
    engines.described(first_offer())
    engines.give(Rollback("c", "a"))
    assert engines.commands() == ["offer"]


def test_a_session_that_the_rtpengine_has_ended_is_reported() -> None:
    engines = Engines()
    set_up(engines)
    engines.pass_time(59)
    assert "query" not in engines.commands()
    engines.pass_time(2)
    assert engines.commands() == ["query"]
    assert engines.events == []
    engines.answers["query"] = {"result": "error", "error-reason": "Unknown call-id"}
    engines.pass_time(60)
    (event,) = engines.events
    assert (event.session_id, set(event.tags)) == ("c", {"a", "b"})
    assert len(engines.client) == 0
    engines.give(Delete("c", "a"))
    assert "delete" not in engines.commands()


def test_a_dead_rtpengine_ends_no_call() -> None:
    engines = Engines()
    set_up(engines)
    engines.dead = {0}
    engines.pass_time(600)
    assert engines.events == []
    engines.give(Delete("c", "a"))
    engines.pass_time(limits.NG_GIVE_UP_SECONDS + 0.1)
    assert len(engines.client) == 0


def test_an_answer_without_its_offer_and_a_session_to_restore_are_refused() -> None:
    engines = Engines()
    missing = engines.ask(answer("c", "a", "b", sdp(CALLEE)))
    assert isinstance(missing, MediaError)
    assert missing.status == 481
    set_up(engines)
    other = engines.ask(answer("c", "x", "b", sdp(CALLEE)))
    assert isinstance(other, MediaError)
    assert other.status == 481
    first = offer("d", "a", sdp(CALLER))
    assert isinstance(engines.ask(Restore(first, RelayLayout(("", "")))), MediaError)
    engines.give(Refresh("c", "a"))
    engines.give(Refresh("nothing", "a"))
    assert engines.commands() == []


def test_descriptions_that_wait_are_bounded() -> None:
    engines = Engines()
    engines.dead = {0}
    cookies = [engines.give(first_offer()) for _ in range(limits.PENDING_MEDIA + 2)]
    reply = engines.replies[cookies[-1]]
    assert isinstance(reply, MediaError)
    assert reply.status == 503
    assert cookies[-2] not in engines.replies


def test_nothing_else_of_a_call_waits_without_bound() -> None:
    engines = Engines()
    set_up(engines)
    engines.dead = {0}
    engines.give(first_offer(answerer="b"))
    for _ in range(10 * limits.PENDING_MEDIA):
        engines.give(Rollback("c", "a"))
        engines.give(Acknowledge("c", "a"))
        engines.give(Refresh("c", "a"))
    session = engines.client._sessions["c"]
    assert len(session.queue) == limits.PENDING_MEDIA
    engines.give(Delete("c", "a"))
    assert len(session.queue) == 1
    engines.dead = set()
    engines.pass_time(1.0)
    assert engines.commands()[-1] == "delete"
    assert len(engines.client) == 0


def test_what_waits_behind_the_end_of_a_call_gets_an_error() -> None:
    engines = Engines()
    engines.dead = {0}
    engines.give(first_offer())
    cookie = engines.give(answer("c", "a", "b", sdp(CALLEE)))
    engines.give(Delete("c", "a"))
    reply = engines.replies[cookie]
    assert isinstance(reply, MediaError)
    assert reply.status == 481


@pytest.mark.parametrize(
    ("line", "rtcp"),
    [
        ("", []), ("a=rtcp:4001", []), ("a=rtcp:4005", ["4005"]), ("a=rtcp:0", []),
        ("a=rtcp:4005 IN IP4 198.51.100.2", ["4005 IN IP4 198.51.100.2"]),
        ("a=rtcp:4005 IN IP4 host.example", ["4005"]),
        ("a=rtcp:4005\r\na=rtcp:4007 IN IP4 10.0.0.9", ["4005"]), ("a=RTCP:4007 IN IP4 10.0.0.9", []),
        ("a=candidate:1 1 udp 1 10.0.0.9 4000 typ host\r\na=ice-ufrag:x\r\na=ice-pwd:y", []),
        ("a=setup:actpass\r\na=fingerprint:sha-1 AA", []), ("a=rtcp-mux\r\na=rtcp:4000", []),
    ],
)  # fmt: skip
def test_an_rtpengine_gets_no_address_that_was_not_judged(line: str, rtcp: list[str]) -> None:
    """It would send packets, or checks of ICE, to each address that it reads."""
    engines = Engines()
    engines.described(first_offer(sdp=sdp(CALLER, audio=f"{line}\r\n" if line else "")))
    sent = parse_session(engines.received[-1][1]["sdp"].encode())
    (audio,) = sent.media
    assert [one.value for one in audio.attributes if one.name == "rtcp"] == rtcp
    assert {one.name for one in audio.attributes} <= {"rtcp", "rtcp-mux"}


def test_a_public_peer_may_not_name_an_rtpengine() -> None:
    """What is sent to a port of another call there would come from the relay itself."""
    engines = Engines()
    engines.described(first_offer())
    refused = engines.ask(first_offer(session_id="d", sdp=sdp(RELAY)))
    assert isinstance(refused, MediaError)
    assert (refused.status, refused.reason) == (488, "the media address is the relay itself")
    refused = engines.ask(first_offer(session_id="d", sdp=sdp("192.168.1.5"), received_from=RELAY))
    assert isinstance(refused, MediaError)
    engines.described(first_offer(session_id="d", zone=Zone.CORE, sdp=sdp(RELAY)))  # a proxy sends a call out again


def test_known_addresses_of_rtpengines_are_bounded() -> None:
    engines = Engines()
    for number in range(limits.NG_ENGINE_ADDRESSES + 10):
        text = sdp(f"192.0.2.{number}", 40_000)
        engines.answers["offer"] = {"result": "ok", "sdp": text}
        engines.described(first_offer(session_id=str(number)))
    assert len(engines.client._own) == limits.NG_ENGINE_ADDRESSES


def test_junk_late_and_foreign_replies_change_nothing() -> None:
    engines = Engines(1, 1)
    engines.dead = {0, 1}
    cookie = engines.give(first_offer())
    name = engines.names[-1]
    forged = frame(name, {"result": "ok", "sdp": sdp("192.0.2.66")})
    for engine, data in ((1, forged), (0, b"junk"), (0, b""), (0, frame(b"other", {"result": "ok"}))):
        engines.apply(engines.client.receive(engine, data, 0.0))
    assert cookie not in engines.replies
    assert engines.client.counts["127.0.0.1:2223", "junk"] == 2
    engines.apply(engines.client.receive(0, forged, 0.0))
    assert isinstance(engines.replies[cookie], MediaReply)
    engines.apply(engines.client.receive(0, forged, 0.0))
