"""Finds the end of quiet hours in a place's local time, also on nights when clocks change. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo


def minutes(clock: str) -> int:
    """Returns the minute of the day for a time such as 22:00."""
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def clock(minute: int) -> str:
    """Returns the time, such as 22:00, for a minute of the day."""
    return f"{minute // 60:02}:{minute % 60:02}"


def ends_ms(now_ms: int, time_zone: str, start: int, end: int) -> int | None:
    """Returns when the quiet hours around `now_ms` end (both UNIX ms), or None outside of them.

    `start` and `end` are minutes of the local day. If the clocks skip one of these times, the moment of the skip
    counts. If one occurs twice in a night, the quiet hours begin at the first and end at the second.
    """
    return _ends_ms(now_ms // 60_000, time_zone, start, end)


@lru_cache(4_096)  # most people of a zone have the same quiet hours, and clocks change on the minute
def _ends_ms(now_min: int, time_zone: str, start: int, end: int) -> int | None:
    """Does `ends_ms` for a time in whole minutes (UNIX)."""
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
    """Returns the UTC time at which the zone's clocks show this minute of the day, or skip it (PEP 495)."""
    shown = datetime.combine(day, time(minute // 60, minute % 60, fold=fold), zone)
    first, last = (shown.replace(fold=one).astimezone(UTC) for one in (1, 0))
    if first >= last:  # the time exists once or twice
        return shown.astimezone(UTC)
    while last - first > timedelta(seconds=1):
        middle = first + (last - first) / 2
        reached = middle.astimezone(zone).replace(tzinfo=None) >= shown.replace(tzinfo=None)
        first, last = (first, middle) if reached else (middle, last)
    return last.replace(microsecond=0)
