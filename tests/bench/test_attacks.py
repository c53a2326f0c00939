"""Parts of ``bench attacks`` whose faults its report would not show, and short runs of its rows."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest
from support.certificates import Certificates
from support.peers import needs, needs_compiler
from support.tls_peer import VERSIONS, client_to, server_layer, shake_hands

from bench.attacks import MEMORY, REGISTRATIONS, ROWS, TrunkAttackSettings, bench_attacks
from bench.attacks_report import render_attacks
from bench.key_updates import KeyUpdateWriter
from bench.new_phones import GIVE_UP, PASSWORD, T1, Phone
from bench.stream_client import OPTIONS, with_body
from edgesbc.base import limits
from edgesbc.base.address import Source, Transport, Zone
from edgesbc.policy.model import ListenSettings
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message
from edgesbc.transport.tls import server_context

CHALLENGE = 'WWW-Authenticate: Digest realm="inside", nonce="n1", algorithm=MD5\r\n'


# --- key updates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asking", [False, True])
def test_the_edge_reads_the_key_updates_as_records_without_data(
    tmp_path: Path, certificates: Certificates, asking: bool
) -> None:
    listener = ListenSettings(Zone.PUBLIC, Transport.TLS, Source("127.0.0.1", 0))
    layer, keys = server_layer(server_context(listener, certificates.folder)), tmp_path / "keys"
    client = client_to(certificates.ca_file, VERSIONS[1], keys=keys)
    shake_hands(layer, client)
    secret = next(line.split()[2] for line in keys.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC"))
    name, _, bits = client.tls.cipher() or ("", "", 0)
    writer = KeyUpdateWriter(bytes.fromhex(secret), name[-6:].lower(), bits // 8)
    for number in range(1, limits.EMPTY_RECORDS + 1):
        assert layer.receive(writer.write(asking)) == []
        assert layer.end is None
        assert layer.counts.empty_records == number
    layer.receive(writer.write(asking))
    assert layer.end is not None


# --- new phones -------------------------------------------------------------------------------------------


class Line:
    """A phone, and what it has sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.phone = Phone("phone7", "127.0.0.9", 5062, "127.0.0.1:5060", self.sent.append, 0.0)

    @property
    def last(self) -> Request:
        request = parse_message(self.sent[-1])
        assert isinstance(request, Request)
        return request

    def answer(self, status: int, more: str = "", now: float = 0.0, tag: str = ";tag=t") -> None:
        request = self.last
        cseq, to = request.get("CSeq"), request.get("To")
        self.phone.receive(f"SIP/2.0 {status} X\r\nCSeq: {cseq}\r\nTo: {to}{tag}\r\n{more}\r\n".encode(), now)


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_a_phone_registers_with_its_password_calls_and_hangs_up() -> None:
    line = Line()
    assert line.last.method == "REGISTER"
    line.answer(401, CHALLENGE)
    one, two = md5(f"phone7:inside:{PASSWORD}"), md5("REGISTER:sip:127.0.0.1:5060")
    response = md5(f"{one}:n1:{two}")
    assert f'response="{response}"' in (line.last.get("Authorization") or "")
    line.answer(200)
    assert line.phone.registered
    assert line.last.method == "INVITE"
    line.answer(180)
    line.answer(200, "Contact: <sip:token@127.0.0.1:5060>\r\nRecord-Route: <sip:b;lr>\r\nRecord-Route: <sip:a;lr>\r\n")
    acknowledgement, bye = (parse_message(data) for data in line.sent[-2:])
    assert isinstance(acknowledgement, Request)
    assert acknowledgement.method == "ACK"
    assert isinstance(bye, Request)
    assert bye.method == "BYE"
    assert (bye.get("CSeq"), acknowledgement.get("CSeq")) == ("2 BYE", "1 ACK")
    for request in (acknowledgement, bye):
        assert bytes(request).startswith(request.method.encode() + b" sip:token@127.0.0.1:5060 SIP/2.0\r\n")
        assert request.get_all("Route") == ["<sip:a;lr>", "<sip:b;lr>"]
        assert (request.get("To") or "").endswith(";tag=t")
    line.answer(200, tag="")
    assert line.phone.called
    assert line.phone.step == "done"


def test_a_phone_repeats_its_request_until_it_gives_up() -> None:
    line = Line()
    times = []
    while line.phone.step == "REGISTER":
        times.append(line.phone.due)
        line.phone.expire(line.phone.due)
    assert times == [T1, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5, GIVE_UP]
    assert len(set(line.sent)) == 1
    assert line.phone.repeated == len(line.sent) - 1 == len(times) - 1
    assert line.phone.reason == "REGISTER: no answer"


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_phone_that_is_refused_has_failed(status: int) -> None:
    line = Line()
    line.answer(401, CHALLENGE)
    line.answer(status, CHALLENGE)
    assert (line.phone.step, line.phone.reason) == ("failed", f"REGISTER: {status}")
    assert not line.phone.registered


def test_a_refused_call_is_acknowledged_and_has_failed() -> None:
    line = Line()
    line.answer(200)
    branch = line.last.get("Via")
    line.answer(486)
    assert line.last.method == "ACK"
    assert line.last.get("Via") == branch
    assert (line.phone.reason, line.phone.registered, line.phone.called) == ("INVITE: 486", True, False)


def test_a_response_to_an_earlier_request_is_none() -> None:
    line = Line()
    first = line.last.get("CSeq")
    line.answer(401, CHALLENGE)
    line.phone.receive(f"SIP/2.0 200 OK\r\nCSeq: {first}\r\n\r\n".encode(), 0.0)
    assert not line.phone.registered


# --- large messages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [60_000, limits.MESSAGE_BYTES])
def test_a_request_with_a_body_has_the_size_that_was_asked(size: int) -> None:
    template = with_body(OPTIONS.format(server="127.0.0.1:5060", via="WSS x", host="127.0.0.1", transport="ws"), size)
    data = (template % (1, 2, 3)).encode()
    assert len(data) == size
    request = parse_message(data)
    assert isinstance(request, Request)
    assert len(request.body) == int(data.partition(b"Content-Length: ")[2][:5]) > 59_000


# --- rows -------------------------------------------------------------------------------------------------


@needs("sipp")
@needs("kamailio")
@needs_compiler()
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the edge and the attacker need a core each")
def test_a_short_run_of_each_kind_of_row() -> None:
    rows = ("key updates", REGISTRATIONS, MEMORY)
    attacks = bench_attacks(TrunkAttackSettings(rows=rows, seconds=1, rate=20, connections=20, idle=1), ["edge"])
    assert attacks["left_out"] == []
    for row in rows[:2]:
        for target in ("edge", "sink"):
            assert attacks["medians"][row][target]["failed"] == 0
            assert attacks["medians"][row][target]["calls"] == 20
    updates, registrations = attacks["medians"]["key updates"], attacks["medians"][REGISTRATIONS]
    assert updates["edge"]["handshakes"] >= 16
    assert updates["edge"]["closed"] > 0
    assert updates["sink"]["handshakes"] == 16
    assert updates["sink"]["closed"] == 0
    for figures in registrations.values():
        assert figures["phones"] == figures["phones_registered"] == figures["phones_called"] > 0
        assert figures["forged"] > 0
    assert registrations["edge"]["forged_answered"] > registrations["sink"]["forged_answered"] == 0
    for transport in ("ws", "wss"):
        assert attacks["medians"][f"{MEMORY}, {transport}"]["edge"]["answered"] == 20
    report = render_attacks({"machine": {"cores": "2"}, "attacks": attacks})
    tables = [block.splitlines() for block in report.split("\n\n") if block.startswith("|")]
    assert [len(table) for table in tables] == [3, 4, 4, 4]
    for table in tables:
        assert re.fullmatch(r"\|(-+\|)+", table[1])
        assert len({line.count("|") for line in table}) == len({len(line) for line in table}) == 1


def test_what_is_not_measured_in_time_is_named() -> None:
    attacks = bench_attacks(TrunkAttackSettings(rows=(MEMORY,), rounds=2, minutes=0), ["edge"])
    assert attacks["left_out"] == [f"{MEMORY}, round {number}: 0 minutes are over" for number in (1, 2)]
    report = render_attacks({"machine": {"cores": "2"}, "attacks": attacks})
    assert "not measured: websocket memory, round 2: 0 minutes are over" in report


def test_all_rows_are_measured_unless_some_are_named() -> None:
    assert TrunkAttackSettings().rows == ROWS
    assert TrunkAttackSettings().calls(REGISTRATIONS).seconds == 90
    assert TrunkAttackSettings(seconds=5).calls(REGISTRATIONS).seconds == 5
