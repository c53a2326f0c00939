"""Which header fields cross the edge as they are: by direction, and inward also by the standing of the sender.

What a peer without an account sends inward is an allow list (:data:`UNREGISTERED`): private servers act on fields that
the edge does not know. What others send, and what goes outward, are all fields but those listed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, cast

from edgesbc.screen.standing import Standing
from edgesbc.signalling.bodies import BodyRules
from edgesbc.sip.grammar import CANONICAL
from edgesbc.sip.message import Field, Fields

__all__ = ["ASSERTED", "OUTWARD", "OUTWARD_TO_TRUNKS", "OWN", "UNREGISTERED", "FieldFilter", "HeaderRules"]

OWN: Final = frozenset({
    "Via", "Route", "Record-Route", "Contact", "Max-Forwards", "Max-Breadth", "Content-Length", "Path", "Service-Route",
})  # fmt: skip
"""These are not forwarded: the edge has its own, or the message needs none."""
ASSERTED: Final = frozenset({"P-Asserted-Identity", "Remote-Party-ID", "Diversion", "History-Info"})
"""These assert a user, and the way of the call: accepted from trunks, and sent to trunks only, in requests and in
responses (RFC 3325, RFC 5806, RFC 7044; Remote-Party-ID is from a draft that they replaced)."""
_REVEALING: Final = frozenset({"Server", "User-Agent", "Warning", "Call-Info", "Error-Info"})
"""These say which software runs inside, and where."""
_PRIVILEGED: Final = frozenset({"Priv-Answer-Mode", "Charge"})
"""Not accepted from registered users either: with the first a phone answers although its user forbids it (RFC 5373
section 4.4.2), and the second says who pays."""

UNREGISTERED: Final = frozenset(
    # RFC 3261 without Alert-Info, Call-Info and Error-Info: they name resources that a server or phone fetches.
    """
    Accept Accept-Encoding Accept-Language Allow Authentication-Info Authorization Call-ID Content-Disposition
    Content-Encoding Content-Language Content-Type CSeq Date Expires From In-Reply-To MIME-Version Min-Expires
    Organization Priority Proxy-Authenticate Proxy-Authorization Proxy-Require Reply-To Require Retry-After Server
    Subject Supported Timestamp To Unsupported User-Agent Warning WWW-Authenticate
    """.split()
    # Extensions that phones and browsers use: RFC 3262, 3323, 3326, 3515, 3841, 3891, 3892, 3903, 3911, 4028, 4488,
    # 4538, 5626, 5839, 6086, 6665, 7433, 7989, 8224 and 8262.
    + """
    Accept-Contact Allow-Events Content-ID Event Flow-Timer Identity Info-Package Join Min-SE Privacy RAck RSeq Reason
    Recv-Info Refer-Sub Refer-To Referred-By Reject-Contact Replaces Request-Disposition Session-Expires Session-ID
    SIP-ETag SIP-If-Match Subscription-State Suppress-If-Match Target-Dialog User-to-User
    """.split()
)
"""The fields that a peer without an account may send inward, besides those that the policy adds."""

_KNOWN: Final = frozenset(CANONICAL.values())
_SEPARATOR: Final = re.compile(r"[^A-Za-z0-9]")


class FieldFilter:
    """Decides by name which fields cross. ``stops`` do not; of all others, those in ``passes`` do, or all if that is
    None. ``more`` are names that the policy adds, in any case; they cross all the same.

    ``P-`` and ``X-`` fields belong to one network (RFC 3325 section 5), and cross only if the policy adds them.
    """

    __slots__ = ("_more", "_others", "_passes", "_stops")

    def __init__(self, stops: frozenset[str], passes: frozenset[str] | None = None, more: Iterable[str] = ()) -> None:
        self._more = frozenset(name.lower() for name in more)
        added = frozenset(CANONICAL[name] for name in self._more if name in CANONICAL)
        usual = _KNOWN if passes is None else passes
        self._others = passes is None
        self._passes = frozenset(name for name in usual if name not in stops and not _of_one_network(name)) | added
        self._stops = _KNOWN - self._passes

    def crossing(self, fields: Iterable[Field]) -> Fields:
        """The fields that cross, in their order. It is called for every message: of names that the parser knows,
        each costs a look-up or two."""
        passes, stops = self._passes, self._stops
        pairs: Iterable[tuple[str, ...]] = fields  # compiled, a tuple of known length would be unpacked and made anew
        crossing = [
            pair for pair in pairs if pair[0] in passes or (pair[0] not in stops and self._passes_unknown(pair[0]))
        ]
        return cast(Fields, crossing)

    def _passes_unknown(self, name: str) -> bool:
        """Whether a field crosses whose name the parser does not know.

        Some programs read ``_`` and other signs in a name as a dash, so that ``P_Asserted_Identity`` would be another
        spelling of a field that does not cross, or of one that stands there as well.
        """
        if self._more and name.lower() in self._more:
            return True
        if not self._others or _of_one_network(name):
            return False
        if name.replace("-", "").isalnum():
            return True  # the usual case: there is no other sign in it
        plain = _SEPARATOR.sub("-", name.lower())
        return plain not in CANONICAL and not _of_one_network(plain)


def _of_one_network(name: str) -> bool:
    """Whether it is a ``P-`` or ``X-`` field. They are recognised by the dash, which no other field has in that
    place."""
    return name[1:2] == "-"


OUTWARD: Final = FieldFilter(OWN | ASSERTED | _REVEALING)
"""Towards the public side."""
OUTWARD_TO_TRUNKS: Final = FieldFilter(OWN | _REVEALING, None, ASSERTED)
"""Towards a trunk, and a destination on the public side."""


class HeaderRules:
    """The filters towards the private side. ``unregistered``, ``registered`` and ``trunk`` are the names that a policy
    adds for senders of that standing; none of them may be in :data:`OWN` or :data:`ASSERTED`. ``bodies`` has the rules
    for bodies, in both directions, and ``redirected`` the peers that learn the Contact of a 3xx."""

    __slots__ = ("_by_standing", "bodies", "redirected")

    def __init__(
        self,
        unregistered: Iterable[str] = (),
        registered: Iterable[str] = (),
        trunk: Iterable[str] = (),
        bodies: BodyRules | None = None,
        redirected: Iterable[Standing] = (),
    ) -> None:
        self.bodies: Final = BodyRules() if bodies is None else bodies
        self.redirected: Final = frozenset(redirected)
        stops = OWN | ASSERTED
        strangers = FieldFilter(stops, UNREGISTERED, unregistered)
        self._by_standing: dict[Standing, FieldFilter] = {
            Standing.UNPROVEN: strangers,
            Standing.REACHABLE: strangers,
            Standing.REGISTERED: FieldFilter(stops | _PRIVILEGED, None, registered),
            Standing.TRUNK: FieldFilter(OWN, None, [*ASSERTED, *trunk]),
        }

    def inward(self, standing: Standing) -> FieldFilter:
        """The filter for what a sender of that standing sends to the private side."""
        return self._by_standing[standing]
