"""The state of each carrier in one word, with its cause and since when, for the API, the console, the metrics and the
command line.

One table has the sentences that say why a carrier cannot send, and the settings to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog

from alertd.common.clock import Clock
from alertd.common.repetition import repeated
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.store.carriers.limits import Limits
from alertd.store.carriers.logins import LoginRecord, Logins
from alertd.store.engine.heartbeats import Heartbeats
from channels.base import Answer, MultiServer, Outcome, Reason
from channels.login import Login, LoginState

#: The names of the settings that can cause a fault, by kind of carrier. The sentence lists them in this order.
SETTINGS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "fcm": {
        "login": ("credentials", "project"),
        "place": ("endpoint", "credentials"),
        "answer": ("endpoint", "credentials"),
        "silence": ("endpoint", "credentials"),
        "tls": ("endpoint",),
        "trust": ("ca_file",),
        "sender": ("project",),
    },
    "webpush": {
        "login": ("private_key", "contact"),
        "place": ("endpoint", "hosts"),
        "answer": ("endpoint", "hosts"),
        "silence": ("endpoint", "hosts"),
        "tls": ("endpoint",),
        "trust": ("ca_file",),
        "sender": ("private_key",),
    },
    "twilio": {
        "login": ("account", "password"),
        "place": ("endpoint",),
        "answer": ("endpoint", "account"),
        "silence": ("endpoint",),
        "tls": ("endpoint",),
        "trust": ("ca_file",),
        "sender": ("sender",),
    },
    "smpp": {
        "login": ("system_id", "password", "system_type", "connections"),
        "place": ("host", "port"),
        "answer": ("host", "port"),
        "silence": ("host", "port", "tls"),
        "tls": ("tls", "port"),
        "trust": ("ca_file", "host"),
        "sender": ("sender", "sender_numbering"),
    },
    "smtp": {
        "login": ("user", "password"),
        "offer": ("user", "tls", "port"),
        "place": ("host", "port"),
        "answer": ("host", "port"),
        "silence": ("host", "port", "tls"),
        "tls": ("tls", "port"),
        "trust": ("ca_file", "host"),
        "sender": ("sender",),
    },
}  # fmt: skip
#: By group of faults: the settings that are the same for every kind of carrier.
COMMON_SETTINGS: Mapping[str, tuple[str, ...]] = {"rate": ("rate",), "": ()}

#: By code: the sentence, and the group of settings that can cause the fault. {server} is host:port, {said} the
#: carrier's own text. The translations are in the words of the console (`console.words`).
SENTENCES: Mapping[str, tuple[str, str]] = {
    # Results of a login, and reasons why no worker logs in.
    "login_refused": ("{server} refused the login: {said}.", "login"),
    "login_not_offered": ("{server} offers no login.", "offer"),
    "tls_not_offered": ("{server} offers no STARTTLS.", "tls"),
    "no_tls": ("{server} speaks no TLS: {said}.", "tls"),
    "plain_http": ("{server} speaks plain HTTP, not HTTPS: this is the wrong port for https://.", "tls"),
    "certificate_refused": ("This machine does not trust the certificate of {server}: {said}.", "trust"),
    "name_not_found": ("The name in {server} has no address: {said}.", "place"),
    "connection_refused": ("{server} refused the connection: no program listens there.", "place"),
    "timed_out": ("{server} did not answer within {said}.", "silence"),
    "unreachable": ("{server} cannot be reached: {said}.", "silence"),
    "wrong_protocol": ("{server} does not speak the carrier's protocol: {said}.", "place"),
    "busy": ("{server} is not ready to serve this account: {said}.", ""),
    "refuses_recipients": ("{server} accepts the login, but refuses every recipient: {said}.", "account"),
    "no_subscription": ("No browser has subscribed yet, so no push service is known to connect to.", ""),
    "no_worker": ("No worker sends by this carrier. Start a worker that has it in its configuration.", ""),
    "rests": ("It refused message after message and rests. The log of the workers names the reason.", ""),
    "waits": ("The carrier asked alertd to wait; {said} are left.", "rate"),
    # Results of a test, by the reason of its outcome.
    "gone": ("The carrier says that the address does not exist: {said}. Test with another address.", ""),
    "bad_address": ("The carrier refuses the address: {said}. Test with another address.", "sender"),
    "bad_message": ("The carrier refuses the message: {said}.", "sender"),
    "blocked": ("The carrier, or the recipient's provider, blocks the message: {said}.", "account"),
    "credentials": ("The carrier refuses the account or the sender: {said}.", "account"),
    "throttled": ("The carrier limits how much it takes: {said}. Try again in a minute.", "rate"),
    "unavailable": ("The carrier reports a fault of its own: {said}. Look at its status page.", ""),
    "timeout": ("The carrier did not answer in time. The message may still arrive.", "place"),
    "connection": ("The connection to the carrier was lost. Repeat the test.", ""),
    "garbage": ("The answer is not of the carrier's protocol: {said}.", "answer"),
    "fault": ("alertd failed. The log of the workers names the error.", ""),
}
#: The sentence for a code that this version does not know: from a worker of a newer version.
_UNKNOWN = ("{server} reports {code}: {said}.", "")
#: Reasons that concern the message or its recipient. Any other refusal may come from the login.
_OF_A_MESSAGE = frozenset({Reason.GONE, Reason.BAD_ADDRESS, Reason.BAD_MESSAGE})
_NO_WORDS = "it gives no reason"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a carrier cannot send. `code` is a key of `SENTENCES`; `settings` are dotted names of alertd.toml."""

    code: str
    server: str = ""
    said: str = ""
    settings: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Returns what happened, then what to check."""
        said, server = self.said or _NO_WORDS, self.server or "The carrier"
        sentence, _ = SENTENCES.get(self.code, _UNKNOWN)
        text = sentence.format(server=server, said=said, code=self.code)
        return f"{text} Check {listed(self.settings)}." if self.settings else text


def listed(names: tuple[str, ...]) -> str:
    """Returns names as part of a sentence: `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def cause_of_login(carrier: Carrier, login: Login) -> Cause | None:
    """Returns why a login fails, or None if it works."""
    if not login.fails:
        return None
    return made(carrier, login.state.value, login.server, login.said)


def why_not_known(carrier: Carrier, login: Login) -> Cause | None:
    """Returns why a login neither works nor fails, or None if it does or if the reason is not known."""
    is_unused = login.state is LoginState.NOT_KNOWN and isinstance(carrier.channel, MultiServer)
    return made(carrier, "no_subscription") if is_unused else None


def cause_of_answer(carrier: Carrier, outcome: Outcome, address: str) -> Cause | None:
    """Returns why a test failed, from the carrier's answer alone. Returns None if the carrier accepted the test. The
    carrier's text in it does not contain the `address`.
    """
    if outcome.answer is Answer.ACCEPTED or outcome.reason is Reason.NONE:
        return None
    return made(carrier, outcome.reason.name.lower(), "", outcome.words(address))


def may_be_the_login(outcome: Outcome) -> bool:
    """Returns whether the login may be the reason why a test failed."""
    return outcome.answer is not Answer.ACCEPTED and outcome.reason not in _OF_A_MESSAGE


def made(carrier: Carrier, code: str, server: str = "", said: str = "") -> Cause:
    """Returns the cause with this `code`, and the carrier's settings that can cause it."""
    _, where = SENTENCES[code]
    own = SETTINGS.get(carrier.kind, {})
    names = (*own.get("login", ()), *own.get("sender", ())) if where == "account" else own.get(where)
    settings = COMMON_SETTINGS.get(where, ()) if names is None else names
    names = tuple(f"{name}_file" if name in carrier.from_files else name for name in dict.fromkeys(settings))
    return Cause(code, server, said, tuple(f"carriers.{carrier.name}.{name}" for name in names))


#: Every state a carrier can have. A metric shows it as a label.
STATES = (*(state.value for state in LoginState), "no_worker", "rests", "waits")


CHECK_S = 10.0


class ChannelCoverage:
    """Finds and logs which channels of an installation have a working worker, for an API process."""

    def __init__(self, carriers: Carriers, at_work: Heartbeats, clock: Clock) -> None:
        self._carriers = carriers
        self._at_work = at_work
        self._clock = clock
        self._missed: set[str] = set()
        self._told: set[str] = set()

    async def channels(self) -> dict[str, bool]:
        """Returns for each channel with a carrier here whether a worker sends on it."""
        return await self._at_work.find(sorted(self._carriers.channels))

    def run(self) -> AbstractAsyncContextManager[None]:
        """Returns a context: inside it, `log_gaps` is called every `CHECK_S` seconds."""
        return repeated("attendance", self.log_gaps, CHECK_S, self._clock)

    async def log_gaps(self) -> None:
        """Logs each channel on which no worker sends, and later that a worker sends again. Two calls in a row must find
        none, because a worker may just be starting.
        """
        missed = {channel for channel, is_so in (await self.channels()).items() if not is_so}
        for channel in sorted((missed & self._missed) - self._told):
            structlog.get_logger().error("channel.left_without_worker", channel=channel)
        for channel in sorted(self._told - missed):
            structlog.get_logger().info("channel.worker_returned", channel=channel)
        self._missed, self._told = missed, missed & (self._missed | self._told)


@dataclass(frozen=True, slots=True)
class CarrierState:
    """The state of one carrier, one of `STATES`. `since_ms` (UNIX ms) is known only for the result of a login. `rests`:
    the carrier is paused after failures (its breaker is open).
    """

    channel: str
    state: str
    rests: bool
    cause: Cause | None = None
    since_ms: int | None = None

    @property
    def works(self) -> bool:
        """Returns whether messages can be sent, as far as is known."""
        return self.cause is None or self.state == LoginState.NOT_KNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class CarrierStates:
    """Finds the states of all carriers of an installation."""

    carriers: Carriers
    logins: Logins
    taking: Heartbeats
    limits: Limits
    channel_coverage: ChannelCoverage
    clock: Clock

    async def all(self) -> dict[str, CarrierState]:
        """Returns the state of every carrier, by the carrier's name."""
        names = [carrier.name for carrier in self.carriers.all()]
        at_work, resting = await self.channel_coverage.channels(), await self.limits.open_breakers(names)
        found, taking = await self.logins.get(names), await self.taking.find(names)
        waits_until_ms, now_ms = await self.limits.waits_until_ms(names), self.clock.now_ms()
        return {
            one.name: _state(
                one,
                found[one.name],
                at_work=at_work[one.channel.name],
                takes=taking[one.name],
                rests=resting[one.name],
                waits_s=(waits_until_ms[one.name] - now_ms) / 1000,
            )
            for one in self.carriers.all()
        }

    async def cause_without_worker(self, carrier: Carrier) -> Cause:
        """Returns why no worker took a test of this carrier."""
        found = (await self.all())[carrier.name]
        return made(carrier, "no_worker") if found.works or found.cause is None else found.cause


def _state(
    carrier: Carrier, found: LoginRecord | None, *, at_work: bool, takes: bool, rests: bool, waits_s: float
) -> CarrierState:
    """Returns the state of a carrier: the first that applies of no worker, failed login, paused, asked to wait, works.
    A message that was accepted a moment ago proves that the login works.
    """
    cause, since_ms = None, None
    if not at_work:
        cause = made(carrier, "no_worker")
    elif found is not None and not takes and found.login.fails:
        cause, since_ms = cause_of_login(carrier, found.login), found.since_ms
    elif rests:
        cause = made(carrier, "rests")
    elif waits_s > 0:
        cause = made(carrier, "waits", said=f"{waits_s:.0f} s")
    if cause is not None:
        return CarrierState(carrier.channel.name, cause.code, rests, cause, since_ms)
    if takes or found is None:
        state = LoginState.WORKS if takes else LoginState.NOT_KNOWN
        return CarrierState(carrier.channel.name, state.value, rests)
    unused = why_not_known(carrier, found.login)
    return CarrierState(carrier.channel.name, found.login.state.value, rests, unused, found.since_ms)
