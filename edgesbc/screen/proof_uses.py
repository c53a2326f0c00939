"""How many flows have registered with the same credentials: who has recorded a REGISTER can send it again."""

from __future__ import annotations

from edgesbc.base import limits
from edgesbc.base.address import FlowKey

__all__ = ["ProofUses"]


class ProofUses:
    """Counts the changes of flow of each proof, a number that stands for one digest response to one nonce.

    A phone that keeps a nonce, without ``nc``, sends the same response at each refresh, by one flow at a time. With
    ``nc`` each response is another. A registrar that does not check ``nc`` accepts a recorded request from everywhere.
    """

    __slots__ = ("_uses",)

    def __init__(self) -> None:
        self._uses: dict[int, tuple[FlowKey, int]] = {}
        """The last flow of a proof, and the number of flows so far; the proof used longest ago comes first."""

    def add(self, proof: int, key: FlowKey) -> bool:
        """Count a use of ``proof`` by the flow ``key``; False where others have used it too often before."""
        last, count = self._uses.pop(proof, (key, 1))
        if last != key and count <= limits.FLOWS_OF_PROOF:
            count += 1
        if len(self._uses) >= limits.PROOFS:
            del self._uses[next(iter(self._uses))]
        self._uses[proof] = (key, count)
        return count <= limits.FLOWS_OF_PROOF

    def is_worn(self, proof: int) -> bool:
        """Whether ``proof`` proves nothing any more."""
        uses = self._uses.get(proof)
        return uses is not None and uses[1] > limits.FLOWS_OF_PROOF

    def copy(self) -> ProofUses:
        other = ProofUses()
        other._uses = dict(self._uses)
        return other
