"""Stage ``acl``: refuses sources in prefixes that are denied, everywhere or at a listener. The core is not asked."""

from __future__ import annotations

from typing import Any

import attrs

from edgesbc.base import limits
from edgesbc.base.prefixes import PrefixSet
from edgesbc.base.reasons import Reason
from edgesbc.base.validation import prefixes
from edgesbc.screen.stage import PASS, Drop, Phase, Subject, Verdict
from edgesbc.screen.standing import Standings

__all__ = ["Acl", "AclSettings", "ListenerAcl"]


@attrs.frozen
class ListenerAcl:
    """``[[screen.acl.listeners]]``: what is denied at one listener, beside what is denied everywhere."""

    name: str
    """Of a public listener."""
    deny: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Prefixes of which nothing is accepted there."""
    allow: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Exceptions from its ``deny``."""


def _once(instance: object, attribute: Any, value: tuple[ListenerAcl, ...]) -> None:
    names = [each.name for each in value]
    if len(set(names)) != len(names):
        raise ValueError(f"{attribute.name}: expected each listener once, found {', '.join(names)}")


@attrs.frozen
class AclSettings:
    """``[screen.acl]``: to admit some prefixes only, deny ``0.0.0.0/0`` and ``::/0`` and allow those."""

    deny: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Prefixes of which nothing is accepted, over any transport."""
    allow: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Exceptions from ``deny``."""
    listeners: tuple[ListenerAcl, ...] = attrs.field(default=(), validator=_once)
    """What holds at some listeners only."""


class _Rules:
    """What is denied, and the exceptions from it."""

    __slots__ = ("_allow", "_deny")

    def __init__(self, settings: AclSettings | ListenerAcl) -> None:
        self._deny = PrefixSet(settings.deny, limits.REMEMBERED_ADDRESSES)
        self._allow = PrefixSet(settings.allow, limits.REMEMBERED_ADDRESSES)

    def denies(self, host: str) -> bool:
        return host in self._deny and host not in self._allow


class Acl:
    name = "acl"

    def __init__(self, settings: AclSettings, standings: Standings) -> None:
        denying = settings.deny or any(each.deny for each in settings.listeners)
        self.phases = frozenset({Phase.ACCEPT, Phase.PACKET} if denying else ())
        self._everywhere = _Rules(settings)
        self._at = {each.name: _Rules(each) for each in settings.listeners}
        self._told: set[str] = set()

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        host = subject.flow.peer[0]
        if not self._everywhere.denies(host):
            there = self._at.get(subject.flow.listener.name) if self._at else None
            if there is None or not there.denies(host):
                return PASS
        if host in self._told:
            return Drop(Reason.ACL_DENIED, quiet=True)
        if len(self._told) >= limits.REMEMBERED_ADDRESSES:
            self._told.clear()
        self._told.add(host)
        return Drop(Reason.ACL_DENIED)
