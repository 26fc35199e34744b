"""Two API processes on one store: what is sent to both is done once."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp
import pytest

from tests.acceptance.conftest import STORE_KEYS, first_key, start

pytestmark = pytest.mark.once

SUBMISSIONS = 1000
SETTINGS = {
    **STORE_KEYS,
    "ALERTD_API__PORT": "0",
    "ALERTD_AUDIENCE__LEAST_PEOPLE": "0",
    "ALERTD_CARRIERS__RELAY__KIND": "smtp",
    "ALERTD_CARRIERS__RELAY__HOST": "mail.nowhere.example",
    "ALERTD_CARRIERS__RELAY__SENDER": "a@b.example",
}


async def test_a_thousand_identical_submissions_at_once_are_one_alert(
    valkey: str, tmp_path: Path, alert: dict[str, Any]
):
    """With one Idempotency-Key: one makes the alert, the others are told of it, or that it is being made. Asked again, all tell
    the same alert: both processes, and one that was started since.
    """
    environment = {**SETTINGS, "ALERTD_STORE__URL": valkey, "ALERTD_STORE__DIRECTORY": str(tmp_path / "data")}
    alert["channels"] = ["mail"]
    del alert["external_id"]  # of which there could be one alert only, whatever the key
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        with (
            api(environment, tmp_path / "first") as (first, said),
            api(environment, tmp_path / "second") as (second, _),
        ):
            ana = await key_of(alert["author"]["subject"], session, first, said.readline())
            once = await asyncio.gather(
                *(submitted(session, url, ana, alert) for _ in range(SUBMISSIONS // 2) for url in (first, second))
            )
            again = [await submitted(session, url, ana, alert) for url in (first, second)]
        with api(environment, tmp_path / "third") as (third, _):
            again.append(await submitted(session, third, ana, alert))
            async with session.get(f"{third}/v1/alerts?limit=200", headers=ana) as answer:
                (kept,) = (await answer.json())["alerts"]
    assert again == [kept["id"]] * 3
    assert kept["id"] in once
    assert set(once) <= {kept["id"], "/problems/idempotency-in-progress"}


@contextmanager
def api(environment: dict[str, str], errors: Path) -> Iterator[tuple[str, IO[str]]]:
    """A running `alertd api`: its address, and what else it says. It must end in order."""
    process = start("api", environment, errors)
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process.stdout.readline().split()[-1], process.stdout
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
    assert code == 0, errors.read_text()


async def key_of(subject: str, session: aiohttp.ClientSession, url: str, administrator: str) -> dict[str, str]:
    """The headers of a person, made with the key that the first process told."""
    file = re.search(r"first sign-in are in (.+), which", administrator)
    assert file
    headers = {"Authorization": f"Bearer {first_key(file[1])}"}
    async with session.post(f"{url}/v1/keys", json={"subject": subject, "scopes": ["admin"]}, headers=headers) as made:
        return {"Authorization": f"Bearer {(await made.json())['token']}", "Idempotency-Key": "k-1"}


async def submitted(session: aiohttp.ClientSession, url: str, headers: dict[str, str], alert: dict[str, Any]) -> str:
    """The id of the alert that was made, or the type of the problem."""
    async with session.post(f"{url}/v1/alerts", json=alert, headers=headers) as answer:
        said = await answer.json()
        return str(said["id"] if answer.status == 202 else said["type"])
