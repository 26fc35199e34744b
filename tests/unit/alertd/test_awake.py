"""While much comes in, the processors of the machine are asked not to halt, and not a moment longer."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from alertd.awake import DEVICE, MANY, Awake


def is_open(path: Path) -> bool:
    """Whether this process has it open."""
    return any(os.path.realpath(one) == str(path) for one in Path("/proc/self/fd").iterdir())


def told(device: Path) -> bytes:
    with device.open("rb", buffering=0) as file:
        return file.read(4)


async def a_second(awake: Awake, *, taken: int) -> None:
    for _ in range(taken):
        awake.taken()
    await awake.look()


@pytest.fixture
def device(tmp_path: Path) -> Path:
    (tmp_path / "latency").touch()
    return tmp_path / "latency"


async def test_it_is_held_while_much_comes_in(device: Path):
    """And no longer; it is held again when there is much again."""
    with closing(Awake(device)) as awake:
        for taken, held in ((MANY - 1, False), (MANY, True), (MANY, True), (MANY - 1, False), (0, False), (MANY, True)):
            await a_second(awake, taken=taken)
            assert is_open(device) is held, taken
        assert told(device) == bytes(4)  # no wait is borne, in microseconds, as the interface has it


async def test_it_stays_open_and_is_not_opened_again(device: Path):
    with closing(Awake(device)) as awake:
        await a_second(awake, taken=MANY)
        device.write_bytes(b"")  # noqa: ASYNC240  whoever opens it writes
        await a_second(awake, taken=MANY)
        assert is_open(device)
        assert told(device) == b""


async def test_it_is_let_go_at_the_end(device: Path):
    with closing(Awake(device)) as awake:
        await a_second(awake, taken=MANY)
    assert not is_open(device)


async def test_where_it_is_not_allowed_nothing_is_done(tmp_path: Path):
    with closing(Awake(tmp_path / "none")) as awake:
        await a_second(awake, taken=MANY)
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("kernel_takes_it")
async def test_the_kernel_takes_it():
    with closing(Awake()) as awake:
        await a_second(awake, taken=MANY)
        assert is_open(DEVICE)
        assert told(DEVICE) == bytes(4)  # microseconds that the machine bears now, of all who ask
