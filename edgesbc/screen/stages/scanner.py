"""Stage ``scanner``: drops requests of known scanners, recognised by User-Agent or by the form of their messages.

``policy.scanners`` reads the list.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from edgesbc.base.address import Zone
from edgesbc.base.limits import USER_AGENT_CHARACTERS
from edgesbc.base.patterns import compile_pattern
from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Drop, Phase, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.message import Request

__all__ = ["Scanner", "ScannerList", "ScannerSettings", "Shape"]


@attrs.frozen
class Shape:
    """The form of the messages of one scanner, independent of its User-Agent.

    ``header`` has patterns for the first value of header fields, by their canonical names: all must match
    in a request, each in the first 256 characters.
    """

    name: str
    header: Mapping[str, str]


@attrs.frozen
class ScannerList:
    """A list of known scanners: texts in User-Agent, in any case, and shapes."""

    user_agents: tuple[str, ...] = ()
    shape: tuple[Shape, ...] = ()


@attrs.frozen
class ScannerSettings:
    """``[screen.scanner]``. Trunks and the private side are not judged."""

    list: ScannerList | None = None
    """In a policy file the path of the list; without the key, the list that is part of edgesbc."""
    user_agents: tuple[str, ...] = ()
    """More texts in User-Agent, in any case."""


class Scanner:
    name = "scanner"
    judges_trunks = False
    phases = frozenset({Phase.REQUEST})

    def __init__(self, settings: ScannerSettings, standings: Standings) -> None:
        known = settings.list or ScannerList()
        names = (*known.user_agents, *settings.user_agents)
        self._names = tuple(dict.fromkeys(name.lower() for name in names if name))
        self._shapes = [
            (shape.name, [(name, compile_pattern(pattern).search) for name, pattern in shape.header.items()])
            for shape in known.shape
        ]

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        request = subject.request
        if subject.standing is Standing.TRUNK or subject.flow.listener.zone is Zone.CORE or request is None:
            return PASS
        agent = request.get("User-Agent")
        if agent is not None:
            agent = agent[:USER_AGENT_CHARACTERS].lower()
            for name in self._names:
                if name in agent:
                    return Drop(Reason.SCANNER, detail=name)
        shape = self._shape_of(request)
        return PASS if shape is None else Drop(Reason.SCANNER, detail=shape)

    def _shape_of(self, request: Request) -> str | None:
        for name, fields in self._shapes:
            for field, search in fields:
                value = request.get(field)
                if value is None or search(value[:USER_AGENT_CHARACTERS]) is None:
                    break
            else:
                return name
        return None
