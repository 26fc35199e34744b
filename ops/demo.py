"""The demo: starts alertd with the sandbox, submits a missing-child alert as one person and approves it as another, shows its
progress, and checks by brute force that everyone inside the area was notified and no one outside. Then a stranger opens the
public page of the alert, signs up by mail, and gets the next alert. See `./ops/demo --help`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import shapely
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from alertd.runtime.sample_people import Person, people
from geofences.tiles import locate, position

CITY, CENTRE, SURROUNDINGS_KM = "41091", (-5.9756, 37.3919), 15
CHANNELS = ("push", "webpush", "sms", "mail")
START_S = 900  # loading a million sample people takes most of it
STRANGER = "stranger@people.example"
FORM_S = 2.5  # alertd refuses a form that was filled in within two seconds
WAIT_S = 60  # for one mail
console = Console(stderr=True)


class DemoError(Exception):
    """Ends the demo with a message for the user."""


def alert(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A missing-child alert for a city and its surroundings, with these members replaced. The child does not exist."""
    now = datetime.now(UTC).replace(microsecond=0)
    earlier, later = (now - timedelta(hours=3)).isoformat(), (now + timedelta(hours=14)).isoformat()
    return {
        "kind": "missing-child",
        "level": "child-alert",
        "status": "Actual",
        "expires": later,
        "external_id": f"demo-{number}",
        "publish": {"page": True},
        "author": {"subject": "ana@centre.example", "on_behalf_of": "Policía Nacional"},
        "case": {
            "number": f"DEMO-2026-{number}",
            "verification": {
                "authority": "Policía Nacional",
                "reference": "DEMO",
                "criteria": ["minor", "high-risk", "useful-information"],
                "custody_checked": True,
                "protected_identity_checked": True,
                "publication_risk": {"by": "m.ruiz@centre.example", "at": earlier},
            },
            "best_interests": {"by": "m.ruiz@centre.example", "at": earlier},
            "children": [
                {
                    "id": "c1",
                    "name": {"public": "Lucía P.", "scripts": {"ar": "لوسيا"}},
                    "age": {"years": 7},
                    "sex": "female",
                    "height_cm": [118, 125],
                    "hair": "brown",
                    "eyes": "green",
                    "clothing": {"es": "abrigo rojo", "en": "red coat", "fr": "manteau rouge", "ar": "معطف أحمر"},
                }
            ],
            "last_seen": {
                "at": earlier,
                "time_zone": "Europe/Madrid",
                "place": {"es": "estación de Santa Justa", "en": "Santa Justa station"},
                "point": list(CENTRE),
                "public_radius_km": 2,
            },
            "contact": [{"dial": "116000", "countries": ["ES"]}, {"url": "https://centre.example/tell"}],
        },
        "target": {"regions": [CITY], "circles": [{"center": list(CENTRE), "radius_km": SURROUNDINGS_KM}]},
        "channels": list(CHANNELS),
    } | changes


class Client:
    """API client of one person."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str) -> None:
        self._session, self._base = session, base
        self._headers = {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        async with self._session.request(method, self._base + path, json=body, headers=self._headers) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            if response.status >= 400:
                raise DemoError(
                    f"{method} {path}: {response.status} {json.dumps(answer, indent=1, ensure_ascii=False)}"
                )
            return answer

    async def progress(self, alert_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yields the alert's progress until it is over."""
        headers = {**self._headers, "Accept": "text/event-stream"}
        url = f"{self._base}/v1/alerts/{alert_id}/progress"
        async with self._session.get(url, headers=headers, timeout=aiohttp.ClientTimeout(total=None)) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])


@asynccontextmanager
async def served(data: Path, arguments: argparse.Namespace) -> AsyncIterator[tuple[str, str, str, int, str]]:
    """Runs alertd. Yields its URL, the administrator's key and one-time sign-in link, its process id, and its metrics URL."""
    environment = {**os.environ, "ALERTD_STORE__DIRECTORY": str(data), "ALERTD_API__PORT": str(arguments.port)}
    environment.setdefault("ALERTD_METRICS__LISTEN", "127.0.0.1:0")  # another installation may run on this machine
    environment |= {"ALERTD_LOG_LEVEL": "warning", "ALERTD_PUBLIC__SIGN_UP": "true"}
    command = [sys.executable, "-m", "alertd", "serve", "--sandbox", "--people", str(arguments.subscribers)]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    said = f"Starting alertd with {arguments.subscribers:,} sample subscribers…"
    if not console.is_terminal:
        console.print(said)  # no spinner: say at least that it starts
    try:
        with console.status(said):
            url, token, sign_in, metrics = await asyncio.wait_for(_greeting(process), START_S)
        yield url, token, sign_in, process.pid, metrics
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _greeting(process: asyncio.subprocess.Process) -> tuple[str, str, str, str]:
    assert process.stdout is not None
    url = token = sign_in = metrics = ""
    while not (url and token and sign_in and metrics):
        line = (await process.stdout.readline()).decode()
        if not line:
            raise DemoError(
                "alertd did not start; see its messages above. If the port is in use, choose another: --port P, or 0 for any free port."
            )
        if found := re.search(r"listens on (\S+)", line):
            url = found[1]
        if found := re.search(r"first sign-in are in (.+), which", line):
            token, sign_in = _first_ways_in(Path(found[1]))
        if found := re.search(r"Metrics are at (\S+)/metrics and", line):
            metrics = found[1]
    return url, token, sign_in, metrics


def _first_ways_in(file: Path) -> tuple[str, str]:
    """Reads the administrator's key and one-time sign-in link from the file of the first start."""
    text = file.read_text(encoding="utf-8")
    key, address = re.search(r"ALERTD_KEY=(\S+)", text), re.search(r"(\S+#/enrol/\S+)", text)
    if key is None or address is None:
        raise DemoError(f"{file} has no key or no sign-in link")
    return key[1], address[1]


async def person(admin: Client, session: aiohttp.ClientSession, base: str, subject: str, *scopes: str) -> Client:
    """Makes a key for a person. Returns their client."""
    made = await admin.call("POST", "/v1/keys", {"subject": subject, "scopes": list(scopes)})
    return Client(session, base, made["token"])


async def watch(client: Client, alert_id: str) -> dict[str, Any]:
    """Shows the progress by channel until the alert is over. Returns the last progress."""
    columns = (TextColumn("{task.description:>5}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    last: dict[str, Any] = {}
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}
        async for last in client.progress(alert_id):
            for channel, counts in last["channels"].items():
                settled = counts["targeted"] - counts["queued"] - counts["in_flight"]
                if channel not in tasks:
                    tasks[channel] = bars.add_task(channel)
                bars.update(tasks[channel], total=counts["targeted"], completed=settled)
    return last


class Sandbox:
    """What the sandbox's carriers received."""

    def __init__(self, session: aiohttp.ClientSession, data: Path) -> None:
        ends = json.loads((data / "sandbox" / "sandbox.json").read_text(encoding="utf-8"))
        self._session = session
        self._control: dict[str, str] = ends["control"]
        self._trust = ssl.create_default_context(cafile=ends["push"]["ca_file"])

    async def _lines(self, channel: str, what: str) -> list[dict[str, Any]]:
        async with self._session.get(f"{self._control[channel]}/{what}", ssl=self._trust) as response:
            if response.status == 404:
                return []
            return [json.loads(line) for line in (await response.read()).splitlines()]

    async def recorded(self) -> dict[str, dict[str, int]]:
        """Returns the number of messages by channel and address."""
        return {
            channel: {entry["address"]: entry["count"] for entry in await self._lines(channel, "recorded")}
            for channel in CHANNELS
        }

    async def latest_mail(self) -> dict[str, Any]:
        """Returns mailbox, subject and text of the latest mail, {} before the first."""
        return next(iter(await self._lines("mail", "mail")), {})

    async def mail(self, to: str, contains: str) -> str:
        """Waits for a mail to this mailbox with `contains` in its text. Returns the text. Raises DemoError after `WAIT_S`."""
        for _ in range(WAIT_S * 10):
            for mail in await self._lines("mail", f"mail?to={to}"):
                if contains in mail["text"]:
                    return str(mail["text"])
            await asyncio.sleep(0.1)
        raise DemoError(f"No mail with {contains} came to {to} within {WAIT_S} s.")


def check(sample: list[Person], area: dict[str, Any], got: dict[str, dict[str, int]]) -> dict[str, int]:
    """Checks every person by brute force. Counts people notified outside, missed inside, and notified twice."""
    geometry = shapely.from_geojson(json.dumps(area))
    tile, x, y = locate([p.lon for p in sample], [p.lat for p in sample])
    inside = shapely.intersects_xy(geometry, *position(tile, x, y))  # positions are stored to 0.15 m
    wanted = {c: {getattr(p, c) for p, is_in in zip(sample, inside, strict=True) if is_in} - {None} for c in CHANNELS}
    return {
        "inside": int(np.count_nonzero(inside)),
        "outside": sum(len(got[channel].keys() - wanted[channel]) for channel in CHANNELS),
        "missed": sum(len(wanted[channel] - got[channel].keys()) for channel in CHANNELS),
        "twice": sum(count > 1 for channel in CHANNELS for count in got[channel].values()),
    }


def about(people: int | str) -> str:
    """An estimate in words."""
    return f"about {people:,}" if isinstance(people, int) else f"fewer than {people.removeprefix('<')}"


def summary(subscribers: int, found: dict[str, int], last: dict[str, Any]) -> dict[str, Any]:
    """Returns the last line of `--once`."""
    states = next(iter(last["channels"].values()))
    by_state = {state: {c: counts[state] for c, counts in last["channels"].items()} for state in states}
    return {
        "subscribers": subscribers,
        **found,
        "state": last["state"],
        "first_send_s": last["first_send_s"],
        "last_send_s": last["last_send_s"],
        **by_state,
    }


async def fetched(session: aiohttp.ClientSession, url: str, fields: dict[str, str] | None = None) -> str:
    """Opens a public page as a browser without JavaScript does, or posts a form to it. Returns the page. Raises DemoError."""
    method = "GET" if fields is None else "POST"
    async with session.request(method, url, data=fields, headers={"Accept-Language": "en"}) as response:
        if response.status != 200:
            raise DemoError(f"{method} {url}: {response.status}")
        return await response.text()


def found_in(text: str, pattern: str) -> str:
    """Returns the first group of `pattern` in a page or a mail. Raises DemoError if the text has none."""
    found = re.search(pattern, text)
    if found is None:
        raise DemoError(f"Nothing like {pattern} in:\n{text}")
    return found[1]


async def sign_up(session: aiohttp.ClientSession, base: str, page: str, sandbox: Sandbox) -> None:
    """A stranger opens the page of an alert, signs up by mail for the city, and confirms. Raises DemoError."""
    link = found_in(await fetched(session, page), r'href="(/subscribe\?[^"]*)"')
    form = await fetched(session, base + link)
    await asyncio.sleep(FORM_S)
    proof = found_in(form, r'name="form" value="([^"]+)"')
    await fetched(session, f"{base}/subscribe", {"region": CITY, "mailbox": STRANGER, "consent": "1", "form": proof})
    confirm = base + found_in(await sandbox.mail(STRANGER, "/subscribe/confirm/"), r"(/subscribe/confirm/[\w-]+)")
    await fetched(session, confirm)
    await fetched(session, confirm, {})


async def stranger(
    session: aiohttp.ClientSession, base: str, people: tuple[Client, Client], page: str, sandbox: Sandbox
) -> float:
    """A stranger signs up on the public page, and gets the next alert: of half a kilometre in the city, by mail. Returns the seconds
    from its approval to the mail. Raises DemoError.
    """
    author, approver = people
    await sign_up(session, base, page, sandbox)
    console.print(
        f"A stranger opened the alert's page, signed up with {STRANGER} and confirmed by the link in the mail."
    )
    area = {"circles": [{"center": list(CENTRE), "radius_km": 0.5}]}
    submitted = await author.call("POST", "/v1/alerts", alert(2, target=area, channels=["mail"]))
    seen = {"people": submitted["audience"]["people"], "rev": submitted["rev"]}
    await approver.call("POST", f"/v1/alerts/{submitted['id']}/approve", seen)
    began = time.monotonic()
    shown = (await author.call("GET", f"/v1/alerts/{submitted['id']}"))["page"]
    await sandbox.mail(STRANGER, shown)
    took_s = time.monotonic() - began
    await fetched(session, shown)
    console.print(f"The next alert was in the stranger's mailbox after {took_s:.2f} s, and its link opens the page.")
    return took_s


async def show_links(sandbox: Sandbox, base: str) -> None:
    """Prints the links of the mails that sign-up sends, as they come. Never ends."""
    shown = ""
    while True:
        mail = await sandbox.latest_mail()
        found = re.search(r"/(?:subscribe/confirm|me)/[\w-]+", mail.get("text", ""))
        if found and found[0] != shown:
            shown = found[0]
            console.print(f"A mail came to {mail['to']}. Its link: {base}{shown}", soft_wrap=True)
        await asyncio.sleep(0.5)


async def show(arguments: argparse.Namespace, data: Path) -> int:
    me = asyncio.current_task()
    assert me is not None
    for ending in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal must not leave a server behind
        asyncio.get_running_loop().add_signal_handler(ending, me.cancel)
    async with served(data, arguments) as (base, token, sign_in, _, metrics), aiohttp.ClientSession() as session:
        admin = Client(session, base, token)
        ana = await person(admin, session, base, "ana@centre.example", "alerts:write", "alerts:read")
        bea = await person(admin, session, base, "bea@centre.example", "alerts:approve", "alerts:read")
        submitted = await ana.call("POST", "/v1/alerts", alert())
        reach = submitted["audience"]
        console.print(
            f"Ana submitted alert [bold]{submitted['id']}[/] for Sevilla and {SURROUNDINGS_KM} km around it: "
            f"{submitted['area']['km2']:,.0f} km², {about(reach['people'])} people. It is {submitted['state']}."
        )
        await bea.call(
            "POST", f"/v1/alerts/{submitted['id']}/approve", {"people": reach["people"], "rev": submitted["rev"]}
        )
        console.print("Bea approved it.")
        last = await watch(bea, submitted["id"])
        preview = await ana.call("POST", "/v1/targets/preview", {"target": alert()["target"]})
        sandbox = Sandbox(session, data)
        found = check(list(people(arguments.subscribers)), preview["geometry"], await sandbox.recorded())
        console.print(
            f"Carriers accepted the first message after {last['first_send_s']:.2f} s, the last after {last['last_send_s']:.2f} s. "
            f"Brute-force check: {found['outside']} notified outside, {found['missed']} missed inside, {found['twice']} notified twice."
        )
        page = (await ana.call("GET", f"/v1/alerts/{submitted['id']}"))["page"]
        mailed_s = await stranger(session, base, (ana, bea), page, sandbox)
        if arguments.once:
            print(json.dumps(summary(arguments.subscribers, found, last) | {"stranger_mailed_s": round(mailed_s, 2)}))
            wrong = found["outside"] or found["missed"] or found["twice"]
            return 0 if not wrong and last["state"] == "sent" else 1
        console.print(f"The page that every message links to: {page}", soft_wrap=True)
        console.print(f"Sign-up for the public: {base}/subscribe and {base}/subscribe/device")
        console.print(f"Console, one-time link to register your passkey: {sign_in}", soft_wrap=True)
        console.print(f"Console, sign in with the key below: {base}/console")
        console.print(f"API documentation: {base}/docs\nMetrics: {metrics}/metrics and {metrics}/metrics/fleet")
        console.print(f"Administrator's key: {token}\nStop with Ctrl-C.")
        await show_links(sandbox, base)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="ops/demo", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="end after the alert, with one JSON object as the last line"
    )
    parser.add_argument("--subscribers", type=int, default=100_000, metavar="N")
    parser.add_argument("--port", type=int, default=8080, metavar="P", help="0: any free port")
    arguments = parser.parse_args()
    data = Path(tempfile.mkdtemp(prefix="alertd-demo-"))
    try:
        return asyncio.run(show(arguments, data))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0 if not arguments.once else 1
    except DemoError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    finally:
        shutil.rmtree(data, ignore_errors=True)
        data.with_name(f"{data.name}.tombstones").unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
