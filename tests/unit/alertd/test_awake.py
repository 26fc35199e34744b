"""While much is asked, the processors of the machine are asked not to halt, and not a moment longer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from alertd.awake import DEVICE, MANY, Awake
from tests.waiting import until


def is_open(path: Path) -> bool:
    """Whether this process has it open."""
    return any(os.path.realpath(one) == str(path) for one in Path("/proc/self/fd").iterdir())


@pytest.fixture
def device(tmp_path: Path) -> Path:
    (tmp_path / "latency").touch()
    return tmp_path / "latency"


async def test_many_answers_in_a_second_hold_it_and_few_do_not(device: Path):
    with Awake(device) as awake:
        for _ in range(MANY - 1):
            awake.answered()
        assert not is_open(device)
        awake.answered()
        assert is_open(device)
    assert device.read_bytes() == bytes(4)  # noqa: ASYNC240  no wait is borne, in microseconds, as the interface has it


async def test_it_is_let_go_after_a_moment_with_few(device: Path):
    """And held again when there are many again."""
    with Awake(device, window_s=0.01) as awake:
        for _ in range(2):
            for _ in range(MANY):
                awake.answered()
            assert is_open(device)
            awake.answered()
            await until(lambda: not is_open(device))


async def test_it_is_let_go_at_the_end(device: Path):
    with Awake(device) as awake:
        for _ in range(MANY):
            awake.answered()
    assert not is_open(device)


async def test_where_it_is_not_allowed_nothing_is_done(tmp_path: Path):
    with Awake(tmp_path / "none") as awake:
        for _ in range(2 * MANY):
            awake.answered()


async def test_the_kernel_takes_it():
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip(f"{DEVICE} is not there, or only for others: the kernel cannot be asked")
    with Awake() as awake:
        for _ in range(MANY):
            awake.answered()
        assert is_open(DEVICE)
        with DEVICE.open("rb", buffering=0) as told:
            assert told.read(4) == bytes(4)  # microseconds that the machine bears now, of all who ask
