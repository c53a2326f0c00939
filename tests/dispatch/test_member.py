"""Room at a member: calls at once, and calls a second, exactly."""

from hypothesis import given, settings
from hypothesis import strategies as st

from edgesbc.dispatch.member import Member
from edgesbc.dispatch.sets import HealthSettings, MemberSettings


def member(**fields: float) -> Member:
    return Member("set", MemberSettings(uri="sip:10.0.0.1", **fields), HealthSettings())  # type: ignore[arg-type]


def test_max_calls() -> None:
    one = member(max_calls=2)
    assert one.has_room(0.0)
    one.load = 2
    assert not one.has_room(0.0)


@given(st.integers(1, 8), st.lists(st.floats(0, 0.4), max_size=60))
@settings(max_examples=60, deadline=None)
def test_max_cps_holds_in_every_second(rate: int, pauses: list[float]) -> None:
    one, now, starts = member(max_cps=rate), 0.0, list[float]()
    for pause in pauses:
        now += pause
        room = one.has_room(now)
        recent = [start for start in starts if now - start < 1.0]
        assert room is (len(recent) < rate)
        if room:
            one.starts.append(now)
            starts.append(now)


def test_less_than_one_call_a_second() -> None:
    one = member(max_cps=0.5)
    one.starts.append(10.0)
    assert not one.has_room(11.9)
    assert one.has_room(12.0)


def test_new_settings_keep_the_recent_starts() -> None:
    one = member(max_cps=4)
    one.starts.extend([1.0, 1.1, 1.2])
    one.adopt(MemberSettings(uri="sip:10.0.0.1", max_cps=2), HealthSettings())
    assert not one.has_room(1.5)
    assert one.has_room(2.1)
