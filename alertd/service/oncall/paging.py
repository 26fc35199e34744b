"""Pages the people on call if an alert waits for its approver, or if another organisation asks to stand it down. One
step of the rota follows another until a decision is made.

One process at a time does this, each alert by itself, so that a slow carrier delays no other alert. The waiting alerts
are in a set, ordered by due time (`alertd.store.organisations.paging.Waiting`). An alert enters it before the event
about its cause is copied, and leaves it once it no longer waits. A page is recorded after it was sent: if the process
dies in between, the page stays due and is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import msgspec
import structlog

from alertd.common.clock import HOUR_MS, Clock
from alertd.common.errors import Problem
from alertd.common.ids import Tags, TokenPurpose
from alertd.common.repetition import ended
from alertd.metrics import Metrics
from alertd.model.oncall import Cause, OnCall, Turn, cause_of, turn
from alertd.model.states import AlertState
from alertd.rendering import Renderer
from alertd.rendering.pages import PageFacts, page
from alertd.service.access import Credential, hands_of
from alertd.service.alerts.stops import StopControl
from alertd.service.decision_checks import TRIES
from alertd.service.oncall.pager import Make, PageClaim, PagePace, Pager, Reached
from alertd.service.oncall.rota import KnownRota, OnCallRota, begun, cause
from alertd.service.organisations.organisations import Organisations
from alertd.service.records.audit import DONE, Audit, Noted
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine.connection import StoreUnavailableError
from alertd.store.organisations.paging import Page, Paged, Waiting
from channels.base import Loudness, Stamp

#: Seconds between two searches for due alerts.
POLL_S = 1.0
#: Ms after which an alert is checked again if it is stopped or has no rota or no person on duty.
AGAIN_MS = 60_000
#: Ms after which an alert that needs no further pages is checked again, in case it still waits.
OVER_MS = HOUR_MS
#: Delay of the first page in ms. An alert that a policy approves unattended is approved within its own request, so that
#: no one is woken for it.
UNATTENDED_MS = 10_000
#: Ms from the last page of a pass through all steps of the rota to the next pass, if no carrier accepted a page of it.
#: Such a pass does not count as one of the rota's `times`.
DARK_MS = 60_000
#: Maximum number of alerts about which people are paged at the same time.
AT_ONCE = 16
#: Seconds between two searches for all waiting alerts, in case their data is older or the due set was lost.
SURVEY_S = 600.0
#: Number of the newest alerts that such a search reads in each organisation.
SURVEYED = 1_000
#: Lifetime of a page in seconds. A phone that is off for longer need not ring: others were paged several times by then.
FRESH_S = 3600
#: Minimum seconds between two attempts to hand paging over to another process after no page was accepted. If there is
#: no other process, events wait during a handover.
ASIDE_EVERY_S = 60.0
#: Seconds that a process that ends waits for pages being sent, so that they need not be sent again.
LINGER_S = 5.0
ACT = "alert.page"
#: The actor in the audit.
BY = "alertd"


@dataclass(kw_only=True)
class Paging:
    """Pages people about all waiting alerts. Only one process at a time does so."""

    alerts: Alerts
    waiting: Waiting
    rota: OnCallRota
    pager: Pager
    organisations: Organisations
    stop_control: StopControl
    audit: Audit
    renderer: Renderer
    tags: Tags
    clock: Clock
    metrics: Metrics
    names: Callable[[], Awaitable[Sequence[str]]]  # returns the ids of all organisations
    pace: PagePace
    site: str  # where people sign in to the console
    step_aside: Callable[[], None]  # lets another process send the pages, if there is one
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _looked: float = -POLL_S
    _surveyed: float = -SURVEY_S
    _is_sick: bool = False  # no page was accepted, and this machine may be the cause
    _made_way: float = -ASIDE_EVERY_S

    async def round(self) -> None:
        """Starts paging about each due alert, unless a task for it is running. Searches for due alerts once in
        `POLL_S`.
        """
        now = self.clock.monotonic()
        self._tasks = {alert_id: task for alert_id, task in self._tasks.items() if not task.done()}
        if now - self._looked < POLL_S:
            return
        self._looked = now
        if self._is_sick:
            self._make_way(now)
            return
        if now - self._surveyed >= SURVEY_S:
            await self._survey()
            self._surveyed = now
        due = await self.waiting.all(self.clock.steady_ms())
        for alert_id in await self._called_for([one for one in due if one not in self._tasks]):
            self._tasks[alert_id] = asyncio.create_task(self._in_turn(alert_id), name=f"page {alert_id}")

    def _make_way(self, now: float) -> None:
        """Hands paging over to another process once all running pages are recorded, so that the other repeats none.
        Until then, starts no page.
        """
        if not self._tasks:
            self._is_sick, self._made_way = False, now
            self.step_aside()

    async def settled(self) -> None:
        """Waits until all started tasks are done."""
        await asyncio.gather(*self._tasks.values())

    async def close(self) -> None:
        """Waits for running pages for at most `LINGER_S`, then cancels them. Another process sends the cancelled ones
        again.
        """
        self._turns = asyncio.Semaphore(AT_ONCE)  # a task that still waits for its turn starts no page
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=LINGER_S)
        for task in self._tasks.values():
            await ended(task)
        self._tasks.clear()
        self._surveyed = -SURVEY_S

    async def _survey(self) -> None:
        """Adds alerts that wait for people, but are not in the set of waiting alerts, to that set, due now. Reads only
        the newest alerts of each organisation.
        """
        for org in await self.names():
            places = await self.alerts.of_org(org, before=None, limit=SURVEYED)
            versions = await self.alerts.versions([alert_id for _, alert_id in places])
            waiting = [one for one, why in (await self._causes(versions)).items() if why]
            await self.waiting.add(dict.fromkeys(waiting, self.clock.steady_ms()), rule="NX")

    async def _causes(self, alert_ids: Sequence[str]) -> dict[str, Cause | None]:
        """Returns the cause for paging about each alert, or None. Decrypts nothing, so that a damaged alert hides no
        other.
        """
        found = await self.alerts.fields(alert_ids, "state", "stand_down_asked")
        return {
            one: cause_of(AlertState(state.decode()), is_asked=bool(asked)) if state else None
            for one, (state, asked) in zip(alert_ids, found, strict=True)
        }

    async def _called_for(self, due: Sequence[str]) -> list[str]:
        """Returns which of the due alerts to page about: those that wait and whose organisations have people on call.
        Removes alerts that no longer wait from the set.

        Waiting alerts of organisations without people on call are deferred all at once and unread, because a thousand
        may come in a second. If a rota is unreadable, the check of each alert reports it.
        """
        causes, orgs = await asyncio.gather(self._causes(due), self.alerts.fields(due, "org"))
        pending = {one: org.decode() for one, (org,) in zip(due, orgs, strict=True) if org and causes[one]}
        await self.waiting.remove([one for one in due if one not in pending])  # now: it may wait again
        names = sorted(set(pending.values()))
        stood = await asyncio.gather(*map(self.rota.get, names), return_exceptions=True)
        uncalled = {org for org, one in zip(names, stood, strict=True) if isinstance(one, KnownRota) and not one.steps}
        again = self.clock.steady_ms() + AGAIN_MS
        await self.waiting.add({one: again for one, org in pending.items() if org in uncalled})
        return [one for one, org in pending.items() if org not in uncalled]

    async def _in_turn(self, alert_id: str) -> None:
        """Pages about an alert, once fewer than `AT_ONCE` others are being paged about. Sends no page if `close` was
        called meanwhile.
        """
        async with (turns := self._turns):
            if turns is self._turns:
                await self._guarded(alert_id)

    async def _guarded(self, alert_id: str) -> None:
        """Pages about an alert and logs every error. After an unexpected error, the alert is due again in `AGAIN_MS`."""
        log = structlog.get_logger()
        try:
            await self.page(alert_id)
        except StoreUnavailableError:
            log.warning("store.found_unavailable", step="page", alert=alert_id)
        except Exception as error:  # noqa: BLE001  an error in one alert must not stop the pages about others
            log.error("step.failed", step="page", alert=alert_id, error=type(error).__name__)  # noqa: TRY400  its text may name people
            with suppress(StoreUnavailableError):
                await self.waiting.add({alert_id: self.clock.steady_ms() + AGAIN_MS})

    async def page(self, alert_id: str) -> None:
        """Pages the people of the alert's current rota step if that is due now, and schedules the next step. Otherwise
        only sets when the alert is checked again. Does nothing if the alert no longer waits.
        """
        record, now = await self.alerts.get(alert_id), self.clock.steady_ms()
        if record is None or not (why := cause(record)):
            return  # the next round removes it
        [(known, seen)] = await self.waiting.paged([alert_id])
        paged, stood = begun(known, record), await self.rota.get(record.org)
        rota = stood.rota
        if paged.over and paged.rev != stood.rev:  # the rota has changed and may name other people
            paged = msgspec.structs.replace(paged, over=False, step=0, rounds=0, reached=False, due=now)
        if paged is known and paged.due > now:
            await self.waiting.add({alert_id: paged.due})
        elif (wait_ms := await self._waits(record, paged, rota)) or rota is None:
            await self.waiting.add({alert_id: now + wait_ms})
        elif paged.over or paged.is_settled:
            await self.waiting.add({alert_id: now + OVER_MS})
        else:
            # Who wrote an alert cannot approve it, but can stand it down.
            hands = hands_of(record.author.subject, record.author.hands) if why is Cause.APPROVAL else frozenset[str]()
            whose = turn(rota, min(paged.step, len(rota.steps)), self.clock.now_ms(), hands)
            await self._take_turn(record, stood, (paged, seen), whose)

    async def _waits(self, record: AlertRecord, paged: Paged, rota: OnCall | None) -> int:
        """Returns the ms for which no page about the alert may be sent; 0 to page now. Pages wait if the organisation
        has no rota, while a new alert may still be approved unattended, and during a stop.
        """
        if rota is None or not rota.steps:  # since a moment ago
            return AGAIN_MS
        waited_ms = self.clock.now_ms() + record.chain.ahead - paged.since
        is_new = cause(record) is Cause.APPROVAL and abs(waited_ms) < UNATTENDED_MS
        if is_new and await self.organisations.unattended(record):
            return UNATTENDED_MS - waited_ms
        try:
            await self.stop_control.check(record.org, record.author.key)
        except Problem:
            return AGAIN_MS  # while the alert is stopped, no one could approve it
        return 0

    async def _take_turn(
        self, record: AlertRecord, stood: KnownRota, known: tuple[Paged, bytes], whose: Turn | None
    ) -> None:
        """Pages the people of the current step, who are in the Turn given last (None if no person is on duty). A pass
        through all steps in which no carrier accepted a page does not count, and the next starts after `DARK_MS`.
        """
        (paged, seen), now, rota = known, self.clock.steady_ms(), stood.rota
        if whose is None or rota is None:
            await self._unanswered(record, paged, seen, alone=True)
            return
        rounds, reached = paged.rounds, paged.reached
        if whose.again:
            dark_ms = DARK_MS if reached or not paged.pages else self.clock.now_ms() - paged.pages[-1].at
            if 0 <= dark_ms < DARK_MS:
                await self.waiting.add({record.id: now + DARK_MS - dark_ms})
                return
            rounds, reached = rounds + reached, False
        if rounds >= rota.times:
            await self._unanswered(record, msgspec.structs.replace(paged, rev=stood.rev), seen, alone=False)
            return
        told = await self.page_step(record, whose, seen=seen, number=paged.told)
        if not told:  # no page is needed any more; the next check finds the reason
            return
        due = now + rota.after_min * 60_000  # counted from the start of the step, however slow its pages are
        fresh = msgspec.structs.replace(
            paged, step=whose.step + 1, rounds=rounds, reached=reached, alone=False, due=due
        )
        await self._note(record, fresh, seen, told)

    async def _unanswered(self, record: AlertRecord, paged: Paged, seen: bytes, *, alone: bool) -> None:
        """Reports in an event, the log and a metric that an alert stays unanswered. `alone`: no person is on duty. Then
        it reports once, and a person who comes on duty later is still paged. Otherwise all were paged as often as
        allowed, and paging stops until the rota changes.
        """
        now = self.clock.steady_ms()
        if alone and paged.alone:
            await self.waiting.add({record.id: now + AGAIN_MS})
            return
        reason = "nobody" if alone else "in_vain"
        fresh = msgspec.structs.replace(paged, alone=alone, over=not alone, due=now + (AGAIN_MS if alone else OVER_MS))
        if await self.waiting.put(record.id, fresh, seen=seen, word="unanswered") == "done":
            self.metrics.unanswered.labels(reason).inc()
            structlog.get_logger().error("alert.left_unanswered", alert=record.id, reason=reason)

    async def page_step(self, record: AlertRecord, whose: Turn, *, seen: bytes = b"", number: int = 0) -> list[Page]:
        """Pages all people of a step at the same time, if the alert's page record still is `seen`. Returns the pages.

        The audit has an entry before the first page. A person who was paged a moment ago is not paged again. If that
        page did not cover this alert, this call sends no page, and the alert is checked again once the person may be
        paged. Each page has a number, counted up from `number`. A mail program drops a page with the number of an
        earlier one, which is right only for a repetition of the same page.
        """
        claim = await self.pace.claim(record.org, f"{record.status} {cause(record)}", whose.people, record.id)
        if claim.wait_ms:
            await self.waiting.add({record.id: self.clock.steady_ms() + claim.wait_ms})
            return []
        at, waiting, found = self.clock.now_ms(), frozenset[str](), dict[int, Reached | None]()
        try:
            waiting = await self._waiting_with(record)
            return await self._told(record, whose, claim, (waiting, found), seen, number)
        finally:
            claim.settle(record.id, at, waiting, found)

    async def _told(
        self, record: AlertRecord, whose: Turn, claim: PageClaim, about: tuple[frozenset[str], dict[int, Reached | None]],
        seen: bytes, number: int,
    ) -> list[Page]:  # fmt: skip
        """Pages the people of the step that this call claimed, and records each result in `found`. The page gives the
        number of waiting alerts. Returns the pages, including those that another alert's call sent to the same people.
        """
        waiting, found = about
        who = Credential(key_id="", org=record.org, subject=BY, scopes=frozenset())
        entry = await self.audit.begin(who, ACT, record.id)
        make, needed = await self._make(record, len(waiting) - 1), partial(self._needed, record.id, cause(record), seen)

        async def tell(i: int) -> None:
            """Pages the person at index `i` of the step."""
            tag = self.tags.make(record.id, number + i, TokenPurpose.PAGE)
            found[i] = await self.pager.tell(whose.people[i], make, tag, record.id, needed)

        await asyncio.gather(*map(tell, claim.mine))
        self._look_at_health([one for one in found.values() if one is not None])
        now = self.clock.now_ms()
        came = {i: (now, one) for i, one in found.items()} | {
            i: (one.at, one.reached) for i, one in claim.shared.items()
        }
        pages = [
            Page(at=at, step=whose.step + 1, name=person.name, channel=reached.channel, taken=reached.taken)
            for i, person in enumerate(whose.people)
            for at, reached in [came[i]]
            if reached is not None
        ]
        taken = sum(one.taken for one in pages)
        facts = {"step": whose.step + 1, "told": taken, "failed": len(pages) - taken} | (
            {"with_others": len(claim.shared)} if claim.shared else {}
        )
        await self.audit.end(who, ACT, DONE, Noted(object=record.id, facts=facts), of=entry)
        return pages

    def _look_at_health(self, found: Sequence[Reached]) -> None:
        """Notes that paging should go to another process, if no page was accepted and this machine's clock,
        certificates or network may be the cause. Does not if paging was handed over less than ASIDE_EVERY_S ago.
        """
        if any(one.is_sick for one in found) and not any(one.taken for one in found):
            structlog.get_logger().warning("page.round_failed")
            self._is_sick = self.clock.monotonic() - self._made_way >= ASIDE_EVERY_S

    async def _waiting_with(self, record: AlertRecord) -> frozenset[str]:
        """Returns the ids of the waiting alerts of the record's organisation that have the same cause and status."""
        waiting = await self.waiting.all()
        causes, facts = await asyncio.gather(self._causes(waiting), self.alerts.fields(waiting, "org", "status"))
        why, wanted = cause(record), [record.org.encode(), record.status.encode()]
        same = [one for one, found in zip(waiting, facts, strict=True) if found == wanted and causes[one] is why]
        return frozenset({record.id, *same})

    async def _needed(self, alert_id: str, why: Cause | None, seen: bytes) -> bool:
        """Returns whether the page is still needed: people are still paged for the same cause and no person took the
        alert. True if the store does not answer: a page too many is better than none.
        """
        try:
            causes, [(_, stands)] = await asyncio.gather(self._causes([alert_id]), self.waiting.paged([alert_id]))
        except StoreUnavailableError:
            return True
        return causes[alert_id] is why and stands == seen

    async def _make(self, record: AlertRecord, others: int = 0) -> Make:
        """Returns a function that renders the page about an alert for a channel and a language. `others` is the number
        of other alerts that wait.
        """
        own = (await self.organisations.get(record.org)).organisation
        link = f"{self.site}/console#/alerts/{record.id}"
        facts = PageFacts(
            organisation=own.name, link=link, status=record.status, others=others,
            asks=cause(record) is Cause.STAND_DOWN,
        )  # fmt: skip
        now_s, chain = self.clock.now_ms() // 1000, self.tags.page_chain(record.id)
        stamp = Stamp(
            chain=chain, version=chain, sent_s=now_s, expires_s=min(record.expires // 1000, now_s + FRESH_S),
            loudness=Loudness.LOUD, language="",
            sequence=now_s - record.times.created // 1000 + 1,  # a later page replaces the one before
        )  # fmt: skip
        first = own.languages[0] if own.languages else "en"
        return lambda channel, language: page(self.renderer, channel, language or first, stamp, facts)

    async def _note(self, record: AlertRecord, paged: Paged, seen: bytes, told: list[Page]) -> None:
        """Stores the pages that were sent (`told`, at least one) and the next step, due at once if no carrier accepted
        any. If the progress changed meanwhile, adds only the pages: a person who took the alert keeps it.
        """
        reached, now = any(one.taken for one in told), self.clock.steady_ms()
        fresh = msgspec.structs.replace(
            paged, reached=paged.reached or reached, pages=(*paged.pages, *told), told=paged.told + len(told),
            due=paged.due if reached else now,
        )  # fmt: skip
        for _ in range(TRIES):
            word = await self.waiting.put(record.id, fresh, seen=seen, word="paged", step=told[0].step)
            if word == "over":
                await self.waiting.remove([record.id])
            if word != "changed":
                return
            [(known, seen)] = await self.waiting.paged([record.id])
            since = begun(known, record)
            fresh = msgspec.structs.replace(since, pages=(*since.pages, *told), told=since.told + len(told))
