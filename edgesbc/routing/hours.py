"""The times of a week at which a route applies, parsed from the texts of a policy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["Hours", "zone_of"]

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(?:([A-Za-z]{3})(?:-([A-Za-z]{3}))?)?(?:(?:^|\s+)([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2}))?\Z")
_DAY_MINUTES = 24 * 60


def zone_of(name: str) -> tzinfo:
    """The time zone with that name in the machine's database. Raises ``ValueError`` if there is none."""
    if name == "UTC":
        return UTC  # the default of each route, which must work on a machine without that database
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected a time zone as in Europe/Berlin or UTC, found {name!r}") from None


class Hours:
    """Spans of a week, each as in ``Mon-Fri 08:00-18:00``, ``Sat`` or ``22:00-06:00``.

    A span whose end is before its start ends on the next day; its day is that of the start: ``Fri
    22:00-06:00`` ends on Saturday morning. The end is not part of it; ``24:00`` is midnight. Raises ``ValueError`` for
    any other text.
    """

    __slots__ = ("_spans", "_zone")

    def __init__(self, spans: Iterable[str], zone: tzinfo) -> None:
        self._zone = zone
        self._spans = [_span(text) for text in spans]

    def contains(self, wall: float) -> bool:
        """Whether ``wall``, in seconds since 1970 (UTC), is in one of the spans."""
        local = datetime.fromtimestamp(wall, self._zone)
        day, minute = local.weekday(), local.hour * 60 + local.minute
        for days, begin, end in self._spans:
            if begin < end:
                if day in days and begin <= minute < end:
                    return True
            elif (day in days and minute >= begin) or ((day - 1) % 7 in days and minute < end):
                return True
        return False


def _span(text: str) -> tuple[frozenset[int], int, int]:
    """The days (0 is Monday), and the first minute of the day and the minute after the last."""
    match = _SPAN.match(text.strip())
    if match is None or not text.strip():
        raise ValueError(f"expected times as in Mon-Fri 08:00-18:00, Sat or 22:00-06:00, found {text!r}")
    first, last, *times = match.groups()
    days = _days(first, last or first, text) if first else frozenset(range(7))
    if times[0] is None:
        return days, 0, _DAY_MINUTES
    begin, end = _minute(times[0], times[1], text), _minute(times[2], times[3], text)
    if begin == end:
        raise ValueError(f"expected a time that ends after it begins, found {text!r}")
    return days, begin, end


def _days(first: str, last: str, text: str) -> frozenset[int]:
    for word in (first, last):
        if word.lower() not in _DAYS:
            raise ValueError(f"expected days from Mon to Sun, found {word!r} in {text!r}")
    begin, end = _DAYS.index(first.lower()), _DAYS.index(last.lower())
    return frozenset(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))


def _minute(hour: str, minute: str, text: str) -> int:
    number = int(hour) * 60 + int(minute)
    if int(minute) > 59 or number > _DAY_MINUTES:
        raise ValueError(f"expected times from 00:00 to 24:00, found {hour}:{minute} in {text!r}")
    return number
