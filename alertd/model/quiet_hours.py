"""Quiet hours: from when until when, in a place's own time, and whatever its clocks do on that night. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo


def minutes(clock: str) -> int:
    """Minutes of the day of a time such as 22:00."""
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def clock(minute: int) -> str:
    """The other way round."""
    return f"{minute // 60:02}:{minute % 60:02}"


def ends_ms(now_ms: int, time_zone: str, start: int, end: int) -> int | None:
    """When the quiet hours end that `now_ms` lies in (both UNIX ms), None outside of them. `start` and `end` are minutes of the day.

    An hour that a zone leaves out ends at once; one that it has twice begins with the first and ends with the second.
    """
    return _ends_ms(now_ms // 60_000, time_zone, start, end)


@lru_cache(4_096)  # all of one zone mostly sleep alike, and clocks change on the minute
def _ends_ms(now_min: int, time_zone: str, start: int, end: int) -> int | None:
    zone = ZoneInfo(time_zone)
    now = datetime.fromtimestamp(now_min * 60, UTC)
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        begins = _instant(zone, day, start, fold=0)
        ends = _instant(zone, day + timedelta(days=end <= start), end, fold=1)
        if begins <= now < ends:
            return int(ends.timestamp() * 1000)
    return None


def _instant(zone: ZoneInfo, day: date, minute: int, *, fold: int) -> datetime:
    """The moment, in UTC, at which the zone's clocks show that time; that at which they leap over it, if they do (PEP 495)."""
    shown = datetime.combine(day, time(minute // 60, minute % 60, fold=fold), zone)
    first, last = (shown.replace(fold=one).astimezone(UTC) for one in (1, 0))
    if first >= last:  # there once, or twice
        return shown.astimezone(UTC)
    while last - first > timedelta(seconds=1):
        middle = first + (last - first) / 2
        reached = middle.astimezone(zone).replace(tzinfo=None) >= shown.replace(tzinfo=None)
        first, last = (first, middle) if reached else (middle, last)
    return last.replace(microsecond=0)
