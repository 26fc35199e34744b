"""Quiet hours in a zone's own time, on every night of the year."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from alertd.model.quiet_hours import clock, ends_ms, minutes


def until(zone: str, hours: str, now: str) -> str | None:
    """When quiet hours such as 22:00-07:00 end, as that zone's clocks show it; `now` is in UTC."""
    start, end = (minutes(one) for one in hours.split("-"))
    ends = ends_ms(int(datetime.fromisoformat(now + "+00:00").timestamp() * 1000), zone, start, end)
    return ends and datetime.fromtimestamp(ends / 1000, UTC).astimezone(ZoneInfo(zone)).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("zone", "hours", "now", "ends"),
    [
        ("Europe/Madrid", "22:00-07:00", "2026-11-24T20:59:59", None),
        ("Europe/Madrid", "22:00-07:00", "2026-11-24T21:00", "2026-11-25T07:00+01:00"),
        ("Europe/Madrid", "22:00-07:00", "2026-11-25T05:59:59", "2026-11-25T07:00+01:00"),
        ("Europe/Madrid", "22:00-07:00", "2026-11-25T06:00", None),
        ("Asia/Kathmandu", "13:00-15:00", "2026-11-25T08:00", "2026-11-25T15:00+05:45"),
        # 2026-03-29: clocks leap from 02:00 to 03:00. An end that is leapt over is the leap, a night over it is shorter.
        ("Europe/Madrid", "22:00-02:30", "2026-03-29T00:59", "2026-03-29T03:00+02:00"),
        ("Europe/Madrid", "22:00-02:30", "2026-03-29T01:00", None),
        ("Europe/Madrid", "02:30-07:00", "2026-03-29T01:00", "2026-03-29T07:00+02:00"),
        ("Europe/Madrid", "22:00-07:00", "2026-03-28T23:00", "2026-03-29T07:00+02:00"),
        # 2026-10-25: 02:00 to 03:00 is there twice, and quiet both times.
        ("Europe/Madrid", "22:00-02:30", "2026-10-25T00:29", "2026-10-25T02:30+01:00"),
        ("Europe/Madrid", "22:00-02:30", "2026-10-25T01:29", "2026-10-25T02:30+01:00"),
        ("Europe/Madrid", "22:00-02:30", "2026-10-25T01:30", None),
        # Samoa had no 2011-12-30.
        ("Pacific/Apia", "22:00-07:00", "2011-12-30T09:30", "2011-12-31T00:00+14:00"),
    ],
)
def test_the_night_ends_when_the_clocks_there_say_so(zone: str, hours: str, now: str, ends: str | None):
    """Inside of them their end, outside of them nothing, in summer, in winter and in the night between."""
    assert until(zone, hours, now) == ends


def test_a_time_of_day_is_shown_as_it_was_written():
    """Every minute of the day comes back as itself."""
    assert all(minutes(clock(minute)) == minute for minute in range(24 * 60))
