"""The response that is passed on when every branch has refused."""

from __future__ import annotations

from support.signalling import CALLER, EdgeHarness, invite
from support.sip import response

from edgesbc.signalling.best_response import BestResponse
from edgesbc.signalling.branch import Branch
from edgesbc.signalling.response_context import ResponseContext
from edgesbc.sip.digest import is_stale
from edgesbc.sip.message import Response
from edgesbc.sip.parse import parse_message


def a_branch() -> Branch:
    """A branch of a request, for best responses that do not depend on it."""
    harness = EdgeHarness()
    harness.receive(CALLER, invite())
    (context,) = harness.edge.parts.transactions.server_users()
    assert isinstance(context, ResponseContext)
    return context._branches.pending[0]


BRANCH = a_branch()


def refusal(status: int, *challenges: str) -> Response:
    message = parse_message(response(status, extra="".join(f"{line}\r\n" for line in challenges)))
    assert isinstance(message, Response)
    return message


def best_of(*responses: Response) -> Response | None:
    best = BestResponse()
    for message in responses:
        best.add(BRANCH, message, settled=True)
    return best.gather()


def test_merged_challenges_are_found_by_name() -> None:
    best = best_of(
        refusal(407, 'Proxy-Authenticate: Digest realm="a", nonce="1"'),
        refusal(401, 'WWW-Authenticate: Digest realm="b", nonce="2", stale=true'),
        refusal(401, 'WWW-Authenticate: Digest realm="c", nonce="3"'),
    )
    assert best is not None
    assert best.status == 407
    assert best.get_all("Proxy-Authenticate") == ['Digest realm="a", nonce="1"']
    assert [is_stale(value) for value in best.get_all("WWW-Authenticate")] == [True, False]
    assert bytes(best).count(b"-Authenticate: ") == 3


def test_the_responses_of_the_branches_stay_as_they_are() -> None:
    first = refusal(401, 'WWW-Authenticate: Digest realm="a", nonce="1"')
    second = refusal(401, 'WWW-Authenticate: Digest realm="b", nonce="2"')
    assert best_of(first, second) is not first
    assert len(first.get_all("WWW-Authenticate")) == len(second.get_all("WWW-Authenticate")) == 1


def test_a_refusal_that_is_no_challenge_gets_none() -> None:
    best = best_of(refusal(486), refusal(603), refusal(401, 'WWW-Authenticate: Digest realm="a", nonce="1"'))
    assert best is not None
    assert (best.status, best.get_all("WWW-Authenticate")) == (603, [])
