"""What a process does for many alerts, again and again."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from alertd.common.repetition import AT_ONCE, TELL_AGAIN_S, ErrorGuard
from alertd.store.engine.connection import StoreUnavailableError
from tests.clocks import Later


async def test_what_goes_on_failing_is_told_every_ten_minutes():
    """Not four times a second, and not only on the night before."""
    clock = Later()
    steps, told = ErrorGuard(lambda: None, clock, StoreUnavailableError), list[int]()
    for _ in range(4):
        with capture_logs() as logs:
            for _ in range(10):
                steps.failed("plan", ValueError("Lucía"), "a1")
                steps.failed("plan", ValueError("Lucía"), "a2")
        told.append(len(logs))
        assert "Lucía" not in str(logs)
        clock.pass_by(TELL_AGAIN_S / 2)
    assert told == [2, 0, 2, 0]


async def test_one_that_fails_keeps_no_other_from_its_step():
    """However many there are, each has its own."""
    done, steps = list[str](), ErrorGuard(lambda: None, Later(), StoreUnavailableError)
    alerts = [f"a{number}" for number in range(3 * AT_ONCE)]

    async def work(alert_id: str) -> None:
        if alert_id == "a5":
            raise ValueError
        done.append(alert_id)

    with capture_logs() as logs:
        await steps.each("plan", alerts, work)
    assert sorted(done) == sorted(set(alerts) - {"a5"})
    assert [(log["step"], log["alert"], log["error"]) for log in logs] == [("plan", "a5", "ValueError")]


async def test_a_server_that_is_away_keeps_no_other_alert_from_its_step():
    """Each has its turn, one by one too, and it is told at the end."""
    steps = ErrorGuard(lambda: None, Later(), StoreUnavailableError)
    for at_once in (1, AT_ONCE):
        done = list[str]()

        async def work(alert_id: str, done: list[str] = done) -> None:
            if alert_id < "b":
                raise StoreUnavailableError
            done.append(alert_id)

        with pytest.raises(StoreUnavailableError):
            await steps.each(
                "start", [*(f"a{number}" for number in range(3 * AT_ONCE)), "b1", "a", "b2"], work, at_once
            )
        assert done == ["b1", "b2"]


async def test_a_store_that_is_away_is_asked_for_few():
    """Each may wait for its time-out: not all alerts are tried, one after the other."""
    tried, clock = list[str](), Later()

    async def work(alert_id: str) -> None:
        tried.append(alert_id)
        clock.pass_by(1)
        raise StoreUnavailableError

    with pytest.raises(StoreUnavailableError):
        await ErrorGuard(lambda: None, clock, StoreUnavailableError).each(
            "plan", [f"a{number}" for number in range(10 * AT_ONCE)], work
        )
    assert len(tried) < 3 * AT_ONCE
