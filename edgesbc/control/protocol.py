"""What is said on the control socket: a line of JSON asks, a line answers. Bytes and values; no socket, no edge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from edgesbc.base import limits

__all__ = [
    "CommandRefused",
    "ControlRequest",
    "answer_line",
    "read_answer",
    "read_request",
    "refusal_line",
    "request_line",
]


class CommandRefused(Exception):
    """A question that is not answered; the text says why, to a person."""


@attrs.frozen
class ControlRequest:
    """The name of a command, and its arguments by name."""

    command: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict)
    uid: int | None = None
    """The user who asks, as the kernel says; None: not known. Never read from the line."""

    def text(self, name: str) -> str:
        """An argument that has to be there and be a text. Raises :class:`CommandRefused`."""
        value = self.arguments.get(name)
        if not isinstance(value, str) or not value:
            raise CommandRefused(f"{self.command}: expected a text as {name}")
        return value


def request_line(question: ControlRequest) -> bytes:
    """``question`` as it is sent. Raises :class:`CommandRefused` for one that is longer than an edge reads."""
    line = _line({"command": question.command, "arguments": dict(question.arguments)})
    if len(line) > limits.CONTROL_QUESTION_BYTES:
        raise CommandRefused(f"the question is longer than {limits.CONTROL_QUESTION_BYTES} bytes")
    return line


def read_request(line: bytes) -> ControlRequest:
    """The question in a line. Raises :class:`CommandRefused` for anything else."""
    said = _object(line)
    command, arguments = said.pop("command", None), said.pop("arguments", {})
    if not isinstance(command, str) or not isinstance(arguments, dict) or said:
        raise CommandRefused('expected {"command": NAME, "arguments": {...}}')
    return ControlRequest(command, arguments)


def answer_line(result: Any) -> bytes:
    """The result of a command as it is sent; a refusal where it is longer than its bound.

    Raises ``ValueError`` or ``TypeError`` for what JSON cannot say.
    """
    line = _line({"result": result})
    if len(line) > limits.CONTROL_ANSWER_BYTES:
        return refusal_line(f"the answer is longer than {limits.CONTROL_ANSWER_BYTES} bytes")
    return line


def refusal_line(why: str) -> bytes:
    return _line({"error": why})


def read_answer(line: bytes) -> Any:
    """The result in a line. Raises :class:`CommandRefused` for a refusal, and for what is no answer."""
    said = _object(line)
    if isinstance(said.get("error"), str):
        raise CommandRefused(said["error"])
    if "result" not in said:
        raise CommandRefused("the answer has no result")
    return said["result"]


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
