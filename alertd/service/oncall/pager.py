"""Pages one person on call, at the first of their addresses for which a carrier accepts the page.

Pages use the same carriers, limits and pauses as alerts, but no ledger. If a carrier refuses or does not answer, the
pager tries the next carrier and then the next address at once. So a person may get a page twice, rather than never. The
pager stops as soon as the page is no longer needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from alertd.common.clock import Clock
from alertd.metrics import Metrics
from alertd.model.oncall import ContactAddress, OnCallPerson
from alertd.service.carriers.carriers import Carrier, Carriers, Domains
from alertd.service.carriers.health import OF_A_MACHINE
from alertd.service.carriers.retries import signs_of
from alertd.store.carriers.limits import Block, Limits
from channels.base import FAULT, Answer, MailMessage, Message, Outcome, Prepared, Reason, Recipient, Subject

#: Longest wait for a permit, in seconds: a second's worth of pages at the slowest sensible rate. Then the pager tries
#: another address.
PERMIT_S = 3.0
#: Longest wait for a carrier's answer, in seconds. FCM asks for ten seconds. A page without an answer may still arrive.
ANSWER_S = 15.0
_NO_PERMIT = Outcome(Answer.RETRY, Reason.THROTTLED)
_SILENT = Outcome(Answer.UNKNOWN, Reason.TIMEOUT)
IMPOSSIBLE = Outcome(Answer.NEVER, Reason.BAD_MESSAGE)

#: Makes the page as a message of a channel in a language. None means the organisation's language.
Make = Callable[[str, str | None], Message]
#: Returns whether the page is still needed.
Needed = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Reached:
    """The result of paging one person."""

    channel: str  # the channel that accepted the page, else the last one tried
    taken: bool
    is_sick: bool = False  # no carrier accepted the page, and this machine may be the cause


@dataclass(frozen=True, kw_only=True, slots=True)
class Pager:
    """Sends pages to people on call."""

    carriers: Carriers
    limits: Limits
    domains: Domains
    clock: Clock
    metrics: Metrics

    async def tell(self, person: OnCallPerson, make: Make, tag: str, alert_id: str, needed: Needed) -> Reached | None:
        """Pages one person and returns the result. Returns None if the page was not needed before the first try.

        `tag` identifies the page for the person who receives it. Carriers may be slow, so `needed` is called before
        each try.
        """
        reached, is_sick = None, False
        for address, carrier in self._ways(person):
            if not await needed():
                return reached
            outcome = await self._try(carrier, address, make, tag, alert_id)
            self.metrics.pages.labels(carrier.channel.name, outcome.answer.value).inc()
            structlog.get_logger().info(
                "page.tried", alert=alert_id, channel=carrier.channel.name, carrier=carrier.name,
                outcome=outcome.answer.value, reason=outcome.reason.name.lower(),
            )  # fmt: skip
            if outcome.answer is Answer.ACCEPTED:
                return Reached(address.channel, taken=True)
            # A worker without a share of the relay's connections writes no mail; another one may.
            is_sick = is_sick or outcome.reason in OF_A_MACHINE or outcome.answer is Answer.WITHHELD
            reached = Reached(address.channel, taken=False, is_sick=is_sick)
        return reached or Reached(person.addresses[-1].channel, taken=False)

    async def mail(self, mailbox: str, message: MailMessage, tag: str) -> bool:
        """Sends one mail outside of alerts, by the first carrier that accepts it. Returns whether one did."""
        for carrier in self.carriers.turn("mail"):
            try:
                prepared = carrier.channel.prepare(message)
            except ValueError:
                continue
            to = Recipient(mailbox, f"single-{tag}", is_new=True, is_alone=True)
            if (await self.send(carrier, prepared, to, tag)).answer is Answer.ACCEPTED:
                return True
        return False

    def _ways(self, person: OnCallPerson) -> Iterator[tuple[ContactAddress, Carrier]]:
        """Yields each address of a person with each carrier of its channel, in the order in which to try them."""
        for address in person.addresses:
            if address.channel in self.carriers.channels:
                for carrier in self.carriers.turn(address.channel):
                    yield address, carrier

    async def _try(self, carrier: Carrier, address: ContactAddress, make: Make, tag: str, alert_id: str) -> Outcome:
        """Sends the page to one address through one carrier. Returns the outcome, `IMPOSSIBLE` if no such page can be
        made.
        """
        try:
            prepared = carrier.channel.prepare(make(address.channel, address.language))
        except ValueError:
            return IMPOSSIBLE
        return await self.send(carrier, prepared, Recipient(address.value, tag, is_new=True, is_alone=True), alert_id)

    async def send(self, carrier: Carrier, prepared: Prepared, to: Recipient, about: str) -> Outcome:
        """Sends one message through one carrier once its limits permit, and returns the outcome. `about` is the id of
        the alert or test.
        """
        block = await self._permit(carrier, prepared, to.address, about)
        if block is None:
            return _NO_PERMIT
        outcome = await self._sent(carrier, prepared, to)
        await self._apply_outcome(carrier, outcome, block)
        return outcome

    async def _permit(self, carrier: Carrier, prepared: Prepared, address: str, alert_id: str) -> Block | None:
        """Waits up to `PERMIT_S` seconds for a permit to send. Returns None if there is none. The permit may be for the
        probe of a paused carrier.
        """
        until_s = self.clock.monotonic() + PERMIT_S
        while True:
            [wait_s] = (await self.domains.admit(carrier, alert_id, [address], [True], loud=True)).waits_s
            if not wait_s:
                block = await self.limits.take(
                    carrier.name, carrier.rate, carrier.burst, prepared.cost, prepared.cost, loud=True
                )
                if block.granted:
                    return block
                wait_s = block.wait_s
            if self.clock.monotonic() + wait_s > until_s:
                return None
            await self.clock.sleep(wait_s)

    async def _sent(self, carrier: Carrier, prepared: Prepared, to: Recipient) -> Outcome:
        """Returns the carrier's outcome for one message. Returns `_SILENT` after `ANSWER_S` seconds, and `FAULT` after
        an error.
        """
        until_s = self.clock.monotonic() + ANSWER_S
        try:
            async with asyncio.timeout(ANSWER_S):
                [outcome] = await carrier.channel.send(prepared, [to], lambda: self.clock.monotonic() < until_s)
        except TimeoutError:
            return _SILENT
        except Exception as error:  # noqa: BLE001  after any error the next address is tried; the error's text may contain this address
            structlog.get_logger().error("page.failed", carrier=carrier.name, error=type(error).__name__)
            return FAULT
        return outcome

    async def _apply_outcome(self, carrier: Carrier, outcome: Outcome, block: Block) -> None:
        """Changes the carrier's state in the store, which alerts share. An outcome about the carrier pauses it or
        counts as a failure. If the page was a probe of a paused carrier (`block.wait_s`) and the outcome is about the
        recipient, the carrier works and is resumed.
        """
        signs = signs_of([outcome], [1], believed=False)
        if outcome.subject is not Subject.CARRIER:
            if block.wait_s and signs.works:
                await self.limits.resume(carrier.name, block)
            elif block.wait_s:
                await self.limits.undecided(carrier.name, block)
        elif signs.wait_s:
            await self.limits.pause(carrier.name, signs.wait_s)
        else:
            await self.limits.failed(carrier.name, 1)


#: Ms for which a page covers the alerts that waited when it was sent. A person reads no second page sooner, and a step
#: of the rota lasts at least a minute.
PACE_MS = 60_000

#: Identifies a person: organisation, group of alerts, addresses of the person.
_Who = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Shared:
    """The result of paging a person, and the alerts that the page covered."""

    alert_id: str
    at: int  # UNIX ms
    waiting: frozenset[str] = frozenset()  # all alerts that the page covered
    reached: Reached | None = None  # None if no page was sent

    @property
    def is_taken(self) -> bool:
        """Returns whether a carrier accepted the page."""
        return self.reached is not None and self.reached.taken


@dataclass(slots=True)
class PageClaim:
    """The people to page about an alert now, and those whom a recent page about another alert covers."""

    wait_ms: int = 0  # wait first: a recent page to one of them covered other alerts; ms
    shared: dict[int, Shared] = field(
        default_factory=dict
    )  # by index: results of pages about another alert that covered this one
    mine: dict[int, asyncio.Future[Shared]] = field(default_factory=dict)  # by index: the people to page now

    def settle(self, alert_id: str, at: int, waiting: frozenset[str], found: Mapping[int, Reached | None]) -> None:
        """Records the results of the claimed people, by index. Idempotent."""
        for i, told in self.mine.items():
            if not told.done():
                told.set_result(Shared(alert_id, at, waiting, found.get(i)))


class PagePace:
    """Sends each person on call at most one page a minute. The page names the alert that came first, and how many
    others wait. Each process counts for itself: after another process takes over, a person may get one page more, and
    never one too few.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[_Who, asyncio.Future[Shared]] = {}

    async def claim(self, org: str, group: str, people: Sequence[OnCallPerson], alert_id: str) -> PageClaim:
        """Claims the people to page about an alert, and returns the claim. The caller pages them and settles the claim;
        meanwhile another caller waits. A page covers alerts of one `group` only, so a page about a test or about a
        request delays no other page.
        """
        names: list[_Who] = [(org, group, tuple((one.channel, one.value) for one in each.addresses)) for each in people]
        while going := [told for name in names if (told := self._last.get(name)) and not told.done()]:
            await asyncio.wait(going)
        now = self._clock.now_ms()
        self._last = {  # a page dated in the future was sent before the clock was set back
            name: told for name, told in self._last.items() if not told.done() or abs(now - told.result().at) < PACE_MS
        }
        lately = {i: told.result() for i, name in enumerate(names) if (told := self._last.get(name))}
        lately = {i: one for i, one in lately.items() if one.is_taken and one.alert_id != alert_id}
        if waits := [one.at + PACE_MS - now for one in lately.values() if alert_id not in one.waiting]:
            return PageClaim(wait_ms=max(waits))
        claim, loop = PageClaim(shared=lately), asyncio.get_running_loop()
        for i, name in enumerate(names):
            if i not in lately:
                claim.mine[i] = self._last[name] = loop.create_future()
        return claim
