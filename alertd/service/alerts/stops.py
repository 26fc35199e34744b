"""Stopping everything, an organisation or one key: one person stops, two resume. And one alert that is to wait.

Order is what makes it safe. A stop writes its record, halts every live chain, then answers. An approval makes its chain live,
reads the record, opens the gate, and puts what it reads then on its chain. A worker reads the record ten times a second, puts
it on every live chain, and sends nothing when it has not read it for half a second, nor from a chain that it could not put it on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import msgspec

from alertd.common.clock import Clock
from alertd.common.errors import Problem
from alertd.model.fields import folded_subject
from alertd.model.operator import scopes_of
from alertd.service.access import Access, Credential
from alertd.service.decision_checks import changed_since, contested
from alertd.store.alerts.alerts import Alerts
from alertd.store.alerts.records import AlertRecord
from alertd.store.engine.connection import checked
from alertd.store.organisations.operators import OperatorStore
from alertd.store.organisations.organisations import SERVICE, StandingStops, Stop, Stops, of_key, of_org

TRIES = 10  # against others who stop and resume at the same moment
FRESH_S = 0.5  # what was read of stops may be so old while something is sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How a scope stands after somebody stopped or resumed it."""

    scope: str
    stop: Stop | None  # None: nothing is stopped there
    halted: int  # live alerts that wait because of any stop


class StopControl:
    """Stops and resumes, and says what is stopped."""

    def __init__(
        self, stops: Stops, alerts: Alerts, access: Access, operators: OperatorStore, clock: Clock, *, host: str
    ) -> None:
        self._stops = stops
        self._alerts = alerts
        self._access = access
        self._operators = operators
        self._clock = clock
        self._host = host  # the organisation of whoever runs the service
        self._obeyed = -1  # the generation that every live chain was brought in line with
        self._heard = -inf  # when it was last asked what is stopped
        self._behind = frozenset[str]()  # the live chains that could not be brought in line then

    async def stop(self, scope: str, who: Credential, reason: str) -> Effect:
        """From the answer on nothing more is begun. Whoever asked to resume before is asked again. Raises Problem."""
        _check_live(who)
        for _ in range(TRIES):
            seen = await self._stops.read_standing()
            old = seen.stops.get(scope)
            stop = (
                old
                if old and not old.first
                else Stop(by=who.subject, org=who.org, at=self._clock.now_ms(), reason=reason)
            )
            if await self._kept(seen, scope, stop):
                return await self._put_on(scope)
        raise contested("what is stopped")

    async def resume(self, scope: str, who: Credential) -> Effect:
        """The first person asks, the second lifts the stop. Raises Problem for the same human on both sides."""
        _check_live(who)
        for _ in range(TRIES):
            seen = await self._stops.read_standing()
            check_key_in(seen, who)
            new = _resumed(seen.stops.get(scope), who)
            if await self._kept(seen, scope, new):
                return await self._put_on(scope)
        raise contested("what is stopped")

    async def active(self, org: str) -> dict[str, Stop]:
        """What is stopped, as far as it touches an organisation, by scope."""
        found = (await self._stops.read_standing()).stops
        own = (SERVICE, of_org(org))
        return {scope: stop for scope, stop in found.items() if scope in own or scope.startswith(of_key(org, ""))}

    async def scope_of(self, what: str, key_id: str | None, who: Credential) -> str:
        """The scope that a caller means. Raises Problem where it is not theirs, or there is no such key."""
        if what == "service":
            if not who.may("admin") or who.org != self._host:
                raise Problem(
                    "not-allowed", "Only an administrator of whoever runs it stops the whole service.", scope="admin"
                )
            return SERVICE
        if what == "organisation":
            return of_org(who.org)
        is_stopped = (
            key_id and of_key(who.org, key_id) in (await self._stops.read_standing()).stops
        )  # a key that was revoked since
        if not key_id or not (is_stopped or await self._has(who.org, key_id)):
            raise Problem("not-found", "There is no such key or operator. If it was revoked, stop the organisation.")
        return of_key(who.org, key_id)

    async def _has(self, org: str, key_id: str) -> bool:
        """Whether an organisation has this key, or the operator whose sessions go under it."""
        keys = {one.key_id for one in await self._access.list(org)}
        return key_id in keys or await self._operators.get(org, key_id) is not None

    async def administers(self, org: str, key_id: str) -> bool:
        """Whether an organisation has this key, or operator, now, it is an administrator's, and it is not stopped."""
        return (
            "admin" in await self.scopes(org, key_id)
            and of_key(org, key_id) not in (await self._stops.read_standing()).stops
        )

    async def scopes(self, org: str, key_id: str) -> frozenset[str]:
        """What a key, or an operator, of an organisation may do now; nothing where it was revoked, disabled or has expired."""
        key = await self._access.get(key_id)
        if key is not None and key.org == org:
            return key.scopes
        operator = await self._operators.get(org, key_id)
        return scopes_of(operator.roles) if operator and not operator.disabled else frozenset()

    async def check(self, org: str, *key_ids: str) -> None:
        """Raises Problem when nothing of an organisation that these keys have a hand in may be opened now."""
        _check(await self._stops.read_standing(), org, *key_ids)

    async def standing(self) -> StandingStops:
        """What is stopped now."""
        return await self._stops.read_standing()

    async def check_key(self, who: Credential) -> None:
        """Raises Problem when this key is stopped."""
        check_key_in(await self._stops.read_standing(), who)

    async def put_on(self, chain: str) -> None:
        """What is stopped now counts for a chain whose gate was just opened."""
        standing = await self._stops.read_standing()
        if standing.generation:
            checked(await self._stops.put_on(standing, [chain]))

    async def obey(self) -> bool:
        """Brings all live chains in line with what is stopped now; may be asked again before it has answered. Answers whether that is not too old
        already. Raises StoreUnavailableError. In both cases nothing may be sent. A chain whose server takes no writes sends nothing until it
        does and was brought in line.
        """
        asked, behind = self._clock.monotonic(), frozenset[str]()
        standing = await self._stops.read_standing()
        if standing.stops or standing.generation != self._obeyed:
            chains = list(await self._alerts.live())
            answers = zip(chains, await self._stops.put_on(standing, chains), strict=True)
            behind = frozenset(chain for chain, answer in answers if isinstance(answer, Exception))
        if asked >= self._heard:  # else whoever asked later was answered sooner
            self._heard, self._behind = asked, behind
            self._obeyed = self._obeyed if behind else standing.generation
        return self._clock.monotonic() - asked <= FRESH_S

    def doubt(self) -> None:
        """The store was away. What was put on chains, or taken off them, may not have outlived that: it is done again."""
        self._obeyed = -1

    def is_deaf(self, chain: str | None = None) -> bool:
        """Whether something may have been stopped that this process does not know of, or that this chain does not: then nothing is sent."""
        return chain in self._behind or self._clock.monotonic() - self._heard > FRESH_S

    async def pause(self, record: AlertRecord, who: Credential, *, waits: bool, rev: int | None) -> AlertRecord:
        """Let an alert that is being sent wait, or go on, with whatever tells it now; any of its versions names it. Saying it twice
        changes nothing. Raises Problem.
        """
        done, old = await self._alerts.pause(record.id, waits=waits, by=who.signature, rev=rev)
        if not done and old == "changed":
            raise changed_since()
        if not done and old == "unseen":
            sentence = (
                "The alert is hidden or over: what tells of that waits only for whoever names its revision (If-Match)."
            )
            raise Problem("precondition-failed", sentence)
        if not done:
            raise Problem(
                "precondition-failed", f"An alert that is {old} cannot be {'paused' if waits else 'resumed'}."
            )
        return await self._alerts.get(record.id) or record

    async def _kept(self, seen: StandingStops, scope: str, stop: Stop | None) -> bool:
        """Whether a scope stands so now, as nobody changed it since. What is so already is written all the same: whoever asked before may have heard
        that it was not confirmed.
        """
        if stop == seen.stops.get(scope):
            await self._stops.renew()
            return True
        return await self._stops.change(seen, scope, stop)

    async def _put_on(self, scope: str) -> Effect:
        standing = await self._stops.read_standing()
        halted = sum(answer == 1 for answer in await self._stops.put_on(standing, await self._alerts.live()))
        return Effect(scope=scope, stop=standing.stops.get(scope), halted=halted)


def _check_live(who: Credential) -> None:
    if who.test:
        raise Problem("not-allowed", "A test key neither stops nor resumes.")


def check_submission(standing: StandingStops, who: Credential, *, goes_out: bool) -> None:
    """Raises Problem when what is submitted meets a stop: that of its key, or any where it `goes_out` at once."""
    if goes_out:
        _check(standing, who.org, who.key_id)
    else:
        check_key_in(standing, who)


def _check(standing: StandingStops, org: str, *key_ids: str) -> None:
    if found := standing.of(org, key_ids):
        raise Problem("stop-active", "Nothing is sent here: a stop is active.", scope=found[0])


def check_key_in(standing: StandingStops, who: Credential) -> None:
    """Raises Problem where its key is among what is stopped."""
    if of_key(who.org, who.key_id) in standing.stops:
        raise Problem("stop-active", "This key is stopped.", scope=of_key(who.org, who.key_id))


def _resumed(stop: Stop | None, who: Credential) -> Stop | None:
    """What is left of a stop when somebody asks to lift it: nothing, if another person did before."""
    if stop is None:
        return None
    if not stop.first or who.is_person(stop.first):
        return msgspec.structs.replace(stop, first=who.subject, first_org=who.org, first_hands=tuple(sorted(who.hands)))
    if folded_subject(who.subject) in stop.first_hands or folded_subject(stop.first) in who.hands:
        raise Problem("same-person", "Two people resume: of these two, one made the other's key.")
    return None
