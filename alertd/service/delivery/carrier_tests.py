"""Sends one harmless message to one address through one carrier, to test account, sender and route before they are
needed. A failed test returns its cause and the settings to change.

A worker sends the test, because only workers bind to text message centres. The test obeys the same limits and pauses as
every message. It is in no ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from html import escape

import structlog
from msgspec.structs import replace

from alertd.common.clock import Clock
from alertd.common.errors import Fault, Problem
from alertd.common.repetition import ended
from alertd.model.kinds import Channel
from alertd.model.states import CHANNELS
from alertd.model.subscriber import AddressState, Subscriber
from alertd.service.access import Credential
from alertd.service.alerts.stops import StopControl
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.carriers.logins import LONGEST_S
from alertd.service.carriers.states import CarrierStates, Cause, cause_of_answer, cause_of_login, may_be_the_login
from alertd.service.oncall.pager import ANSWER_S, IMPOSSIBLE, PERMIT_S, Pager
from alertd.service.organisations.organisations import Organisations
from alertd.service.people.registry import Registry
from alertd.store.carriers.limits import Limits
from alertd.store.carriers.tests import Answered, CarrierTest, CarrierTestQueue
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.organisations.organisations import SERVICE
from channels.base import (
    Answer,
    Loudness,
    MailMessage,
    Message,
    Outcome,
    PushMessage,
    Recipient,
    SmsMessage,
    Stamp,
)
from channels.login import Login

#: Tests of one carrier that may start at once, and tests a minute after that: enough to set up an account, too few to
#: annoy anyone.
A_MINUTE = 5
POLL_S = 0.25
#: Seconds within which a worker takes a test; workers look twice a second. Then the test waits for a permit and for the
#: carrier.
TAKEN_S = 5.0
#: Seconds that the caller waits at most. After a failure the worker logs in once, to find the cause.
PATIENCE_S = TAKEN_S + PERMIT_S + ANSWER_S + LONGEST_S
LIFE_S = 3600
#: Maximum number of tests that run at the same time in one process, over all carriers. Further tests go to another
#: worker, or wait.
AT_ONCE = 16
#: Seconds that a stopping process waits for running tests. Then it gives up, and their callers hear that no worker
#: answered.
LINGER_S = 5.0
#: The text of the test, by language. Callers cannot change it, so that a test cannot be used to write to strangers.
WORDS = {
    "en": ("Test of alertd", "This is a test of a carrier of alertd. Nobody is missing, and there is nothing to do."),
    "es": (
        "Prueba de alertd",
        "Esto es una prueba de un operador de alertd. No hay nadie desaparecido ni nada que hacer.",
    ),
    "fr": (
        "Essai d’alertd",
        "Ceci est un essai d’un opérateur d’alertd. Personne n’a disparu et il n’y a rien à faire.",
    ),
    "ar": ("اختبار alertd", "هذا اختبار لأحد نواقل alertd. لا أحد مفقود ولا شيء يلزم فعله."),
}
NO_SUBSCRIBER = (
    "No subscriber has this id. A test of web push goes to a subscriber: subscribe a browser of your own (ops/docs/integrate/web-push.md), "
    'register it with "tester": true, and give that id.'
)
NO_TESTER = 'This subscriber is no tester. Set "tester": true on a subscriber of your own, and give that id.'
NO_BROWSER = (
    "This subscriber has no web push address. Subscribe a browser of your own first (ops/docs/integrate/web-push.md)."
)
#: Logs in at a carrier now. The worker's login watch does it, and stores the result.
LogIn = Callable[[Carrier], Awaitable[Login]]
Took = Callable[[Carrier], None]
#: The answer if no worker took the test in time.
NO_WORKER = Answered(answer=Answer.WITHHELD.value, reason="no_worker", took_ms=0)


@dataclass(kw_only=True)
class CarrierTests:
    """Queues carrier tests for the workers, sends queued tests, and returns their results."""

    queue: CarrierTestQueue
    carriers: Carriers
    organisations: Organisations
    stop_control: StopControl
    limits: Limits
    pager: Pager
    states: CarrierStates
    registry: Registry
    clock: Clock
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def carrier(self, name: str, who: Credential) -> Carrier:
        """Returns the carrier of this name, for a test. Raises Problem if there is none, or if `who` is a test key or
        does not belong to the organisation that runs the service.
        """
        if not self.organisations.is_host(who):
            raise Problem("not-allowed", "Only the organisation that runs the service may test carriers.")
        if who.test:
            raise Problem("not-allowed", "A test key cannot test carriers: it reaches only testers.")
        found = self.carriers.named(name)
        if found is None:
            raise Problem(
                "not-found",
                f"There is no carrier {name}. There are {', '.join(one.name for one in self.carriers.all())}.",
            )
        return found

    async def browser(self, name: str) -> str:
        """Returns the web push address of the subscriber with the id `name`. People cannot type such an address, so a
        test names the subscriber. Raises Problem if there is no such subscriber, or they are no tester or have no
        browser.
        """
        try:
            person = await self.registry.get(name)
        except Problem as problem:
            raise problem if problem.slug != "not-found" else _no_browser(NO_SUBSCRIBER) from None
        if not person.tester:
            raise _no_browser(NO_TESTER)
        found = _browsers(person)
        if not found:
            raise _no_browser(NO_BROWSER)
        return found[0]

    async def ask(self, carrier: Carrier, to: str, language: str, *, test_id: str, who: Credential) -> Answered:
        """Queues a test, waits for its result (up to `PATIENCE_S`), and returns it. Returns `NO_WORKER`, with its
        cause, if no worker answered. Raises Problem during a stop of the service, or after too many tests of this
        carrier.
        """
        if SERVICE in await self.stop_control.active(who.org):
            raise Problem("stop-active", "All sending is stopped, also of tests.")
        block = await self.limits.take(f"{carrier.name}/test", A_MINUTE / 60, A_MINUTE, 1)
        if not block.granted:
            sentence = f"A carrier can be tested at most {A_MINUTE} times a minute."
            raise Problem("rate-limited", sentence, headers={"Retry-After": str(int(block.wait_s) + 1)})
        until = self.clock.now_ms() + int(TAKEN_S * 1000)
        await self.queue.add(CarrierTest(id=test_id, carrier=carrier.name, to=to, language=language, until=until))
        ends = self.clock.monotonic() + PATIENCE_S
        while self.clock.monotonic() < ends:
            if found := await self.queue.answered(test_id):
                return found
            await self.clock.sleep(POLL_S)
        found = await self.answered(test_id)
        return found if found is not NO_WORKER else _with(NO_WORKER, await self.states.cause_without_worker(carrier))

    async def answered(self, test_id: str) -> Answered:
        """Returns the result of an earlier test, or `NO_WORKER` if there is none."""
        return await self.queue.answered(test_id) or NO_WORKER

    async def round(self, may_use: Callable[[Carrier], bool], log_in: LogIn, took: Took) -> None:
        """Starts to send queued tests, each in its own task, so that a silent carrier delays no other. At most
        `AT_ONCE` run at a time. Drops tests that are too old or whose carrier is gone.

        Tests of carriers that this process must not use (`may_use`) go back into the queue. If the login may be why a
        test failed, `log_in` checks it. `took` is called with each carrier that accepted its test.
        """
        others = list[CarrierTest]()
        self._tasks = {task for task in self._tasks if not task.done()}
        while len(self._tasks) < AT_ONCE and (test := await self.queue.take()):
            carrier = self.carriers.named(test.carrier)
            if carrier is not None and not may_use(carrier):
                others.append(test)
            elif carrier is not None and self.clock.now_ms() <= test.until:
                self._tasks.add(asyncio.create_task(self._guarded(test, carrier, log_in, took), name=f"test {test.id}"))
        for test in others:
            await self.queue.add(test)

    async def close(self) -> None:
        """Waits up to `LINGER_S` for the running tests, and then ends them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LINGER_S)
        for task in self._tasks:
            await ended(task)
        self._tasks.clear()

    async def _guarded(self, test: CarrierTest, carrier: Carrier, log_in: LogIn, took: Took) -> None:
        """Sends a test and stores its result. Logs every error instead of raising it; the caller then gets `NO_WORKER`."""
        log = structlog.get_logger()
        try:
            await self._answer(test, carrier, log_in, took)
        except StoreUnavailableError:
            log.warning("store.found_unavailable", step="carrier test", test=test.id)
        except Exception as error:  # noqa: BLE001  the caller hears that no worker answered
            log.error("step.failed", step="carrier test", test=test.id, error=type(error).__name__)  # noqa: TRY400  its text may hold the address

    async def _answer(self, test: CarrierTest, carrier: Carrier, log_in: LogIn, took: Took) -> None:
        """Sends a test, finds out why it failed if it did, and stores the result for the caller. `took_ms` counts the
        sending only.
        """
        began = self.clock.monotonic()
        outcome = await self._sent(test, carrier)
        if outcome.answer is Answer.ACCEPTED:
            took(carrier)
        took_ms = int((self.clock.monotonic() - began) * 1000)
        answered = Answered(answer=outcome.answer.value, reason=outcome.reason.name.lower(), took_ms=took_ms)
        answered = _with(answered, await _cause(carrier, outcome, test.to, log_in))
        structlog.get_logger().info(
            "carrier.tested", test=test.id, carrier=carrier.name, outcome=answered.answer, reason=answered.reason,
            cause=answered.code,
        )  # fmt: skip
        await self.queue.answer(test.id, answered)

    async def _sent(self, test: CarrierTest, carrier: Carrier) -> Outcome:
        """Sends the test message to its address. Returns the carrier's answer, or `IMPOSSIBLE` if no message can be
        made.
        """
        try:
            prepared = carrier.channel.prepare(_message(carrier.channel.name, test, self.clock.now_ms() // 1000))
        except ValueError:
            return IMPOSSIBLE
        return await self.pager.send(
            carrier, prepared, Recipient(test.to, f"test-{test.id}", is_new=True, is_alone=True), test.id
        )


async def _cause(carrier: Carrier, outcome: Outcome, address: str, log_in: LogIn) -> Cause | None:
    """Returns why a test failed: the login's fault, else the carrier's answer. None if the carrier accepted it."""
    if may_be_the_login(outcome) and (cause := cause_of_login(carrier, await log_in(carrier))):
        return cause
    return cause_of_answer(carrier, outcome, address)


def _with(answered: Answered, cause: Cause | None) -> Answered:
    """Returns a test's result with the cause of the failure; unchanged if there is none."""
    if cause is None:
        return answered
    return replace(answered, code=cause.code, server=cause.server, said=cause.said, settings=cause.settings)


def _browsers(person: Subscriber) -> list[str]:
    """Returns the active web push addresses of a subscriber."""
    active = (one for one in person.addresses if one.state == AddressState.ACTIVE)
    return [one.value for one in active if CHANNELS[one.channel] == Channel.WEBPUSH]


def _no_browser(why: str) -> Problem:
    """Returns the Problem for a test without a browser, for the reason `why`."""
    return Problem("invalid-request", "There is no browser to test with.", faults=(Fault("/to", why),))


def _message(channel: str, test: CarrierTest, now_s: int) -> Message:
    """Returns the test message for a channel. Raises ValueError for a channel without one."""
    title, text = WORDS[test.language]
    stamp = Stamp(
        chain=test.id, version=test.id, sent_s=now_s, expires_s=now_s + LIFE_S, loudness=Loudness.NORMAL,
        language=test.language, status="Test",
    )  # fmt: skip
    if channel in {Channel.PUSH, Channel.WEBPUSH}:
        return PushMessage(stamp=stamp, title=title, body=text)
    if channel == "sms":
        return SmsMessage(stamp=stamp, text=f"{title}: {text}")
    if channel == "mail":
        page = f'<!doctype html><html lang="{test.language}"><title>{escape(title)}</title><p>{escape(text)}</p></html>'
        return MailMessage(stamp=stamp, subject=title, text=text, html=page)
    raise ValueError(channel)
