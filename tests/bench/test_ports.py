"""Ports for programs under test: each is free, below the ephemeral range, and used by one process only."""

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


def test_two_processes_get_different_ports() -> None:
    program = "from bench.ports import free_port; print(*(free_port() for _ in range(5))); input()"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(2)
    ]
    ports_of_processes = [{free_port() for _ in range(5)}]
    for process in processes:
        assert process.stdout is not None
        ports_of_processes.append({int(number) for number in process.stdout.readline().split()})
    for process in processes:
        process.communicate("\n", timeout=20)
        assert process.returncode == 0
    assert [len(ports_of_process) for ports_of_process in ports_of_processes] == [5, 5, 5]
    assert len(set.union(*ports_of_processes)) == 15


def test_the_ports_are_below_the_ephemeral_range() -> None:
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert free_port() < ephemeral


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_a_port_in_use_is_skipped(kind: socket.SocketKind) -> None:
    first = free_range(HOST, 4)
    # Ports are given out in rotation: the next one follows the last one.
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind((HOST, first + 4))
        assert free_port() == first + 5


def test_a_range_begins_with_an_even_port() -> None:
    for _ in range(3):
        free_port()
        assert free_range(HOST, 4) % 2 == 0


def test_without_a_free_range_an_os_error_names_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_is_free", lambda host, port: False)
    with pytest.raises(OSError, match=r"no 2 ports in a row are free at 127\.0\.0\.1"):
        free_range(HOST, 2)
