"""Stage scanner, with the list that comes with the edge and with others."""

from __future__ import annotations

import pytest

from edgesbc.policy.scanners import shipped_scanners
from edgesbc.screen.stage import PASS, Drop, Phase
from edgesbc.screen.stages.scanner import Scanner, ScannerList, ScannerSettings, Shape
from edgesbc.screen.standing import Standing, Standings
from edgesbc.sip.message import Request
from edgesbc.sip.parse import parse_message

SHIPPED = Scanner(ScannerSettings(list=shipped_scanners()), Standings())

# The requests of Debian's sipvicious 0.3.3, with another name in User-Agent.
SVMAP = """OPTIONS sip:100@127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK-4104531060;rport
Max-Forwards: 70
To: "sipvicious"<sip:100@1.1.1.1>
From: "sipvicious"<sip:100@1.1.1.1>;tag=3766303030303031653039330132313538393732383036
User-Agent: Phone/1.0
Call-ID: 493712150562488708948567
Contact: sip:100@127.0.0.1:5060
CSeq: 1 OPTIONS
Accept: application/sdp
Content-Length: 0

"""
SVWAR = """REGISTER sip:127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK-2203244700;rport
Max-Forwards: 70
To: "100"<sip:100@127.0.0.1>
From: "100"<sip:100@127.0.0.1>;tag=3130300133373230303831313738
User-Agent: Phone/1.0
Call-ID: 655043617
Contact: sip:100@127.0.0.1
CSeq: 1 REGISTER
Accept: application/sdp
Content-Length: 0

"""
SVCRACK = """REGISTER sip:127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK-2977891719;rport
Max-Forwards: 70
To: "100" <sip:100@127.0.0.1>
From: "100" <sip:100@127.0.0.1>;tag=3130303a3130300133333135343738313130
User-Agent: Phone/1.0
Call-ID: 3797965880
Contact: sip:123@1.1.1.1
CSeq: 2 REGISTER
Accept: application/sdp
Content-Length: 0
Authorization: Digest username="100",realm="x",nonce="abc",uri="sip:127.0.0.1",algorithm=MD5,response="95256a99"

"""


def read(text: str) -> Request:
    message = parse_message(text.replace("\n", "\r\n").encode())
    assert isinstance(message, Request)
    return message


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
    verdict = SHIPPED.judge(subject(request), Phase.REQUEST, 1.0)
    assert (verdict is PASS) == passes
    assert passes or isinstance(verdict, Drop)


@pytest.mark.parametrize(
    ("text", "name"), [(SVMAP, "sipvicious svmap"), (SVWAR, "sipvicious"), (SVCRACK, "sipvicious")]
)
def test_a_shape_is_recognised_with_any_user_agent(subject, text: str, name: str) -> None:
    verdict = SHIPPED.judge(subject(read(text)), Phase.REQUEST, 1.0)
    assert isinstance(verdict, Drop)
    assert verdict.detail == name


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        ("branch=z9hG4bK-2203244700", "branch=z9hG4bKab12cd34"),
        ("Call-ID: 655043617", "Call-ID: 655043617@192.0.2.1"),
        ("Contact: sip:100@127.0.0.1", "Contact: <sip:100@127.0.0.1>"),
        ('From: "100"<', 'From: "Alice"<'),
        ("Accept: application/sdp\n", ""),
    ],
)
def test_a_shape_matches_as_a_whole_and_not_by_a_single_field(subject, was: str, instead: str) -> None:
    assert was in SVWAR
    assert SHIPPED.judge(subject(read(SVWAR.replace(was, instead))), Phase.REQUEST, 1.0) is PASS


def test_trunks_and_the_private_side_are_not_judged(flow, subject, request_of) -> None:
    for request in (request_of("OPTIONS", "User-Agent: sipcli"), read(SVWAR)):
        assert SHIPPED.judge(subject(request, Standing.TRUNK), Phase.REQUEST, 1.0) is PASS
        assert SHIPPED.judge(subject(request, of=flow("core")), Phase.REQUEST, 1.0) is PASS
    assert SHIPPED.judge(subject(request_of("OPTIONS")), Phase.REQUEST, 1.0) is PASS


def test_names_and_list_of_the_operator(subject, request_of) -> None:
    own = ScannerList(shape=(Shape("evil", {"Subject": "^evil$"}),))
    scanner = Scanner(ScannerSettings(own, ("EvilBot", "")), Standings())
    for field in ("User-Agent: my evilbot", "Subject: evil"):
        assert isinstance(scanner.judge(subject(request_of("OPTIONS", field)), Phase.REQUEST, 1.0), Drop)
    for field in ("User-Agent: sipcli", "Subject: no evil"):
        assert scanner.judge(subject(request_of("OPTIONS", field)), Phase.REQUEST, 1.0) is PASS
    assert scanner.judge(subject(read(SVWAR)), Phase.REQUEST, 1.0) is PASS


def test_without_a_list_every_request_passes(subject) -> None:
    assert Scanner(ScannerSettings(), Standings()).judge(subject(read(SVMAP)), Phase.REQUEST, 1.0) is PASS
