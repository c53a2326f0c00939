"""Stage scanner."""

from __future__ import annotations

import pytest

from edgesbc.screen.stage import PASS, Drop, Phase
from edgesbc.screen.stages.scanner import Scanner, ScannerSettings
from edgesbc.screen.standing import Standing, Standings


@pytest.mark.parametrize(
    ("agent", "passes"),
    [
        ("friendly-scanner", False),
        ("SIPVicious 0.3", False),
        ("VaxSIPUserAgent/3.1", False),
        ("sipcli/v1.8", False),
        ("pplsip", False),
        ("Linphone/5.1", True),
        ("sipsak 0.9.8", True),
        ("", True),
        ("x" * 300 + "friendly-scanner", True),
    ],
)
def test_names(subject, request_of, agent: str, passes: bool) -> None:
    request = request_of("OPTIONS", f"User-Agent: {agent}")
    verdict = Scanner(ScannerSettings(), Standings()).judge(subject(request), Phase.REQUEST, 1.0)
    assert (verdict is PASS) == passes
    assert passes or isinstance(verdict, Drop)


def test_who_is_not_asked(flow, subject, request_of) -> None:
    scanner = Scanner(ScannerSettings(), Standings())
    request = request_of("OPTIONS", "User-Agent: sipcli")
    assert scanner.judge(subject(request, Standing.TRUNK), Phase.REQUEST, 1.0) is PASS
    assert scanner.judge(subject(request, of=flow("core")), Phase.REQUEST, 1.0) is PASS
    assert scanner.judge(subject(request_of("OPTIONS")), Phase.REQUEST, 1.0) is PASS


def test_an_operator_s_own_list(subject, request_of) -> None:
    scanner = Scanner(ScannerSettings(user_agents=("EvilBot", "")), Standings())
    assert isinstance(scanner.judge(subject(request_of("OPTIONS", "User-Agent: my evilbot")), Phase.REQUEST, 1.0), Drop)
    assert scanner.judge(subject(request_of("OPTIONS", "User-Agent: sipcli")), Phase.REQUEST, 1.0) is PASS
