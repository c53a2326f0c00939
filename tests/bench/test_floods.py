"""Parts of ``bench floods`` whose errors would not show in its report: the attacker, the counts, the computed costs."""

from __future__ import annotations

import math
import signal
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from support.peers import needs_compiler

from bench.attacker import SOURCES, Attacker, build_attacker
from bench.figures import ratios
from bench.floods import FloodSettings, Row, add_attack_cost, percentile
from bench.process import BenchError, udp_drops, wait_until
from bench.report import render

ATTACKERS = ip_network("127.192.0.0/11")

compiled = needs_compiler()


@pytest.fixture
def target() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        yield sock


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


def _drain(target: socket.socket) -> int:
    """Receive all queued datagrams and return their number."""
    count = 0
    target.setblocking(False)
    while True:
        try:
            target.recv(2_048)
        except BlockingIOError:
            target.settimeout(10)
            return count
        count += 1


def test_rows_are_idle_and_every_attack_at_every_rate() -> None:
    rows = FloodSettings(pps=(1_000, 2_000), sources=7).rows()
    assert rows == [
        Row("idle", 0, 0),
        Row("one source", 1_000, 1),
        Row("one source", 2_000, 1),
        Row("rotating", 1_000, 7),
        Row("rotating", 2_000, 7),
    ]
    assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("share", "value"), [(1, 1.0), (50, 50.0), (99, 99.0), (100, 100.0)], ids=["p1", "p50", "p99", "p100"]
)
def test_a_percentile_is_one_of_the_values(share: int, value: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == value


def test_a_percentile_of_few_values_is_the_next_higher_value() -> None:
    assert percentile([3.0, 5.0], 99) == 5.0
    assert percentile([3.0], 1) == 3.0


IDLE = {"core_share": 0.25, "pps": 0.0, "read": 0.0}


@pytest.mark.parametrize(
    ("read", "of_read"), [(20_000, 5.0), (2_000, 50.0), (100, 0.0), (0, 0.0)], ids=["all", "some", "few", "none"]
)
def test_the_cost_of_a_packet_is_the_cpu_that_the_attack_added(read: int, of_read: float) -> None:
    figures = {"core_share": 0.35, "pps": 20_000.0, "read": float(read)}
    add_attack_cost(figures, IDLE)
    assert figures["attack_share"] == pytest.approx(0.1)
    assert figures["cpu_us"] == pytest.approx(5.0)
    assert figures["read_us"] == pytest.approx(of_read)


def test_a_row_without_an_attack_costs_nothing_and_no_cost_is_negative() -> None:
    idle, slowed = dict(IDLE), {"core_share": 0.2, "pps": 20_000.0, "read": 20_000.0}
    for figures in (idle, slowed):
        add_attack_cost(figures, IDLE)
        assert figures["attack_share"] == figures["cpu_us"] == figures["read_us"] == 0.0


def test_rounds_with_an_unknown_cost_are_not_compared() -> None:
    rounds = {
        "edge": [{"read_us": 2.0}, {"read_us": 3.0}, {"read_us": 0.0}],
        "kamailio": [{"read_us": 4.0}, {"read_us": 0.0}, {"read_us": 5.0}],
    }
    assert ratios(rounds, "edge", "kamailio", "read_us", False) == {"median": 0.5, "lowest": 0.5, "highest": 0.5}
    assert ratios(rounds, "edge", "kamailio", "read_us") == {"median": 0.25, "lowest": 0.0, "highest": 0.5}
    assert ratios({"edge": [{"cpu_us": 2.0}], "kamailio": [{"cpu_us": 0.0}]}, "edge", "kamailio") == {}


def test_a_percentile_without_values_is_infinite() -> None:
    assert percentile([], 50) == math.inf


def test_drops_are_counted_for_one_address_only() -> None:
    table = (
        " sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ref pointer drops\n"
        "1: 0100007F:13C4 00000000:0000 07 0:0 00:00000000 00000000 0 0 1 2 0 5\n"
        "2: 0100007F:13C4 00000000:0000 07 0:0 00:00000000 00000000 0 0 2 2 0 7\n"
        "3: 0200007F:13C4 00000000:0000 07 0:0 00:00000000 00000000 0 0 3 2 0 11\n"
        "4: 0100007F:13C5 00000000:0000 07 0:0 00:00000000 00000000 0 0 4 2 0 13\n"
    )
    assert udp_drops("127.0.0.1:5060", table) == 12
    assert udp_drops("127.0.0.3:5060", table) == 0


def test_datagrams_to_a_full_socket_count_as_dropped(target: socket.socket) -> None:
    target.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(100):
            sender.sendto(bytes(1_000), target.getsockname())
    taken = _drain(target)
    assert 0 < taken < 100
    assert udp_drops(_address(target)) == 100 - taken


@compiled
def test_rotating_attackers_send_in_turn_and_repeat_no_message(target: socket.socket, tmp_path: Path) -> None:
    program = build_attacker(tmp_path)
    with Attacker(program, _address(target), 2_000, 20, 50, 1_000, tmp_path):
        received = [target.recvfrom(2_048) for _ in range(150)]
    messages = {data for data, _ in received}
    hosts = [peer[0] for _, peer in received]
    assert len(messages) == 150
    assert all(data.startswith(b"INVITE ") and data.endswith(b"\r\n\r\n") and b"@@" not in data for data in messages)
    assert len(set(hosts)) == 50
    assert hosts[:50] == hosts[50:100] == hosts[100:]
    assert all(ip_address(host) in ATTACKERS for host in hosts)
    assert len({host.rpartition(".")[0] for host in hosts}) > 40, "few addresses share a prefix"


@compiled
def test_the_packet_count_of_a_stopped_attack_is_exact(target: socket.socket, tmp_path: Path) -> None:
    program = build_attacker(tmp_path)
    for first in range(1, 6):
        dropped = udp_drops(_address(target))
        with Attacker(program, _address(target), 100_000, 20, 50, first, tmp_path) as attacker:
            target.recv(2_048)
            attacker.stop()
            count = 1 + _drain(target)
            assert attacker.counts()[0] == count + udp_drops(_address(target)) - dropped


@compiled
def test_attackers_of_different_rows_have_different_addresses(target: socket.socket, tmp_path: Path) -> None:
    program = build_attacker(tmp_path)
    hosts = set()
    for first in (1, 2, SOURCES - 1):
        with Attacker(program, _address(target), 1_000, 20, 1, first, tmp_path):
            hosts.add(target.recvfrom(2_048)[1][0])
        _drain(target)
    assert len(hosts) == 3


@compiled
def test_responses_to_the_attacker_are_counted(target: socket.socket, tmp_path: Path) -> None:
    with Attacker(build_attacker(tmp_path), _address(target), 1_000, 20, 10, 1, tmp_path) as attacker:
        for _ in range(20):
            target.sendto(b"SIP/2.0 404 Not Found\r\n\r\n", target.recvfrom(2_048)[1])
        wait_until(lambda: attacker.counts()[1] == 20, 10, "the count of answers")


@compiled
def test_an_attack_ends_after_its_time_and_within_its_rate(target: socket.socket, tmp_path: Path) -> None:
    with Attacker(build_attacker(tmp_path), _address(target), 500, 1, 1, 1, tmp_path) as attacker:
        assert attacker.process.wait(30) == 0
        assert attacker.counts()[0] <= 500


@compiled
def test_a_stopped_attacker_has_ended(target: socket.socket, tmp_path: Path) -> None:
    with Attacker(build_attacker(tmp_path), _address(target), 500, 60, 1, 1, tmp_path) as attacker:
        assert attacker.process.running
        attacker.stop()
        assert attacker.process.wait(1) == -signal.SIGTERM


@compiled
@pytest.mark.parametrize(
    ("to", "pps", "seconds"),
    [("192.0.2.1:9", 1, 1), ("127.0.0.1:9", 200_001, 1), ("127.0.0.1:9", 1, 301)],
    ids=["not loopback", "too fast", "too long"],
)
def test_the_attacker_refuses_arguments_out_of_bounds(to: str, pps: int, seconds: int, tmp_path: Path) -> None:
    with (
        pytest.raises(BenchError, match="flood ended with 2"),
        Attacker(build_attacker(tmp_path), to, pps, seconds, 1, 1, tmp_path),
    ):
        pass


def test_the_report_has_every_row_of_each_engine() -> None:
    columns = (
        "pps core_share waited_share attack_share read cpu_us read_us answers failed retransmissions setup_p50_ms "
        "setup_p99_ms setup_max_ms pss_before_mib pss_after_mib attacker_share"
    )
    figures = dict.fromkeys(columns.split(), 1.0)
    slower = figures | {"setup_p99_ms": 7.0}
    medians = {"idle": {"edge": figures, "kamailio": figures}, "rotating 5": {"edge": slower, "kamailio": figures}}
    settings = {
        "rate": 1,
        "seconds": 1,
        "sources": 1,
        "rounds": 1,
        "attackers_core": 1,
        "kamailio_children_per_socket": 2,
    }
    floods = {
        "settings": settings,
        "medians": medians,
        "ratios": {"rotating 5": {"cpu_us": {"median": 0.25}, "read_us": {}}},
    }
    lines = render({"machine": {"cores": "2"}, "floods": floods, "left_out": []}).splitlines()
    assert {line.partition("  ")[0] for line in lines} >= {"idle: edge", "idle: kamailio", "rotating 5: kamailio"}
    assert lines[-1].split() == ["rotating", "5", "0.25", "-", "7.00", "1.00"]
