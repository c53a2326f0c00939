"""Prints how the time to parse hostile SIP grows with its size: ``python -m bench.linear``.

Twice the size should take about twice the time; four times the time would be quadratic. Tests check the same by the
structure of patterns (tests/sip/test_grammar.py) and by counting calls (tests/sip/test_parse.py).
"""

from __future__ import annotations

import contextlib
import platform
import timeit
from collections.abc import Callable
from typing import TypeVar

from edgesbc.base import limits
from edgesbc.base.errors import WireError
from edgesbc.sip.extensions import (
    parse_asserted_identity,
    parse_identity,
    parse_privacy,
    parse_rack,
    parse_reason,
    parse_replaces,
)
from edgesbc.sip.framing import StreamFramer
from edgesbc.sip.headers import parse_name_addr, parse_via, split_list
from edgesbc.sip.parse import parse_message, salvage, salvage_response
from edgesbc.sip.uri import parse_uri
from edgesbc.sip.values import parse_require, parse_retry_after

_REQUEST = (
    b"INVITE sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa\r\nFrom: <sip:a@h>;tag=a\r\n"
    b"To: <sip:100@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n%b\r\nContent-Length: 0\r\n\r\n"
)
# Prefix, repeated piece, suffix.
_HOSTILE: dict[str, tuple[bytes, bytes, bytes]] = {
    "commas": (b"Contact: ", b"a,", b"a"),
    "empty commas": (b"Contact: a", b",", b""),
    "quotes": (b"Contact: ,", b'"', b""),
    "open quote": (b'Contact: ,"', b"a", b""),
    "backslashes": (b'Contact: ,"', b"\\", b""),
    "angle brackets": (b"Contact: ,", b"<", b""),
    "semicolons": (b"Via: SIP/2.0/UDP h", b";", b""),
    "parameters": (b"Via: SIP/2.0/UDP h", b";a", b""),
    "spaces": (b"Via: SIP/2.0/UDP h", b" ", b"x"),
    "folds": (b"Z: a", b"\r\n ", b"b"),
    "a long fold": (b"Z: a\r\n", b" ", b"b"),
    "folds in a list": (b"Contact: a", b",\r\n\ta", b""),
    "folds without a field": (b"Z", b"\r\n ", b": b"),
    "lengths in folds": (b"Z: a", b"\r\n l:0", b""),
    "escapes": (b"To: <sip:", b"%41", b"%@h>"),
    "nested angle brackets": (b"Contact: ", b"<", b">,a"),
    "open brackets and commas": (b"Contact: ", b"<a,", b""),
    "open quotes and commas": (b"Contact: ", b'"a,', b'"'),
    "quoted parameters": (b"Contact: a,a", b';b="\\""', b""),
    "parentheses": (b"Call-ID: ", b"(", b""),
    "CRs": (b"Z: a", b"\r", b""),
    "fields": (b"Z: a", b"\r\nZ: a", b""),
    "names": (b"", b"a", b""),
}
_TEXTS: dict[str, tuple[Callable[[str], object], str, str, str]] = {
    "address: spaces": (parse_name_addr, "a", " ", "x"),
    "address: words": (parse_name_addr, "", "a ", "@<"),
    "address: backslashes": (parse_name_addr, '"', "\\\\", ""),
    "address: user": (parse_name_addr, "<sip:", "a", ""),
    "via: spaces": (parse_via, "SIP/2.0/UDP h", " ", ":x"),
    "via: host": (parse_via, "SIP/2.0/UDP h", "a.", "!"),
    "via: parameters": (parse_via, "SIP/2.0/UDP h;b", " ;a", '="'),
    "list: brackets": (split_list, ",", "<a>", "<"),
    "list: quotes": (split_list, ",", '"\\""', '"'),
    "uri: user signs": (parse_uri, "sip:", "a;=?/", "@"),
    "uri: percent signs": (parse_uri, "sip:", "%41", "%@h"),
    "uri: password": (parse_uri, "sip:a:", "&=+", "h"),
    "uri: parameters": (parse_uri, "sip:h", ";a", "\\"),
    "uri: IPv6": (parse_uri, "sip:[", "a:", "]"),
    "uri: another scheme": (parse_uri, "a", "+.-", "<"),
    "tokens: commas": (parse_require, "a", ",a", ","),
    "retry-after: comments": (parse_retry_after, "5 ", "(", ""),
    "retry-after: escapes": (parse_retry_after, "5 (", "\\)", ""),
    "retry-after: comment, then": (parse_retry_after, "5 ", "(a)", ";"),
    "reason: quotes": (parse_reason, "a", ',b;text="\\""', '"'),
    "privacy: semicolons": (parse_privacy, "a", ";a", ""),
    "replaces: parameters": (parse_replaces, "a@b", ";a", "="),
    "rack: spaces": (parse_rack, "1", " ", "x"),
    "identity: signature": (parse_identity, "", "a.=", ";info"),
    "identity: URI": (parse_identity, "a;info=<", "a:", ""),
    "asserted: brackets": (parse_asserted_identity, "", "<sip:a>,", "<"),
}
_Input = TypeVar("_Input")


def _seconds(read: Callable[[], object]) -> float:
    def run_once() -> None:
        with contextlib.suppress(WireError):
            read()

    return min(timeit.repeat(run_once, number=5, repeat=7)) / 5


def _report(name: str, size: int, write: Callable[[int], _Input], read: Callable[[_Input], object]) -> None:
    small, large = write(size // 2), write(size)
    half, whole = _seconds(lambda: read(small)), _seconds(lambda: read(large))
    print(f"{name:36}{size:8}{half * 1e6:12.1f}{whole * 1e6:12.1f}{whole / half:8.2f}")


def _as_response(data: bytes) -> bytes:
    return b"SIP/2.0 200 OK" + data[data.find(b"\r\n") :]


def _messages() -> None:
    for name, (prefix, piece, suffix) in _HOSTILE.items():
        # Fields and folds are bounded by the header block, the others by one field.
        limit = (
            limits.HEADER_BLOCK_BYTES if name.startswith(("fields", "folds", "lengths")) else limits.HEADER_FIELD_BYTES
        )

        def write(size: int, parts: tuple[bytes, bytes, bytes] = (prefix, piece, suffix)) -> bytes:
            return _REQUEST % (parts[0] + parts[1] * (size // len(parts[1])) + parts[2])

        _report(name, limit - 300, write, parse_message)
        _report(f"{name}, salvaged", limit - 300, write, salvage)
        _report(f"{name}, of a response", limit - 300, lambda size: _as_response(write(size)), salvage_response)


def _texts() -> None:
    for name, (parser, prefix, piece, suffix) in _TEXTS.items():
        limit = limits.START_LINE_BYTES if parser is parse_uri else limits.HEADER_FIELD_BYTES

        def write(size: int, parts: tuple[str, str, str] = (prefix, piece, suffix)) -> str:
            return parts[0] + parts[1] * (size // len(parts[1])) + parts[2]

        _report(name, limit - 50, write, parser)


def _streams() -> None:
    for name, piece in {"pings": b"\r\n\r\n", "messages": _REQUEST % b"Z: a"}.items():

        def repeat(size: int, piece: bytes = piece) -> bytes:
            return piece * (size // len(piece))

        _report(f"stream: {name}", 65_536, repeat, lambda data: StreamFramer().receive(data))
    for name, piece in {"one line": b"a", "many lines": b"\r\nl "}.items():

        def repeat_piece(size: int, piece: bytes = piece) -> bytes:
            return b"A" + piece * (size // len(piece))

        _report(f"byte by byte: {name}", limits.HEADER_BLOCK_BYTES, repeat_piece, _receive_byte_by_byte)


def _receive_byte_by_byte(data: bytes) -> None:
    framer = StreamFramer()
    for at in range(len(data)):
        framer.receive(data[at : at + 1])


def main() -> None:
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}")
    print(f"{'input':36}{'bytes':>8}{'half, us':>12}{'whole, us':>12}{'ratio':>8}")
    _messages()
    _texts()
    _streams()


if __name__ == "__main__":
    main()
