"""Stage ``acl``: refuses public sources in prefixes that are denied, everywhere or at one listener."""

from __future__ import annotations

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
    """``[[screen.acl.listeners]]``: what one listener denies in addition to what is denied everywhere."""

    name: str
    """The name of a public listener."""
    deny: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Prefixes from which nothing is accepted there."""
    allow: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Exceptions from its ``deny``."""


def _once(
    instance: object, attribute: attrs.Attribute[tuple[ListenerAcl, ...]], value: tuple[ListenerAcl, ...]
) -> None:
    names = [listener.name for listener in value]
    if len(set(names)) != len(names):
        raise ValueError(f"{attribute.name}: expected each listener once, found {', '.join(names)}")


@attrs.frozen
class AclSettings:
    """``[screen.acl]``. To accept some prefixes only, deny ``0.0.0.0/0`` and ``::/0`` and allow these prefixes."""

    deny: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Prefixes from which nothing is accepted, over any transport."""
    allow: tuple[str, ...] = attrs.field(default=(), validator=prefixes)
    """Exceptions from ``deny``."""
    listeners: tuple[ListenerAcl, ...] = attrs.field(default=(), validator=_once)
    """Rules for one listener each."""


class _Rules:
    """Denied prefixes, and exceptions from them."""

    __slots__ = ("_allow", "_deny")

    def __init__(self, settings: AclSettings | ListenerAcl) -> None:
        self._deny = PrefixSet(settings.deny, limits.REMEMBERED_ADDRESSES)
        self._allow = PrefixSet(settings.allow, limits.REMEMBERED_ADDRESSES)

    def denies(self, host: str) -> bool:
        return host in self._deny and host not in self._allow


class Acl:
    name = "acl"

    def __init__(self, settings: AclSettings, standings: Standings) -> None:
        denying = settings.deny or any(listener.deny for listener in settings.listeners)
        self.phases = frozenset({Phase.ACCEPT, Phase.PACKET} if denying else ())
        self._everywhere = _Rules(settings)
        self._by_listener = {listener.name: _Rules(listener) for listener in settings.listeners}
        self._recorded: set[str] = set()
        """Addresses whose refusal was recorded: later ones are quiet."""

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        host = subject.flow.peer[0]
        if not self._everywhere.denies(host):
            rules = self._by_listener.get(subject.flow.listener.name) if self._by_listener else None
            if rules is None or not rules.denies(host):
                return PASS
        if host in self._recorded:
            return Drop(Reason.ACL_DENIED, quiet=True)
        if len(self._recorded) >= limits.REMEMBERED_ADDRESSES:
            self._recorded.clear()
        self._recorded.add(host)
        return Drop(Reason.ACL_DENIED)
