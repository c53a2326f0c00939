"""What the selection of a member depends on: the key of a request, and the resources that it needs."""

from __future__ import annotations

__all__ = ["NO_REQUIREMENTS", "SelectionRequest"]


class SelectionRequest:
    """The requirements of one request.

    ``key`` is the key for the algorithm ``hash``; ``needs`` names resources; a call takes one of each.
    ``call`` is false for a request that is no call, a REGISTER for example: it does not count against ``max_calls``.
    """

    __slots__ = ("call", "key", "needs")

    def __init__(self, key: bytes = b"", needs: tuple[str, ...] = (), call: bool = True) -> None:
        self.key = key
        self.needs = needs
        self.call = call


NO_REQUIREMENTS = SelectionRequest()
