"""Stops all sending, or that of one organisation or one key, and pauses single alerts. One person can stop; two people
must resume.

The order of steps makes this safe. A stop writes its record, halts every live chain (an alert with its versions), and
then answers. An approval makes its chain live, reads the record and opens the gate. Then it reads the record again, and
applies it to its chain. A worker reads the record ten times a second, and applies it to every live chain. It sends
nothing if it has not read the record for half a second. It sends nothing from a chain that it could not apply the
record to.
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

TRIES = 10  # against concurrent stops and resumptions
FRESH_S = 0.5  # maximum age in seconds of the stops that a worker has read, while it sends


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """State of a scope (the service, an organisation or a key) after a stop or after a request to resume it."""

    scope: str
    stop: Stop | None  # None: the scope is not stopped
    halted: int  # live alerts that are halted by any stop


class StopControl:
    """Stops and resumes scopes, and reports active stops."""

    def __init__(
        self, stops: Stops, alerts: Alerts, access: Access, operators: OperatorStore, clock: Clock, *, host: str
    ) -> None:
        self._stops = stops
        self._alerts = alerts
        self._access = access
        self._operators = operators
        self._clock = clock
        self._host = host  # the organisation that runs the service
        self._applied = -1  # the generation of stops that is applied to every live chain
        self._heard = -inf  # start of the last successful reading of stops, in monotonic seconds
        self._behind = frozenset[str]()  # the live chains to which the stops could not be applied then

    async def stop(self, scope: str, who: Credential, reason: str) -> Effect:
        """Stops all sending of a scope (the service, an organisation or an API key, never a single alert) and returns
        its state. No new message is sent after this returns. Cancels the first person's request to resume, if there is
        one. Raises Problem for a test key, or if other callers keep changing the stops.
        """
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
                return await self._apply_to_scope(scope)
        raise contested("the stops")

    async def resume(self, scope: str, who: Credential) -> Effect:
        """Requests to lift a stop (first person), or lifts it (second person), and returns the scope's state. Repeating
        one's own request changes nothing. Raises Problem if both may be the same human, or the caller's key is stopped.
        """
        _check_live(who)
        for _ in range(TRIES):
            seen = await self._stops.read_standing()
            check_key_in(seen, who)
            new = _resumed(seen.stops.get(scope), who)
            if await self._kept(seen, scope, new):
                return await self._apply_to_scope(scope)
        raise contested("the stops")

    async def active(self, org: str) -> dict[str, Stop]:
        """Returns the stops that affect an organisation, by scope: of the service, of the organisation and of its keys."""
        found = (await self._stops.read_standing()).stops
        own = (SERVICE, of_org(org))
        return {scope: stop for scope, stop in found.items() if scope in own or scope.startswith(of_key(org, ""))}

    async def scope_of(self, what: str, key_id: str | None, who: Credential) -> str:
        """Returns the scope that a caller means. Raises Problem if the caller may not stop it, or if there is no such
        key.
        """
        if what == "service":
            if not who.may("admin") or who.org != self._host:
                raise Problem(
                    "not-allowed",
                    "Only an administrator of the organisation that runs the service can stop all of it.",
                    scope="admin",
                )
            return SERVICE
        if what == "organisation":
            return of_org(who.org)
        # This also finds a stopped key that was revoked later.
        is_stopped = key_id and of_key(who.org, key_id) in (await self._stops.read_standing()).stops
        if not key_id or not (is_stopped or await self._has(who.org, key_id)):
            raise Problem("not-found", "There is no such key or operator. If it was revoked, stop the organisation.")
        return of_key(who.org, key_id)

    async def _has(self, org: str, key_id: str) -> bool:
        """Returns whether an organisation has this key, or an operator with this id."""
        keys = {one.key_id for one in await self._access.list(org)}
        return key_id in keys or await self._operators.get(org, key_id) is not None

    async def administers(self, org: str, key_id: str) -> bool:
        """Returns whether the organisation has this key or operator now, it has the scope `admin`, and it is not
        stopped.
        """
        return (
            "admin" in await self.scopes(org, key_id)
            and of_key(org, key_id) not in (await self._stops.read_standing()).stops
        )

    async def scopes(self, org: str, key_id: str) -> frozenset[str]:
        """Returns the scopes that a key or an operator of an organisation has now. Returns none if it was revoked,
        disabled or has expired.
        """
        key = await self._access.get(key_id)
        if key is not None and key.org == org:
            return key.scopes
        operator = await self._operators.get(org, key_id)
        return scopes_of(operator.roles) if operator and not operator.disabled else frozenset()

    async def check(self, org: str, *key_ids: str) -> None:
        """Raises Problem if a stop of the service, of the organisation or of one of these keys is active."""
        _check(await self._stops.read_standing(), org, *key_ids)

    async def standing(self) -> StandingStops:
        """Returns the stops that are active now."""
        return await self._stops.read_standing()

    async def check_key(self, who: Credential) -> None:
        """Raises Problem if the caller's key is stopped."""
        check_key_in(await self._stops.read_standing(), who)

    async def apply_stops(self, chain: str) -> None:
        """Halts one alert, with all its versions, if an active stop covers it. Call it after the alert's gate was
        opened.
        """
        standing = await self._stops.read_standing()
        if standing.generation:
            checked(await self._stops.apply_stops(standing, [chain]))

    async def apply_to_live(self) -> bool:
        """Halts every live alert that an active stop covers. Several calls may run at the same time. Returns False if
        the stops that it read are too old already. Raises StoreUnavailableError. In both cases the worker must send
        nothing. If a server takes no writes, its alerts send nothing until it does and the stops are applied.
        """
        asked, behind = self._clock.monotonic(), frozenset[str]()
        standing = await self._stops.read_standing()
        if standing.stops or standing.generation != self._applied:
            chains = list(await self._alerts.live())
            answers = zip(chains, await self._stops.apply_stops(standing, chains), strict=True)
            behind = frozenset(chain for chain, answer in answers if isinstance(answer, Exception))
        if asked >= self._heard:  # otherwise a later call has returned sooner
            self._heard, self._behind = asked, behind
            self._applied = self._applied if behind else standing.generation
        return self._clock.monotonic() - asked <= FRESH_S

    def reapply_next(self) -> None:
        """Makes the next `apply_to_live` apply all stops again. The store was away, and may have lost what earlier
        calls wrote to the chains.
        """
        self._applied = -1

    def may_miss_stop(self, chain: str | None = None) -> bool:
        """Returns whether a stop may be active that this process has not read, or could not apply to this alert
        (`chain`: the id of its first version). Then nothing may be sent.
        """
        return chain in self._behind or self._clock.monotonic() - self._heard > FRESH_S

    async def pause(self, record: AlertRecord, who: Credential, *, waits: bool, rev: int | None) -> AlertRecord:
        """Pauses (`waits`) or resumes an alert that is being sent, with all its versions, and returns it. `record` may
        be any of them. Repeating the call changes nothing. Raises Problem.
        """
        done, old = await self._alerts.pause(record.id, waits=waits, by=who.signature, rev=rev)
        if not done and old == "changed":
            raise changed_since()
        if not done and old == "unseen":
            sentence = (
                "The alert is hidden or over. To pause or resume its follow-up, name the alert's revision (If-Match)."
            )
            raise Problem("precondition-failed", sentence)
        if not done:
            raise Problem(
                "precondition-failed", f"An alert that is {old} cannot be {'paused' if waits else 'resumed'}."
            )
        return await self._alerts.get(record.id) or record

    async def _kept(self, seen: StandingStops, scope: str, stop: Stop | None) -> bool:
        """Stores the state of a scope. Returns False if the stops were changed since they were read. If the scope has
        this state already, writes all the same: an earlier caller may have got no confirmation of the write.
        """
        if stop == seen.stops.get(scope):
            await self._stops.renew()
            return True
        return await self._stops.change(seen, scope, stop)

    async def _apply_to_scope(self, scope: str) -> Effect:
        """Applies the active stops to all live alerts, and returns the scope's state."""
        standing = await self._stops.read_standing()
        halted = sum(answer == 1 for answer in await self._stops.apply_stops(standing, await self._alerts.live()))
        return Effect(scope=scope, stop=standing.stops.get(scope), halted=halted)


def _check_live(who: Credential) -> None:
    """Raises Problem if the caller's key is a test key."""
    if who.test:
        raise Problem("not-allowed", "A test key cannot stop or resume anything.")


def check_submission(standing: StandingStops, who: Credential, *, goes_out: bool) -> None:
    """Raises Problem if a stop forbids a submission: a stop of the caller's key or, if the alert `goes_out` at once,
    also a stop of its organisation or of the service.
    """
    if goes_out:
        _check(standing, who.org, who.key_id)
    else:
        check_key_in(standing, who)


def _check(standing: StandingStops, org: str, *key_ids: str) -> None:
    """Raises Problem if the service, the organisation or one of these keys is stopped."""
    if found := standing.of(org, key_ids):
        raise Problem("stop-active", "A stop is active, so nothing is sent.", scope=found[0])


def check_key_in(standing: StandingStops, who: Credential) -> None:
    """Raises Problem if the caller's key is stopped in `standing`."""
    if of_key(who.org, who.key_id) in standing.stops:
        raise Problem("stop-active", "This key is stopped.", scope=of_key(who.org, who.key_id))


def _resumed(stop: Stop | None, who: Credential) -> Stop | None:
    """Returns the stop after a caller's request to lift it: None (lifted) if another person requested that before,
    otherwise the stop with this request as the first. Raises Problem if both may be the same human.
    """
    if stop is None:
        return None
    if not stop.first or who.is_person(stop.first):
        return msgspec.structs.replace(stop, first=who.subject, first_org=who.org, first_hands=tuple(sorted(who.hands)))
    if folded_subject(who.subject) in stop.first_hands or folded_subject(stop.first) in who.hands:
        raise Problem("same-person", "Two different people must resume, but one of you made the other's key.")
    return None
