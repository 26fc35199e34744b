"""The sandbox in a process of its own, as the demo and integrators use it."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest

from channels.login import LoginState
from channels.smtp_pool import SmtpPool
from channels.smtp_relay import RelaySettings

PROGRAM = "import asyncio, pathlib, sys; from channels.sandbox import run; asyncio.run(run(pathlib.Path(sys.argv[1])))"


@pytest.fixture
async def elsewhere(tmp_path):
    """What `sandbox.json` says of a sandbox in another process."""
    root, directory = Path(__file__).parents[2], tmp_path / "elsewhere"
    directory.mkdir()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, str(directory), cwd=root)
    ready = directory / "sandbox.json"
    try:
        async with asyncio.timeout(60):
            while not ready.exists():  # noqa: ASYNC110 a foreign process gives no event
                await asyncio.sleep(0.02)
        yield json.loads(ready.read_text())
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
async def http(elsewhere):
    context = ssl.create_default_context(cafile=elsewhere["push"]["ca_file"])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


@pytest.mark.parametrize("name", ["push", "sms", "smpp", "mail"])
async def test_another_process_can_send_tell_and_read(elsewhere, http, open_party, name):
    """Rules in, counts and every address out, over HTTP, for each carrier."""
    control = elsewhere["control"][name]
    party = await open_party(name, **elsewhere[name])
    recipients = party.recipients(600)
    gone = recipients[1].address
    rules = {"rules": [{"prefix": gone, "do": party.words["gone"]}]}
    async with http.post(f"{control}/control", json=rules) as answer:
        assert answer.status == 200
    outcomes = await party.send(recipients)
    assert [outcome.address_gone for outcome in outcomes[:3]] == [False, True, False]
    await party.send([recipients[0]])
    async with http.get(f"{control}/recorded") as answer:
        rows = [json.loads(line) for line in (await answer.text()).splitlines()]
    async with http.get(f"{control}/counts") as answer:
        counts = await answer.json()
    assert {row["address"] for row in rows} == {recipient.address for recipient in recipients} - {gone}
    assert [row["count"] for row in rows if row["address"] == recipients[0].address] == [2]
    assert counts == {"total": 600, "addresses": 599, "doubled": 1}


@pytest.mark.parametrize(
    "order",
    [
        {"rules": [{"prefix": "", "do": "dance"}]},
        {"rule": [{"prefix": "", "do": "throttle"}]},
        {"rules": [{"prefix": "", "do": "slow", "delay_s": "8"}]},
        {"rules": [{"prefix": 5, "do": "slow"}]},
        [],
    ],
    ids=str,
)
async def test_an_order_that_is_not_known_is_refused(elsewhere, http, order):
    """A typo would otherwise look like a carrier that behaves, and a delay that is no number like one that never answers."""
    for name in ("push", "sms", "smpp", "mail"):
        async with http.post(f"{elsewhere['control'][name]}/control", json=order) as answer:
            assert answer.status == 400


async def test_the_command_says_where_it_listens_and_its_relay_refuses_a_wrong_password(tmp_path):
    """So that a newcomer can try a wrong mail password, as with the other carriers."""
    arguments = ("-m", "alertd", "sandbox", "--directory", str(tmp_path), "--mail-password", "the right one")
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(60):
            line = (await process.stderr.readline()).decode()
        ends = json.loads((tmp_path / "sandbox.json").read_text())
        assert line == (
            f"The sandbox listens: push at {ends['push']['endpoint']}, webpush at {ends['webpush']['endpoint']}, "
            f"sms at {ends['sms']['endpoint']}, smpp at 127.0.0.1:{ends['smpp']['port']}, "
            f"mail at 127.0.0.1:{ends['mail']['port']}. {tmp_path}/sandbox.json has the settings.\n"
        )
        relay = {"host": "127.0.0.1", "port": ends["mail"]["port"], "ca_file": ends["mail"]["ca_file"]}
        states = []
        for password in ("the right one", "a wrong one"):
            pool = SmtpPool(RelaySettings(**relay, username="sandbox", password=password))
            pool.open()
            states.append((await pool.log_in()).state)
            await pool.close()
        assert states == [LoginState.WORKS, LoginState.LOGIN_REFUSED]
    finally:
        process.terminate()
        await process.wait()
