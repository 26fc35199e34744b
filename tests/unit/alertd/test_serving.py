"""How many workers `alertd serve` starts."""

from __future__ import annotations

import os

import pytest

from alertd.config import Settings
from alertd.serving import workers_of

CENTRE = {"kind": "smpp", "host": "a.example", "system_id": "a", "password": "p", "sender": "+34600000000"}
RELAY = {"kind": "smtp", "host": "a.example", "sender": "a@a.example"}


@pytest.mark.parametrize(
    ("processors", "processes", "carrier", "expected"),
    [
        (1, 0, RELAY, 2),
        (2, 0, RELAY, 2),
        (8, 0, RELAY, 7),
        (8, 1, RELAY, 1),
        (1, 0, CENTRE, 1),
        (2, 0, CENTRE, 1),
        (8, 0, CENTRE, 7),
        (2, 2, CENTRE, 2),
    ],
)
def test_two_at_least_unless_a_centre_counts_binds(monkeypatch, processors, processes, carrier, expected):
    """Each worker binds, and one that an account has no bind for fails at what it takes: the carrier then rests for all of them."""
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    settings = Settings.model_validate({"worker": {"processes": processes}, "carriers": {"one": carrier}})
    assert workers_of(settings) == expected
