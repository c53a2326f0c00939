"""Starts and ends the measured programs by process id, and reads their CPU time and memory from /proc."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from edgesbc.demo.children import die_with

__all__ = ["BenchError", "Memory", "Process", "loopback", "say", "udp_drops", "udp_sockets", "wait_until"]

_TICK = os.sysconf("SC_CLK_TCK")
_LAST_LINES = 12


class BenchError(Exception):
    """A measured program did not start or end as expected; the message names it."""


class Memory(NamedTuple):
    """Memory of all processes of a program, in bytes."""

    rss: int
    """Resident memory; pages that processes share count in each of them."""
    pss: int
    """The same with shared pages divided among the processes that share them."""


def say(line: str) -> None:
    """Print a line of progress on stderr."""
    print(line, file=sys.stderr, flush=True)


def loopback(last: int) -> str:
    """A loopback address of this process, since two runs on one address would get each other's packets."""
    pid = os.getpid()
    return f"127.{64 + pid % 128}.{pid // 128 % 256}.{last}"


def wait_until(condition: Callable[[], bool], seconds: float, awaited: str) -> None:
    """Poll ``condition`` every 50 ms. Raises :class:`BenchError` that names ``awaited`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BenchError(f"{awaited} did not come in {seconds:g} s")
        time.sleep(0.05)


def udp_drops(address: str, table: str | None = None) -> int:
    """Datagrams to ``host:port`` that the kernel dropped, by a filter or for lack of room, at all sockets there.

    ``table`` replaces the text of /proc/net/udp in tests. The kernel counts modulo 2**32.
    """
    host, _, port = address.partition(":")
    bound = f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{int(port):04X}"
    rows = (Path("/proc/net/udp").read_text() if table is None else table).splitlines()[1:]
    return sum(int(fields[-1]) for row in rows if (fields := row.split())[1] == bound)


def udp_sockets(*hosts: str) -> int:
    """UDP sockets, of any program, that are bound to one of these IPv4 addresses."""
    bound = tuple(f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:" for host in hosts)
    return sum(row.split()[1].startswith(bound) for row in Path("/proc/net/udp").read_text().splitlines()[1:])


def python_path() -> str:
    """PYTHONPATH for child processes, which are started in other folders."""
    return os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])


class Process:
    """A program with its child processes, as a context manager: ended by the signal ``stop``, and killed after 8 s."""

    def __init__(self, name: str, argv: Sequence[str], folder: Path, stop: signal.Signals = signal.SIGTERM) -> None:
        self.name = name
        self._stop = stop
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                preexec_fn=die_with(os.getpid()),  # children end with the bench, also when it is killed
                env=os.environ | {"TERM": "xterm", "PYTHONPATH": python_path()},
                start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._popen.poll() is None:
            self._popen.send_signal(self._stop)
        try:
            self._popen.wait(8)
        except subprocess.TimeoutExpired:
            pids = self.pids()
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self._popen.wait()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    def wait(self, seconds: float) -> int:
        """Wait for the exit code. Raises :class:`BenchError` after ``seconds``."""
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.name} did not end in {seconds:g} s: {self.end_of_log()}") from None

    def end_of_log(self) -> str:
        """The last lines that the program printed."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:])

    def require(self) -> None:
        """Raises :class:`BenchError` if the program has ended."""
        if not self.running:
            raise BenchError(f"{self.name} ended with {self._popen.returncode}: {self.end_of_log()}")

    def pids(self) -> list[int]:
        """The process id of the program and those of its descendants."""
        parents: dict[int, list[int]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                fields = _stat(int(entry))
                if fields:
                    parents.setdefault(int(fields[1]), []).append(int(entry))
        pids = [self._popen.pid]
        for pid in pids:
            pids.extend(parents.get(pid, []))
        return pids

    def cpu_seconds(self) -> float:
        """User and system time of all processes so far, in seconds; each process counts in ticks of 10 ms."""
        return sum(int(fields[11]) + int(fields[12]) for pid in self.pids() if (fields := _stat(pid))) / _TICK

    def waited_seconds(self) -> float:
        """Seconds that all processes were ready to run without a core so far."""
        waited = 0
        for pid in self.pids():
            try:
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    waited += int((thread / "schedstat").read_text().split()[1])
            except OSError:
                continue  # the process has ended
        return waited / 1e9

    def memory(self) -> Memory:
        rss = pss = 0
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
            rss += sizes.get("Rss", 0)
            pss += sizes.get("Pss", 0)
        return Memory(rss, pss)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
