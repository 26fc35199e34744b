"""Cases that differ in degree alone: a few in each run, all of them in the long one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[tuple[Any, ...]], is_short: Callable[..., bool], **options: Any) -> list[Any]:
    """Every case, as parameters: those that are not `is_short` have the marker `long`, and run with `ops/test --long` alone."""
    marked = [pytest.param(*case, marks=() if is_short(*case) else pytest.mark.long, **options) for case in cases]
    assert any(not case.marks for case in marked)
    return marked
