"""When whoever watches an alert has seen the end."""

from __future__ import annotations

import pytest

from alertd.api.alerts.progress import is_over
from alertd.model.states import AlertState, State

NONE = dict.fromkeys(["targeted", "doubled", *(state.word for state in State)], 0)


@pytest.mark.parametrize(
    ("state", "counts", "over"),
    [
        ("sending", {"accepted": 3}, False),
        ("cancelled", {"queued": 1, "accepted": 2}, False),
        ("expired", {"in_flight": 1, "accepted": 2}, False),
        ("cancelled", {"cancelled": 1, "unknown": 2}, True),
        ("sent", {"accepted": 3}, True),
        ("rejected", {}, True),
    ],
)
def test_a_stream_ends_with_the_last_reference(state: str, counts: dict[str, int], over: bool):
    """A cancelled alert is over when its queued and in-flight rows are settled, not before."""
    channels = {"push": {**NONE, **counts}} if counts else {}
    assert is_over(AlertState(state), channels) is over
