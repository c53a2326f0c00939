"""What a request wants of a destination: the key that keeps it to one, and the things it uses there."""

from __future__ import annotations

__all__ = ["ANYTHING", "Demand"]


class Demand:
    """``key`` is what ``hash`` goes by, ``needs`` the named resources that a call takes one of each."""

    __slots__ = ("key", "needs")

    def __init__(self, key: bytes = b"", needs: tuple[str, ...] = ()) -> None:
        self.key = key
        self.needs = needs


ANYTHING = Demand()
