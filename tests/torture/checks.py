"""What must be true of a message that was forwarded."""

from __future__ import annotations

from edgesbc.sip.message import Request, Response
from torture.case import Check

__all__ = ["body", "field", "fields", "phrase", "uri"]


def uri(expected: str) -> Check:
    def check(message: Request | Response) -> None:
        assert isinstance(message, Request)
        assert str(message.uri) == expected

    return check


def field(name: str, *expected: str) -> Check:
    """The values of a header field, in order."""

    def check(message: Request | Response) -> None:
        assert message.get_all(name) == list(expected)

    return check


def fields(*names: str) -> Check:
    """These header fields stand in this order."""

    def check(message: Request | Response) -> None:
        assert [name for name, _ in message.fields if name in names] == list(names)

    return check


def body(expected: bytes) -> Check:
    def check(message: Request | Response) -> None:
        assert message.body == expected

    return check


def phrase(expected: str) -> Check:
    def check(message: Request | Response) -> None:
        assert isinstance(message, Response)
        assert message.phrase == expected

    return check
