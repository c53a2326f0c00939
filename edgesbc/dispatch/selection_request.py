"""What a request wants of a destination: the key that keeps it to one, and what it takes up there."""

from __future__ import annotations

__all__ = ["ANYTHING", "SelectionRequest"]


class SelectionRequest:
    """``key`` is what ``hash`` goes by, ``needs`` the named resources that a call takes one of each.

    ``call`` is whether it is one: what is none (a REGISTER, say) takes up no place that a call could have.
    """

    __slots__ = ("call", "key", "needs")

    def __init__(self, key: bytes = b"", needs: tuple[str, ...] = (), call: bool = True) -> None:
        self.key = key
        self.needs = needs
        self.call = call


ANYTHING = SelectionRequest()
