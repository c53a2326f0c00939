"""The attacker of ``bench floods``: the C program flood.c, built for the run and bound to one core."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path
from types import TracebackType

from bench.process import BenchError, Process, wait_until

__all__ = ["MAX_PPS", "SOURCES", "Attacker", "build_attacker", "core_of_attacker"]

MAX_PPS = 200_000
"""Packets a second that flood.c sends at most."""
SOURCES = 1 << 21
"""Addresses that flood.c can send from."""
_COUNTS = struct.Struct("@QQ")
_INVITE = (
    "INVITE sip:100@{to} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.66:5060;branch=z9hG4bK@@@@@@@@;rport\r\n"
    "Max-Forwards: 70\r\nFrom: <sip:100@192.0.2.66>;tag=@@@@@@@@\r\nTo: <sip:100@{to}>\r\nCall-ID: @@@@@@@@\r\n"
    "CSeq: 1 INVITE\r\nContact: <sip:100@192.0.2.66:5060>\r\nUser-Agent: phone\r\nContent-Length: 0\r\n\r\n"
)


def core_of_attacker() -> int:
    """The core that attackers run on: the last one."""
    return max(os.sched_getaffinity(0))


def build_attacker(folder: Path) -> Path:
    """Compile flood.c into ``folder``. Raises :class:`BenchError` without a compiler or if it fails."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchError("there is no C compiler to build the attacker with")
    program = folder / "flood"
    argv = [compiler, "-O2", "-o", str(program), str(Path(__file__).parent / "flood.c")]
    compilation = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if compilation.returncode:
        raise BenchError(f"cc cannot build flood.c: {compilation.stderr.strip()}")
    return program


class Attacker:
    """Sends INVITEs to ``to`` (host:port), ``pps`` a second, in turn from ``sources`` addresses.

    ``first`` is the number of the first address. ``message`` is sent instead of INVITEs, with another number
    wherever it has ``@@@@@@@@``.

    A context manager; the attack ends with the context, or after ``seconds``.
    """

    def __init__(
        self,
        program: Path,
        to: str,
        pps: int,
        seconds: int,
        sources: int,
        first: int,
        folder: Path,
        message: str = "",
    ) -> None:
        host, _, port = to.partition(":")
        template, counts = folder / "attack", folder / "counts"
        template.write_text(message or _INVITE.format(to=to), newline="")
        counts.write_bytes(bytes(_COUNTS.size))
        numbers = [str(number) for number in (pps, seconds, sources, first, core_of_attacker())]
        with counts.open("rb") as file:
            self._counts = mmap.mmap(file.fileno(), _COUNTS.size, access=mmap.ACCESS_READ)
        self.process = Process("flood", [str(program), host, port, *numbers, str(template), str(counts)], folder)

    def __enter__(self) -> Attacker:
        self.process.__enter__()
        wait_until(lambda: self.counts()[0] > 0 or not self.process.running, 5, "the first packet of the attack")
        self.process.require()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the attack before the context ends."""
        self.process.__exit__(None, None, None)

    def counts(self) -> tuple[int, int]:
        """Packets sent and responses received so far."""
        sent, responses = _COUNTS.unpack(self._counts[:])
        return sent, responses
