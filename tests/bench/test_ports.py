"""Ports that are given out: to one process only, below the ephemeral ones, and none that somebody has."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench import ports
from bench.ports import free_port, free_range

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[2]


def test_two_processes_are_given_different_ports() -> None:
    program = "from bench.ports import free_port; print(*(free_port() for _ in range(5))); input()"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    given = [{free_port() for _ in range(5)}]
    for process in processes:
        assert process.stdout is not None
        given.append({int(word) for word in process.stdout.readline().split()})
    for process in processes:
        process.communicate("\n", timeout=20)
        assert process.returncode == 0
    assert [len(each) for each in given] == [5, 5, 5]
    assert len(set.union(*given)) == 15


def test_the_kernel_gives_none_of_them_out() -> None:
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert free_port() < ephemeral


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_a_port_that_another_program_has_is_passed_over(kind: socket.SocketKind) -> None:
    first = free_range(HOST, 4)
    # The block is a circle: what comes next is behind what was given last.
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind((HOST, first + 4))
        assert free_port() == first + 5


def test_ports_in_a_row_begin_with_an_even_one() -> None:
    for _ in range(3):
        free_port()
        assert free_range(HOST, 4) % 2 == 0


def test_where_nothing_is_free_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda host, port: False)
    with pytest.raises(OSError, match=r"no 2 ports in a row are free at 127\.0\.0\.1"):
        free_range(HOST, 2)
