"""Times of day of a route."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from edgesbc.routing.hours import Hours, zone_of

# 2026-11-23 is a Monday.
MONDAY = datetime(2026, 11, 23, tzinfo=UTC).timestamp()


def at(day: int, hour: int, minute: int = 0) -> float:
    """Seconds since 1970 on the ``day``-th day of that week, from 0."""
    return MONDAY + ((day * 24 + hour) * 60 + minute) * 60


@pytest.mark.parametrize(
    ("span", "within", "without"),
    [
        ("Mon-Fri 08:00-18:00", [at(0, 8), at(4, 17, 59)], [at(0, 7, 59), at(0, 18), at(5, 12)]),
        ("Sat", [at(5, 0), at(5, 23, 59)], [at(4, 23, 59), at(6, 0)]),
        ("fri-mon", [at(4, 0), at(6, 12), at(0, 23)], [at(1, 0), at(3, 23)]),
        ("Sun-Sat 00:00-24:00", [at(0, 0), at(6, 23, 59)], []),
        ("09:30-10:00", [at(2, 9, 30)], [at(2, 9, 29), at(2, 10)]),
        ("22:00-06:00", [at(3, 22), at(3, 0), at(3, 5, 59)], [at(3, 6), at(3, 21, 59)]),
        ("Fri 22:00-06:00", [at(4, 22), at(5, 5, 59)], [at(4, 5), at(5, 6), at(5, 22)]),
        ("Sun 23:00-01:00", [at(6, 23), at(0, 0, 30)], [at(6, 0, 30), at(0, 1)]),
    ],
)
def test_a_span(span: str, within: list[float], without: list[float]) -> None:
    hours = Hours([span], UTC)
    assert [moment for moment in within if not hours.contains(moment)] == []
    assert [moment for moment in without if hours.contains(moment)] == []


def test_several_spans() -> None:
    hours = Hours(["Mon 08:00-12:00", "Mon 13:00-17:00"], UTC)
    assert [hours.contains(at(0, hour)) for hour in (8, 12, 13, 17)] == [True, False, True, False]


@pytest.mark.parametrize(
    "text",
    ["", " ", "Mon-", "Monday", "Mon-Xyz", "Xyz 08:00-09:00", "8:00-9:00", "08:00", "08:00-08:00", "24:01-25:00",
     "08:60-09:00", "Mon 08:00-09:00 x", "Mon08:00-09:00"],
)  # fmt: skip
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Hours([text], UTC)


def test_an_unknown_time_zone_is_refused() -> None:
    assert zone_of("Europe/Berlin") is not None
    for name in ("Mars/Olympus", "", "../../etc/passwd", "/etc/passwd"):
        with pytest.raises(ValueError, match="expected a time zone"):
            zone_of(name)


def test_a_machine_without_time_zones_has_utc() -> None:
    """UTC is the default of every route, so no policy could be loaded without it."""
    load = "from edgesbc.routing.table import Route; Route('r', to='a')"
    subprocess.run([sys.executable, "-c", load], env={"PYTHONTZPATH": ""}, check=True)
