"""Stage ``acl``: refuses sources in denied prefixes of the public side. The private side is not asked."""

from __future__ import annotations

import attrs

from edgesbc.base import limits
from edgesbc.base.prefixes import PrefixSet
from edgesbc.base.reasons import Reason
from edgesbc.screen.expect import prefixes
from edgesbc.screen.stage import PASS, Drop, Phase, Subject, Verdict
from edgesbc.screen.standing import Standings

__all__ = ["Acl", "AclSettings"]


@attrs.frozen
class AclSettings:
    """``[screen.acl]``: to admit some prefixes only, deny ``0.0.0.0/0`` and ``::/0`` and allow those."""

    deny: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Prefixes of which nothing is accepted, over any transport."""
    allow: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Exceptions from ``deny``."""


class Acl:
    name = "acl"

    def __init__(self, settings: AclSettings, standings: Standings) -> None:
        self.phases = frozenset({Phase.ACCEPT, Phase.PACKET} if settings.deny else ())
        self._deny = PrefixSet(settings.deny, limits.REMEMBERED_ADDRESSES)
        self._allow = PrefixSet(settings.allow, limits.REMEMBERED_ADDRESSES)
        self._told: set[str] = set()

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        host = subject.flow.peer[0]
        if host not in self._deny or host in self._allow:
            return PASS
        if host in self._told:
            return Drop(Reason.ACL_DENIED, quiet=True)
        if len(self._told) >= limits.REMEMBERED_ADDRESSES:
            self._told.clear()
        self._told.add(host)
        return Drop(Reason.ACL_DENIED)
