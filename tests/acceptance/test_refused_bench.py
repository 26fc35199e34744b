"""The verdict of the bench on recipients who stay refused."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

OPS = Path(__file__).parents[2] / "ops"


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({}, True),
        ({"first_s": 2.1}, False),
        ({"half_s": 5.1}, False),
        ({"found_s": 15.1}, False),
        ({"rested": True}, False),
        ({"opened_when_down": False}, False),
    ],
)
def test_a_run_fails_by_each_of_its_figures(monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], *, kept: bool):
    for folder in (OPS, OPS / "bench"):
        monkeypatch.syspath_prepend(str(folder))
    bench = importlib.import_module("refused")
    found = {"first_s": 2.0, "half_s": 5.0, "found_s": 15.0, "rested": False, "opened_when_down": True}
    assert bench.is_kept(found | changed) is kept


def test_a_message_that_never_came_counts_as_a_minute(monkeypatch: pytest.MonkeyPatch):
    for folder in (OPS, OPS / "bench"):
        monkeypatch.syspath_prepend(str(folder))
    bench = importlib.import_module("refused")
    half = [1.0 + n / 1_000 for n in range(bench.HEALTHY // 2)]
    assert bench.judged([0.5], [half]) == {"first_s": 0.5, "half_s": 0.77}
    assert bench.judged([0.5, 50.0], [half]) == {"first_s": 60.0, "half_s": 60.0}
