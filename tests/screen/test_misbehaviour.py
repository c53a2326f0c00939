"""Scores of flows against a simple model: refusals add points, time and success remove points."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.base import limits
from edgesbc.base.address import Flow, Listener, Source, Transport, Zone
from edgesbc.base.reasons import Reason
from edgesbc.screen import pipeline
from edgesbc.screen.misbehaviour import POINTS, MisbehaviourScore, MisbehaviourSettings

LISTENER = Listener(0, "browsers", Zone.PUBLIC, Transport.TLS, "127.0.0.1", 5061)


def flow_of(number: int) -> Flow:
    return Flow(LISTENER, Source("192.0.2.1", 5060), number)


STEPS = st.tuples(
    st.integers(1, 3), st.sampled_from([*POINTS, Reason.RATELIMIT, None]), st.sampled_from([0, 1, 2, 5, 40])
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_a_score_equals_that_of_a_plain_model(steps: list[tuple[int, Reason | None, int]]) -> None:
    conduct = MisbehaviourScore(MisbehaviourSettings(points=10, window=20.0))
    scores, at, now = dict.fromkeys((1, 2, 3), 0.0), dict.fromkeys((1, 2, 3), 0), 0
    for number, reason, seconds in steps:
        now += seconds
        score = max(0.0, scores[number] - (now - at[number]) * 0.5)
        at[number] = now
        if reason is None:
            conduct.clear(flow_of(number))
            scores[number] = 0.0
            continue
        score += POINTS.get(reason, 0)
        too_much = score > 10 and reason in POINTS
        assert conduct.add(flow_of(number), reason, float(now)) is too_much
        scores[number] = 0.0 if too_much else score


def test_refusals_that_honest_clients_meet_have_no_points() -> None:
    conduct = MisbehaviourScore(MisbehaviourSettings())
    honest = (Reason.RATELIMIT, Reason.LOOP, Reason.NO_ROUTE, Reason.NO_DESTINATION, Reason.OVERLOAD, Reason.PIKE)
    assert not any(conduct.add(flow_of(1), reason, 0.0) for reason in honest * 100)


def test_scores_are_bounded() -> None:
    conduct = MisbehaviourScore(MisbehaviourSettings())
    for number in range(3 * limits.BUCKET_KEYS):
        conduct.add(flow_of(number), Reason.MALFORMED, 0.0)
    assert len(conduct._bucket) <= 2 * limits.BUCKET_KEYS


def test_only_reasons_that_screening_gives_have_points() -> None:
    """Only screening scores. A refusal of the signalling core, such as that of a token that does not open, counts
    nothing: an honest phone holds such a token after the edge's key was lost, and in a call that has ended."""
    screen = Path(pipeline.__file__).parent
    sources = [screen / "pipeline.py", *(screen / "stages").glob("*.py"), screen.parent / "signalling" / "screener.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    assert [reason.code for reason in POINTS if f"Reason.{reason.name}" not in text] == []
