"""A carrier that lets nobody in is known from the start, and every answer names the cause and the setting to change."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alertd.commands.installation import carrier_logins
from alertd.config.carriers import AnyCarrier, FcmCarrier, SmppCarrier, SmtpCarrier, TwilioCarrier, WebPushCarrier
from alertd.config.settings import Settings
from alertd.model.registration import Registration
from alertd.rendering import Renderer
from alertd.runtime.assembly import opened
from alertd.runtime.carrier_factory import carrier_of
from alertd.runtime.worker import worker_of
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.carriers.logins import FIRST_LOGIN_WAIT_S, REPEAT_S, WORKS_WAIT_S, LoginWatch
from alertd.service.carriers.states import Cause
from alertd.service.container import Container
from alertd.store.carriers.limits import FAILURES
from alertd.store.carriers.logins import LIFE_MS
from alertd.store.carriers.tests import CarrierTest, CarrierTestQueue
from alertd.store.engine import keys
from alertd.store.engine.codec import Codec
from channels.login import WORKS, Login, LoginState
from channels.mail import MailChannel
from channels.mail_message import MailIdentity
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from channels.smtp_relay import RelaySettings
from geofences.regions import Library
from tests.clocks import Later
from tests.integration.acts import api_of
from tests.ports import free_port
from tests.waiting import until

SECRET = "a-wrong-password-7"
REFUSED = Login(LoginState.LOGIN_REFUSED, "a:1", "no")
OWN = {"push": "token-of-mine", "sms": "+34600000001", "mail": "me@centre.example"}


def mail(sandbox: Sandbox, **changes: Any) -> SmtpCarrier:
    ends = sandbox.endpoints["mail"]
    made = {"kind": "smtp", **ends, "sender": "Alerts <alerts@centre.example>", "user": "alertd", "password": SECRET}
    return SmtpCarrier(**made | changes)


def centre(sandbox: Sandbox, **changes: Any) -> SmppCarrier:
    ends = {name: value for name, value in sandbox.endpoints["smpp"].items() if name != "secret"}
    return SmppCarrier(**{"kind": "smpp", **ends, "password": SECRET} | changes)


def twilio(sandbox: Sandbox, **changes: Any) -> TwilioCarrier:
    ends = {name: value for name, value in sandbox.endpoints["sms"].items() if name != "secret"}
    return TwilioCarrier(**{"kind": "twilio", **ends, "password": SECRET} | changes)


def fcm(sandbox: Sandbox, **changes: Any) -> FcmCarrier:
    return FcmCarrier(**{"kind": "fcm", **sandbox.endpoints["push"]} | changes)


@pytest.fixture
def running(
    redis: Redis, codec: Codec, library: Library, renderer: Renderer, aiohttp_client: Any
) -> Callable[..., Any]:
    """A service with these carriers and a worker: what its API says."""

    @asynccontextmanager
    async def run(**carriers: AnyCarrier) -> AsyncIterator[Service]:
        async with opened(Settings(carriers=carriers), redis, codec, library=library, renderer=renderer) as parts:
            worker = worker_of(parts)
            client = await aiohttp_client(api_of(parts))
            _, token = await parts.access.create(org="default", subject="ana", scopes=frozenset({"admin"}))
            task = asyncio.create_task(worker.run())
            try:
                yield Service(parts, client, {"Authorization": f"Bearer {token}"})
            finally:
                worker.stop()
                await task

    return run


class Service:
    """What a person sees of it."""

    def __init__(self, parts: Container, client: Any, headers: dict[str, str]) -> None:
        self.parts, self._client, self._headers = parts, client, headers

    async def carrier(self, name: str) -> dict[str, Any]:
        """As the API lists it."""
        answer = await self._client.get("/v1/carriers", headers=self._headers)
        return next(one for one in (await answer.json())["carriers"] if one["name"] == name)

    async def known(self, name: str) -> dict[str, Any]:
        """The same, once a worker has logged in or failed to."""
        await until(lambda: self._is_known(name))
        return await self.carrier(name)

    async def test(self, name: str, to: str) -> tuple[int, dict[str, Any]]:
        """What the API answers to a test."""
        answer = await self._client.post(f"/v1/carriers/{name}/test", json={"to": to}, headers=self._headers)
        return answer.status, await answer.json()

    async def metrics(self) -> str:
        return (await self.parts.fleet.metrics()).work.decode()

    async def _is_known(self, name: str) -> bool:
        return (await self.carrier(name))["state"] not in {"not_known", "no_worker"}


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port that refuses connections: bound, and not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
async def silent() -> AsyncIterator[int]:
    """The port of a server that takes connections and says nothing."""

    async def wait_for_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(wait_for_more, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def full() -> AsyncIterator[int]:
    """The port of a relay that has all the connections that it takes."""

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"421 4.7.0 too many connections\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def plain_http() -> AsyncIterator[int]:
    """The port of a server that speaks HTTP without TLS."""
    runner = web.AppRunner(web.Application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", free_port())
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(
    ("make", "said", "settings"),
    [
        (mail, "535 5.7.8 authentication failed", ["user", "password"]),
        (centre, "invalid password (0x0E)", ["system_id", "password", "system_type", "connections"]),
        (twilio, "HTTP 401: refused by the sandbox", ["account", "password"]),
    ],
)
async def test_a_carrier_with_a_wrong_password_is_not_shown_as_working(
    running: Any, sandbox: Sandbox, make: Any, said: str, settings: list[str]
):
    """From the start, before any message, with what the carrier said and the settings to check; and in the metrics and the log."""
    sandbox.mail.account = ("alertd", "the right one")
    with capture_logs() as logs:
        async with running(one=make(sandbox)) as service:
            shown = await service.known("one")
            metrics = await service.metrics()
            status, tested = await service.test("one", OWN[shown["channel"]])
    cause = shown["cause"]
    assert (shown["state"], cause["said"]) == ("login_refused", said)
    assert cause["settings"] == [f"carriers.one.{name}" for name in settings]
    assert cause["sentence"].startswith(
        f"{cause['server']} refused the login: {said}. Check carriers.one.{settings[0]}"
    )
    assert f'alertd_carrier_works{{carrier="one",channel="{shown["channel"]}",state="login_refused"}} 0.0' in metrics
    assert (status, tested["answer"], tested["cause"]) == (200, "retry", cause)
    told = [one for one in logs if one["event"] == "carrier.login_failed"]
    assert [(one["carrier"], one["state"]) for one in told] == [("one", "login_refused")]
    assert SECRET not in json.dumps([shown, tested, logs], default=str)


async def test_a_carrier_that_works_is_known_before_the_first_message(running: Any, sandbox: Sandbox):
    """Each logs in by itself when the worker starts, and nothing is sent."""
    carriers = {"push": fcm(sandbox), "text": twilio(sandbox, password="sandbox"), "relay": mail(sandbox)}
    async with running(**carriers, centre=centre(sandbox, password="sandbox")) as service:
        for name in (*carriers, "centre"):
            shown = await service.known(name)
            assert (shown["state"], shown["cause"]) == ("works", None), name
            assert shown["since"]
    assert sandbox.mail.recorded.total + sandbox.sms.recorded.total + sandbox.push.recorded.total == 0


async def test_a_carrier_that_lets_in_again_is_shown_as_working(running: Any, sandbox: Sandbox):
    """The first success clears the cause."""
    sandbox.mail.account = ("alertd", "the right one")
    async with running(relay=mail(sandbox)) as service:
        assert (await service.known("relay"))["state"] == "login_refused"
        sandbox.mail.account = None
        await until(lambda: _works(service, "relay"))


async def _works(service: Service, name: str) -> bool:
    return (await service.carrier(name))["state"] == "works"


async def test_a_relay_that_is_down_is_named_with_host_port_and_cause(running: Any, sandbox: Sandbox, nobody: int):
    """In the list and in the answer of a test."""
    async with running(relay=mail(sandbox, port=nobody)) as service:
        shown = await service.known("relay")
        status, tested = await service.test("relay", OWN["mail"])
    sentence = (
        f"127.0.0.1:{nobody} refused the connection: no program listens there. "
        "Check carriers.relay.host and carriers.relay.port."
    )
    assert (shown["state"], shown["cause"]["sentence"]) == ("connection_refused", sentence)
    assert (status, tested["cause"]["sentence"]) == (200, sentence)


@pytest.mark.parametrize(("longest_s", "server", "said"), [(30.0, "127.0.0.1:{port}", "0.3 s"), (0.1, "", "0.1 s")])
async def test_a_test_by_a_relay_that_says_nothing_names_the_time_out(
    parts: Container, silent: int, longest_s: float, server: str, said: str
):
    """As with tls = "starttls" at a port of tls = "tls". No login ever worked there, so the cause says nothing of one that works."""
    relay = RelaySettings(host="127.0.0.1", port=silent, connect_timeout_s=0.3)
    channel = MailChannel(
        relay, MailIdentity(sender="a@b.example", domain="b.example", unsubscribe_base="https://b.example")
    )
    carriers = Carriers([Carrier(name="relay", number=1, channel=channel, kind="smtp")])
    watch = LoginWatch(
        carriers=carriers, logins=parts.logins, limits=parts.limits, clock=parts.clock, longest_s=longest_s
    )
    tests, queue = replace(parts.carrier_tests, carriers=carriers), CarrierTestQueue(parts.db)
    until_ms = parts.clock.now_ms() + 60_000
    await channel.open()
    await queue.add(CarrierTest(id="one", carrier="relay", to=OWN["mail"], language="en", until=until_ms))
    await tests.round(lambda _: True, watch.log_in, lambda _: None)
    await until(lambda: queue.answered("one"))
    answered = await queue.answered("one")
    assert answered is not None
    assert (answered.code, answered.server, answered.said) == ("timed_out", server.format(port=silent), said)
    assert answered.settings == ("carriers.relay.host", "carriers.relay.port", "carriers.relay.tls")
    assert await state_of(parts) is LoginState.TIMED_OUT
    await tests.close()
    await channel.close()


async def test_what_a_test_finds_of_the_login_is_shown_at_once(running: Any, sandbox: Sandbox):
    """A worker that works logs in every five minutes. The list does not wait for that once a test has found that the login is refused."""
    async with running(relay=mail(sandbox)) as service:
        assert (await service.known("relay"))["state"] == "works"
        sandbox.mail.account = ("alertd", "the right one")
        status, tested = await service.test("relay", OWN["mail"])
        shown = await service.carrier("relay")
    assert (status, tested["cause"]["code"]) == (200, "login_refused")
    assert (shown["state"], shown["cause"]) == ("login_refused", tested["cause"])


@pytest.mark.parametrize("make", [fcm, twilio])
async def test_https_to_a_port_of_plain_http_is_said_so(running: Any, sandbox: Sandbox, plain_http: int, make: Any):
    """With the setting that holds the wrong URL."""
    async with running(one=make(sandbox, endpoint=f"https://127.0.0.1:{plain_http}")) as service:
        shown = await service.known("one")
        _, tested = await service.test("one", OWN[shown["channel"]])
    assert shown["state"] == tested["cause"]["code"] == "plain_http"
    assert shown["cause"]["server"] == f"127.0.0.1:{plain_http}"
    assert shown["cause"]["settings"] == ["carriers.one.endpoint"]
    assert "speaks plain HTTP, not HTTPS" in tested["cause"]["sentence"]


@pytest.mark.parametrize(
    ("do", "code", "said"),
    [
        ("blocked", "blocked", "receiver rejects (0x66)"),
        ("throttle", "throttled", "throttled (0x58)"),
        ("unexplained", "unavailable", "status (0x4FE)"),
    ],
)
async def test_a_test_that_the_centre_refuses_names_its_status(
    running: Any, sandbox: Sandbox, do: str, code: str, said: str
):
    """The login works, so the status is all that says why."""
    sandbox.smpp.script.set(Rule("", do))
    async with running(centre=centre(sandbox, password="sandbox")) as service:
        assert (await service.known("centre"))["state"] == "works"
        status, tested = await service.test("centre", OWN["sms"])
    assert (status, tested["cause"]["code"], tested["cause"]["said"]) == (200, code, said)
    assert said in tested["cause"]["sentence"]


async def test_a_test_of_web_push_says_what_is_missing(running: Any, sandbox: Sandbox):
    """No such carrier; a subscriber who is none, no tester, or without a browser; with one, the test arrives there."""
    async with running(browsers=WebPushCarrier(kind="webpush", **sandbox.endpoints["webpush"])) as service:
        assert (await service.known("browsers"))["state"] == "works"
        status, told = await service.test("web", "me")
        assert (status, told["detail"]) == (404, "There is no carrier web. There are browsers.")
        for tester, addresses, says in (
            (None, [], "No subscriber has this id."),
            (False, [], "This subscriber is no tester."),
            (True, [], "This subscriber has no web push address."),
        ):
            if tester is not None:
                await register(service.parts, tester=tester, addresses=addresses)
            status, told = await service.test("browsers", "me")
            assert (status, told["errors"][0]["pointer"]) == (400, "/to")
            assert told["errors"][0]["detail"].startswith(says)
        browser = {
            "channel": "webpush",
            "subscription": {
                "endpoint": f"https://{sandbox.endpoints['browser']['host']}/push/me",
                "keys": sandbox.endpoints["browser"]["keys"],
            },
        }
        await register(service.parts, tester=True, addresses=[browser])
        status, told = await service.test("browsers", "me")
        assert (status, told["answer"], told["cause"]) == (200, "accepted", None)


async def register(parts: Container, *, tester: bool, addresses: list[dict[str, Any]]) -> None:
    document = {
        "languages": ["en"], "kinds": ["missing-child"], "places": {"home": {"point": [-5.97, 37.39]}},
        "addresses": addresses or [{"channel": "mail", "mailbox": "me@centre.example"}], "tester": tester,
        "consent": {"at": "2026-01-10T12:00:00Z", "source": "web form"},
    }  # fmt: skip
    await parts.registry.put("me", Registration.model_validate_json(json.dumps(document)))


@pytest.mark.parametrize(
    ("changes", "state", "said"),
    [
        ({}, LoginState.WORKS, ""),
        ({"rate": 7.0}, LoginState.WORKS, ""),
        ({"password": SECRET}, LoginState.LOGIN_REFUSED, "invalid password (0x0E)"),
        ({"system_type": "other"}, LoginState.LOGIN_REFUSED, "bind failed (0x0D)"),
    ],
)
async def test_the_check_takes_the_workers_finding_for_the_same_login_alone(
    running: Any,
    sandbox: Sandbox,
    valkey_socket: str,
    codec: Codec,
    changes: dict[str, Any],
    state: LoginState,
    said: str,
):
    """A file may have another host, account or password than the workers started with. Then the check binds itself, beside them: this centre
    lets in one.
    """
    async with running(centre=centre(sandbox, password="sandbox")) as service:
        assert (await service.known("centre"))["state"] == "works"
        settings = Settings(carriers={"centre": centre(sandbox, **{"password": "sandbox"} | changes)})
        sandbox.smpp.habits.binds = 1
        carriers = {"centre": carrier_of("centre", settings.carriers["centre"], settings)}
        found = await carrier_logins.found(carriers, (f"unix://{valkey_socket}", codec))
        assert (found["centre"].state, found["centre"].said) == (state, said)


async def test_the_check_of_a_relay_whose_connections_the_workers_hold_is_their_finding(
    running: Any, sandbox: Sandbox, valkey_socket: str, codec: Codec, full: int
):
    """The relay refuses one connection more with 421. It works, and the check says so."""
    async with running(relay=mail(sandbox)) as service:
        await until(lambda: _works(service, "relay"))
        settings = Settings(carriers={"relay": mail(sandbox)})
        relay = carrier_of("relay", settings.carriers["relay"], settings)
        identity = MailIdentity(sender="a@b.example", domain="b.example", unsubscribe_base="https://b.example")
        busy = replace(
            relay, channel=MailChannel(RelaySettings(host="127.0.0.1", port=full, security="plain"), identity)
        )
        assert (await carrier_logins.found({"relay": busy}, None))["relay"].state is LoginState.BUSY
        found = await carrier_logins.found({"relay": busy}, (f"unix://{valkey_socket}", codec))
        assert found["relay"].state is LoginState.WORKS


async def test_a_test_that_no_worker_takes_names_the_worker(parts: Container, aiohttp_client: Any):
    """Or why workers cannot log in, where that is known."""
    client = await aiohttp_client(api_of(parts))
    _, token = await parts.access.create(org="default", subject="ana", scopes=frozenset({"admin"}))
    service = Service(parts, client, {"Authorization": f"Bearer {token}"})
    assert (await service.carrier("relay"))["state"] == "no_worker"
    assert (await service.carrier("relay"))["cause"]["sentence"].startswith("No worker sends by this carrier.")


async def test_a_carrier_that_asked_to_wait_is_not_shown_as_working(running: Any, sandbox: Sandbox):
    """It accepted the login. The cause says how long alertd has to wait."""
    async with running(relay=mail(sandbox)) as service:
        await until(lambda: _works(service, "relay"))
        await service.parts.limits.pause("relay", 600)
        shown = await service.carrier("relay")
        assert (shown["state"], shown["breaker_open"]) == ("waits", False)
        assert re.fullmatch(
            r"The carrier asked alertd to wait; (59\d|600) s are left. Check carriers.relay.rate.",
            shown["cause"]["sentence"],
        )
        await service.parts.limits.resume("relay")
        assert await _works(service, "relay")


async def state_of(parts: Container) -> LoginState | None:
    record = (await parts.logins.get(["relay"]))["relay"]
    return record and record.login.state


async def test_a_worker_that_cannot_log_in_does_not_hide_one_that_can(parts: Container):
    """The fault is its machine's, or the carrier allows so many binds. Once the other one fails too, both do."""
    for worker, login, state in (
        ("one", REFUSED, LoginState.LOGIN_REFUSED),
        ("two", WORKS, LoginState.WORKS),
        ("one", REFUSED, LoginState.WORKS),
        ("two", REFUSED, LoginState.LOGIN_REFUSED),
    ):
        await parts.logins.put("relay", worker, login)
        assert await state_of(parts) is state


async def test_workers_that_log_in_at_once_show_a_carrier_that_works(parts: Container):
    """Whichever of them stores its finding last."""
    for count in range(20):
        puts = [parts.logins.put(f"c{count}", worker, login) for worker, login in (("a", WORKS), ("b", REFUSED))]
        await asyncio.gather(*puts)
    records = await parts.logins.get([f"c{count}" for count in range(20)])
    assert {record and record.login.state for record in records.values()} == {LoginState.WORKS}


async def test_a_finding_of_a_dead_worker_goes_away(parts: Container):
    """The worker that is left stores what it finds, and removes it."""
    await parts.logins.put("relay", "dead", WORKS)
    parts.db.skew_ms += LIFE_MS // 2
    await parts.logins.put("relay", "alive", REFUSED)
    assert await state_of(parts) is LoginState.WORKS
    parts.db.skew_ms += LIFE_MS // 2 + 1_000
    [record] = await parts.logins.put("relay", "alive", REFUSED)
    assert record.worker == "alive"
    assert await state_of(parts) is LoginState.LOGIN_REFUSED


async def test_a_worker_that_ends_deletes_its_findings(redis: Redis, codec: Codec, library: Library, sandbox: Sandbox):
    """The next one may have another password, and its carrier must not be shown as working until it has logged in."""
    async with opened(Settings(carriers={"relay": mail(sandbox)}), redis, codec, library=library) as parts:
        clock = Later()
        watch = watch_of(parts, clock)
        await logins_after(watch, clock, sandbox, 0)
        await parts.logins.put("relay", "another", REFUSED)
        assert await state_of(parts) is LoginState.WORKS
        await watch.close()
        assert await state_of(parts) is LoginState.LOGIN_REFUSED  # what the other one found stays


async def test_a_failed_login_is_logged_once_no_other_worker_can_log_in(
    redis: Redis, codec: Codec, library: Library, sandbox: Sandbox
):
    """A worker that was killed leaves a finding for a minute. It delays the log line, and does not prevent it."""
    sandbox.mail.account, clock = ("alertd", "the right one"), Later()
    async with opened(Settings(carriers={"relay": mail(sandbox)}), redis, codec, library=library) as parts:
        watch = watch_of(parts, clock)
        await parts.logins.put("relay", "killed", WORKS)
        with capture_logs() as lines:
            await logins_after(watch, clock, sandbox, 0)
            assert [line for line in lines if line["event"] == "carrier.login_failed"] == []
            parts.db.skew_ms += LIFE_MS + 1_000
            for _ in range(3):
                await logins_after(watch, clock, sandbox, REPEAT_S)
        assert [line["carrier"] for line in lines if line["event"] == "carrier.login_failed"] == ["relay"]
        await watch.close()


async def test_a_state_of_a_newer_version_is_not_known(running: Any, sandbox: Sandbox):
    """While workers are being upgraded, the list and the metrics still answer."""
    async with running(text=twilio(sandbox)) as service:
        await service.known("text")
        value = await service.parts.db.execute("HGETALL", keys.logins("text"))
        newer = {worker: found.replace(b" login_refused ", b" certificate_stale ") for worker, found in value.items()}
        await service.parts.db.execute("HSET", keys.logins("text"), *(one for pair in newer.items() for one in pair))
        shown = await service.carrier("text")
        assert (shown["state"], shown["cause"]) == ("not_known", None)
        assert 'state="not_known"' in await service.metrics()


async def test_the_cause_of_a_newer_version_has_a_sentence():
    """A worker of a newer version may have sent a test and named a cause that this version does not know."""
    assert Cause("quota_used_up", "a:1", "no more today").sentence == "a:1 reports quota_used_up: no more today."


async def test_a_worker_logs_in_again_soon_after_another_begins_to_fail(
    redis: Redis, codec: Codec, library: Library, sandbox: Sandbox
):
    """After the password was changed at the carrier, no worker's older success hides it for five minutes. Once only for each failure."""
    settings, clock = Settings(carriers={"relay": mail(sandbox)}), Later()
    async with opened(settings, redis, codec, library=library) as parts:
        watch = watch_of(parts, clock)
        assert await logins_after(watch, clock, sandbox, 0) == 1
        assert await state_of(parts) is LoginState.WORKS
        await parts.logins.put("relay", "another", REFUSED)
        assert await logins_after(watch, clock, sandbox, REPEAT_S) == 0
        assert await logins_after(watch, clock, sandbox, FIRST_LOGIN_WAIT_S) == 1
        assert await state_of(parts) is LoginState.WORKS
        await parts.logins.put("relay", "another", REFUSED)
        assert await logins_after(watch, clock, sandbox, REPEAT_S) == 0
        assert await logins_after(watch, clock, sandbox, REPEAT_S) == 0
        sandbox.mail.account = ("alertd", "the right one")
        await parts.logins.put("relay", "third", REFUSED)
        assert await logins_after(watch, clock, sandbox, REPEAT_S) == 0
        assert await logins_after(watch, clock, sandbox, FIRST_LOGIN_WAIT_S) == 1
        assert await state_of(parts) is LoginState.LOGIN_REFUSED


def watch_of(parts: Container, clock: Later, **changes: Any) -> LoginWatch:
    """Of one worker; chance adds nothing to its waits."""
    settings = {"chance": lambda: 0.0, **changes}
    return LoginWatch(carriers=parts.carriers, logins=parts.logins, limits=parts.limits, clock=clock, **settings)


async def logins_after(watch: LoginWatch, clock: Later, sandbox: Sandbox, seconds: float) -> int:
    """How many logins the relay sees once so much time has passed."""
    before = sandbox.mail.sessions_made
    clock.pass_by(seconds)
    await watch.round()
    await until(lambda: all(known.task is None or known.task.done() for known in watch._known.values()))
    return sandbox.mail.sessions_made - before


async def test_a_login_is_repeated_at_a_bounded_rate(redis: Redis, codec: Codec, library: Library, sandbox: Sandbox):
    """While it fails after 2, 4, 8, 16 and then every 30 seconds; while it works after 5 minutes, or once the breaker opens."""
    sandbox.mail.account = ("alertd", "the right one")
    settings, clock = Settings(carriers={"relay": mail(sandbox)}), Later()
    async with opened(settings, redis, codec, library=library) as parts:
        watch = watch_of(parts, clock)
        assert await logins_after(watch, clock, sandbox, 0) == 1
        for wait_s in (2, 4, 8, 16, 30, 30):
            assert await logins_after(watch, clock, sandbox, wait_s - 1) == 0
            assert await logins_after(watch, clock, sandbox, 1) == 1
        sandbox.mail.account = None
        assert await logins_after(watch, clock, sandbox, 30) == 1
        assert await logins_after(watch, clock, sandbox, WORKS_WAIT_S - 60) == 0
        await parts.limits.failed("relay", FAILURES)
        assert await logins_after(watch, clock, sandbox, 0) == 0
        assert await logins_after(watch, clock, sandbox, FIRST_LOGIN_WAIT_S) == 1
        await parts.limits.resume("relay")
        assert await logins_after(watch, clock, sandbox, FIRST_LOGIN_WAIT_S) == 1
        assert await logins_after(watch, clock, sandbox, WORKS_WAIT_S - 1) == 0
        assert await logins_after(watch, clock, sandbox, 1) == 1


async def test_a_worker_without_a_share_of_the_connections_does_not_log_in(
    redis: Redis, codec: Codec, library: Library, sandbox: Sandbox
):
    """The worker that has them all does, and once they are free the other one does too."""
    settings, clock = Settings(carriers={"relay": mail(sandbox, connections=1)}), Later()
    async with (
        opened(settings, redis, codec, library=library) as one,
        opened(settings, redis, codec, library=library) as two,
    ):
        first, second = worker_of(one), worker_of(two)
        for each in (first, second):
            each.logins.clock, each.logins.chance = clock, lambda: 0.0
            assert await logins_after(each.logins, clock, sandbox, 1) == 0, "its share is not known yet"
            await each.health.beat()
        assert await logins_after(second.logins, clock, sandbox, 1) == 0
        assert await logins_after(first.logins, clock, sandbox, 1) == 1
        await first.health.end()
        await second.health.beat()
        assert await logins_after(second.logins, clock, sandbox, 1) == 1


async def test_workers_log_in_at_different_moments(redis: Redis, codec: Codec, library: Library, sandbox: Sandbox):
    """At the start within two seconds, and later within a minute of one another."""
    settings, clock = Settings(carriers={"relay": mail(sandbox)}), Later()
    async with opened(settings, redis, codec, library=library) as parts:
        watch = watch_of(parts, clock, chance=lambda: 0.5)
        assert await logins_after(watch, clock, sandbox, 0) == 0
        assert await logins_after(watch, clock, sandbox, FIRST_LOGIN_WAIT_S / 2) == 1
        assert await logins_after(watch, clock, sandbox, 0.9 * WORKS_WAIT_S - 1) == 0
        assert await logins_after(watch, clock, sandbox, 1) == 1


async def test_a_login_that_takes_too_long_is_ended_and_counts_as_timed_out(
    redis: Redis, codec: Codec, library: Library, sandbox: Sandbox
):
    """Its steps each have a time-out; the whole of it has one too."""
    settings, clock = Settings(carriers={"relay": mail(sandbox)}), Later()
    sandbox.mail.silent = True
    async with opened(settings, redis, codec, library=library) as parts:
        watch = watch_of(parts, clock, longest_s=0.2)
        await asyncio.wait_for(logins_after(watch, clock, sandbox, 0), 8)
        record = (await parts.logins.get(["relay"]))["relay"]
        assert record is not None
        assert (record.login.state, record.login.said) == (LoginState.TIMED_OUT, "0.2 s")
