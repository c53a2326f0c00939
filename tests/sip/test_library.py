"""The library for its users: the exported names, the page about them, and the program on that page."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.sip import request

from edgesbc import sip

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "library.md").read_text(encoding="utf-8")
SOURCE = ("198.51.100.7", 5060)


class Stopped(Exception):
    """Ends the program when no datagram is left."""


class Socket:
    """A socket with a clock of its own: datagrams arrive at given seconds, and sent ones are recorded with the time."""

    def __init__(self, arrivals: list[tuple[float, bytes]]) -> None:
        self.now = 100.0
        self.sent: list[tuple[float, bytes]] = []
        self._arrivals = [(self.now + seconds, data) for seconds, data in arrivals]
        self._timeout: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        assert address == SOURCE
        self.sent.append((round(self.now - 100, 2), data))

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        arrives = self._arrivals[0][0] if self._arrivals else None
        if self._timeout is not None and (arrives is None or self.now + self._timeout < arrives):
            self.now += self._timeout
            raise TimeoutError
        if arrives is None:
            raise Stopped
        self.now = arrives
        return self._arrivals.pop(0)[1], SOURCE


def program() -> dict[str, Any]:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "library.md", "exec"), names)  # noqa: S102 - the page is ours
    return names


def served(*arrivals: tuple[float, bytes]) -> list[tuple[float, str]]:
    """The responses that the program sends, by time and status."""
    sock, names = Socket(list(arrivals)), program()
    names["time"] = SimpleNamespace(monotonic=lambda: sock.now)
    try:
        names["serve"](sock)
    except Stopped:
        pass
    return [(when, data.split(b" ", 2)[1].decode()) for when, data in sock.sent]


def test_the_program_answers_and_repeats_its_answer() -> None:
    options = request("OPTIONS")
    assert served((0, options), (1, options), (2, request("OPTIONS", via="SIP/2.0/UDP h;branch=z9hG4bK2"))) == [
        (0, "200"), (1, "200"), (2, "200"),
    ]  # fmt: skip


def test_the_program_repeats_a_refusal_until_its_ack() -> None:
    sent = served((0, request()), (4, request("ACK", to="<sip:100@192.0.2.1>;tag=any")))
    assert sent == [(0, "501"), (0.5, "501"), (1.5, "501"), (3.5, "501")]


def test_the_program_answers_malformed_requests_and_ignores_noise() -> None:
    arrivals = [
        (0, b"\x00\x01"),
        (1, request(cseq="x INVITE")),
        (2, b"SIP/2.0 200 OK\r\n\r\n"),
        (3, request("OPTIONS")),
    ]
    assert served(*arrivals) == [(1, "400"), (3, "200")]


def test_the_page_lists_the_exported_names() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Names")[2].partition("## Messages")[0], re.MULTILINE)
    assert sorted(listed) == sorted(sip.__all__)


def test_the_page_lists_the_limits() -> None:
    listed = re.findall(r"^\| `(\w+)` \| ([0-9]+) \|", PAGE, re.MULTILINE)
    assert listed == [(field.name, str(field.default)) for field in dataclasses.fields(sip.Limits)]


def test_the_exported_names_are_these() -> None:
    assert sip.__all__ == [
        "NOBODY", "PING", "PONG", "ClientTransaction", "Dialog", "Endpoint", "Limits", "Message", "NameAddr", "Request",
        "Response", "ServerTransaction", "ServerUser", "StreamFramer", "TransactionState", "TransactionUser",
        "Transactions", "Uri", "Via", "WireError", "ack_for", "cancel_for", "new_branch", "new_tag", "parse_message",
        "parse_name_addr", "parse_uri", "request", "response_to", "response_to_malformed",
    ]  # fmt: skip


def test_every_exported_name_is_explained_in_the_source() -> None:
    folder = Path(sip.__file__).parent
    explained = {"PING", "PONG", "NOBODY"}  # constants, each with a docstring below it
    for path in (*folder.glob("*.py"), folder.parent / "base" / "errors.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                explained.add(node.name)
    assert set(sip.__all__) <= explained
