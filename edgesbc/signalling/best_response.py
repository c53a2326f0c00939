"""BestResponse: the refusal that is forwarded when every branch has refused (RFC 3261 section 16.7 steps 6, 7)."""

from __future__ import annotations

from edgesbc.signalling.branch import Branch
from edgesbc.sip.message import Response

__all__ = ["BestResponse"]

# They say how the request can be repeated with success, so they are preferred within their class (step 6).
_HELPFUL = frozenset({401, 407, 415, 420, 484})
_CHALLENGES = ("WWW-Authenticate", "Proxy-Authenticate")


class BestResponse:
    """The best of the refusals so far, and the branch it came by."""

    __slots__ = ("_challenges", "_rank", "branch", "response")

    def __init__(self) -> None:
        self.response: Response | None = None
        self.branch: Branch | None = None
        self._rank: tuple[bool, bool, int, bool] | None = None
        self._challenges: list[Response] = []

    def add(self, branch: Branch, response: Response, settled: bool) -> None:
        """Keep ``response``, the refusal of ``branch``, if it is the best so far.

        ``settled``: the refusal is the callee's own, and not one after which the next member is tried. A 503 or 408 of
        one member among several is never forwarded, because the sender would then avoid the edge itself.
        """
        status = response.status
        if not settled and status in (408, 503):
            return
        if status in (401, 407):
            self._challenges.append(response)
        rank = (settled and status >= 600, settled, -(status // 100), status in _HELPFUL)
        if self._rank is None or rank > self._rank:
            self._rank, self.response, self.branch = rank, response, branch

    def gather(self) -> Response | None:
        """The response to forward; if it is a challenge, with those of the other branches (step 7)."""
        best = self.response
        if best is not None and best.status in (401, 407):
            others = [other for other in self._challenges if other is not best]
            challenges = [pair for other in others for pair in other.fields if pair[0] in _CHALLENGES]
            if challenges:
                return best.replace(fields=[*best.fields, *challenges])
        return best
