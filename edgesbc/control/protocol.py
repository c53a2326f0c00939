"""The control protocol: one line of JSON with a command, one line with its answer or refusal."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from edgesbc.base import limits

__all__ = [
    "Command",
    "CommandRefused",
    "Commands",
    "ControlRequest",
    "answer_line",
    "read_answer",
    "read_request",
    "refusal_line",
    "request_line",
]


class CommandRefused(Exception):
    """A command that is not carried out; the text says why, for people."""


@attrs.frozen
class ControlRequest:
    """The name of a command, and its arguments by name."""

    command: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict)
    uid: int | None = None
    """The user at the other end of the socket, from the kernel and never from the line; None: not known."""

    def text(self, name: str) -> str:
        """An argument that is required and has to be a text. Raises :class:`CommandRefused`."""
        value = self.arguments.get(name)
        if not isinstance(value, str) or not value:
            raise CommandRefused(f"{self.command}: expected a text as {name}")
        return value

    def optional_text(self, name: str) -> str:
        """An argument that has to be a text where it is given; otherwise "". Raises :class:`CommandRefused`."""
        value = self.arguments.get(name, "")
        if not isinstance(value, str):
            raise CommandRefused(f"expected a text as {name}; found {value!r}")
        return value


Command = Callable[[ControlRequest], "Any | Awaitable[Any]"]
"""Returns a value that JSON can express, at once or when awaited. May raise :class:`CommandRefused`."""
Commands = Mapping[str, Command]
"""Commands by name."""


def request_line(request: ControlRequest) -> bytes:
    """``request`` as it is sent. Raises :class:`CommandRefused` for one that is longer than an edge reads."""
    line = _line({"command": request.command, "arguments": dict(request.arguments)})
    if len(line) > limits.CONTROL_QUESTION_BYTES:
        raise CommandRefused(f"the question is longer than {limits.CONTROL_QUESTION_BYTES} bytes")
    return line


def read_request(line: bytes) -> ControlRequest:
    """The request in a line. Raises :class:`CommandRefused` for anything else."""
    fields = _object(line)
    command, arguments = fields.pop("command", None), fields.pop("arguments", {})
    if not isinstance(command, str) or not isinstance(arguments, dict) or fields:
        raise CommandRefused('expected {"command": NAME, "arguments": {...}}')
    return ControlRequest(command, arguments)


def answer_line(result: Any) -> bytes:
    """The result of a command as it is sent; a refusal where it is longer than ``limits.CONTROL_ANSWER_BYTES``.

    Raises ``ValueError`` or ``TypeError`` for a value that JSON cannot express.
    """
    line = _line({"result": result})
    if len(line) > limits.CONTROL_ANSWER_BYTES:
        return refusal_line(f"the answer is longer than {limits.CONTROL_ANSWER_BYTES} bytes")
    return line


def refusal_line(why: str) -> bytes:
    return _line({"error": why})


def read_answer(line: bytes) -> Any:
    """The result in a line. Raises :class:`CommandRefused` for a refusal, and for a line that is no answer."""
    fields = _object(line)
    if isinstance(fields.get("error"), str):
        raise CommandRefused(fields["error"])
    if "result" not in fields:
        raise CommandRefused("the answer has no result")
    return fields["result"]


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii") + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise CommandRefused("expected a line with one JSON object")
    return value
