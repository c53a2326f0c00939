"""Random changes of the seeds, without a fuzzing engine; the same seed number gives the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

__all__ = ["MOST_BYTES", "PIECES", "mutations"]

MOST_BYTES = 4096
PIECES = [
    b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\r\n ", b"\x00", b"\x7f", b"\xff", b"\xc2\x85", b" ", b"\t", b",", b";",
     b":", b'"',
    b"\\", b"<", b">", b"%", b"%00", b"@", b"=", b"[", b"]", b"::", b"*", b"0", b"-1", b"65536", b"2147483648",
     b"9" * 20,
    b"SIP/2.0", b"sip:", b"Via", b"v", b"Content-Length", b"l", b"Contact", b"ACK", b"v=0", b"m=", b"a=", b"c=IN IP4 ",
]  # fmt: skip


def mutations(seeds: Sequence[bytes], random: Random) -> Iterator[bytes]:
    """Yield the seeds, then without end one of them with one to five changes, at most 4,096 bytes long."""
    yield from seeds
    while True:
        data = bytearray(random.choice(seeds))
        for _ in range(random.randint(1, 5)):
            random.choice(_CHANGES)(data, seeds, random)
        yield bytes(data[:MOST_BYTES])


def _span(data: bytearray, random: Random) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 1, 2, 4, 16, 64)))


def _flip(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _delete(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    start, end = _span(data, random)
    del data[start:end]


def _insert(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    at = random.randint(0, len(data))
    data[at:at] = random.choice(PIECES)


def _replace(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    start, end = _span(data, random)
    data[start:end] = random.choice(PIECES)


def _repeat(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    start, end = _span(data, random)
    data[end:end] = data[start:end] * random.choice((1, 2, 30))


def _swap_lines(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    lines = data.split(b"\r\n")
    first, second = random.randrange(len(lines)), random.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    data[:] = b"\r\n".join(lines)


def _splice(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    other = random.choice(seeds)
    start, end = _span(data, random)
    data[start:end] = other[random.randint(0, len(other)) :]


_CHANGES = (_flip, _delete, _insert, _insert, _replace, _replace, _repeat, _swap_lines, _splice)
