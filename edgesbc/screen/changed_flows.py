"""ChangedFlows: which UDP flows have other proofs than those that were stored last."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import FlowKey

__all__ = ["ChangedFlows"]


class ChangedFlows:
    """UDP flows whose proofs have changed, in the order of their first change. Connections end with the process, and
    are left out.

    At most ``limits.CHANGED_FLOWS`` are listed: beyond that :attr:`all_changed` is true, and all flows are to be
    stored again.
    """

    __slots__ = ("_keys", "all_changed")

    def __init__(self) -> None:
        self._keys: dict[FlowKey, None] = {}
        self.all_changed = False

    def __len__(self) -> int:
        return len(self._keys)

    def note(self, key: FlowKey) -> None:
        """The proofs of a flow have changed."""
        if key[3]:
            return
        if len(self._keys) >= limits.CHANGED_FLOWS:
            self._keys.clear()
            self.all_changed = True
        self._keys[key] = None

    def take(self, most: int) -> list[FlowKey]:
        """Remove the ``most`` flows that have changed first, or fewer, and return them."""
        taken = [key for key, _ in zip(self._keys, range(most), strict=False)]
        for key in taken:
            del self._keys[key]
        return taken

    def take_all(self) -> None:
        """All flows are stored again: remove what is listed."""
        self._keys.clear()
        self.all_changed = False
