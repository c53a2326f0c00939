"""Stage ``scanner``: says nothing to known scanners, by the name they give themselves."""

from __future__ import annotations

import attrs

from edgesbc.base.address import Zone
from edgesbc.base.limits import USER_AGENT_CHARACTERS
from edgesbc.base.reasons import Reason
from edgesbc.screen.stage import PASS, Drop, Phase, Subject, Verdict
from edgesbc.screen.standing import Standing, Standings

__all__ = ["Scanner", "ScannerSettings"]


@attrs.frozen
class ScannerSettings:
    """``[screen.scanner]``. Trunks and the private side are not asked: they are known by more than a name."""

    user_agents: tuple[str, ...] = (
        "friendly-scanner", "friendly-request", "sipvicious", "sipcli", "sip-scan", "sipscan", "sundayddr",
        "vaxsipuseragent", "vaxipuseragent", "pplsip", "sivus", "smap", "siparmyknife", "warvox",
    )  # fmt: skip
    """Texts anywhere in User-Agent, in any case."""


class Scanner:
    name = "scanner"
    phases = frozenset({Phase.REQUEST})

    def __init__(self, settings: ScannerSettings, standings: Standings) -> None:
        self._names = tuple(name.lower() for name in settings.user_agents if name)

    def judge(self, subject: Subject, phase: Phase, now: float) -> Verdict:
        if subject.standing is Standing.TRUNK or subject.flow.listener.zone is Zone.CORE:
            return PASS
        agent = subject.request.get("User-Agent") if subject.request is not None else None
        if agent is None:
            return PASS
        agent = agent[:USER_AGENT_CHARACTERS].lower()
        for name in self._names:
            if name in agent:
                return Drop(Reason.SCANNER, detail=name)
        return PASS
