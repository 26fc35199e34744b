"""Registers webhooks, which get events as they happen, signed by Standard Webhooks (https://www.standardwebhooks.com).

A secret is shown once, when it is made. After a rotation each older secret signs for another day. So every receiver
always gets a signature that it knows, even if the answer with the new secret was lost.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Generic

import msgspec

from alertd.common.clock import DAY_MS, Clock
from alertd.common.errors import Fault, Problem
from alertd.service.access import Credential
from alertd.service.records.events import TYPES, cursor_of, envelope, number_of
from alertd.store.records.events import Events
from alertd.store.sharing.webhooks import MOST_GIVEN_UP, Hook, Hooks, HookStanding, Of
from channels.fetching import Answered, Fetcher, FetchError, MayPost

#: Maximum number of webhooks, and of distributors, of an organisation. More would be a mistake, and each gets a copy of
#: every event.
MOST = 20
SECRET_BYTES = 32  # Standard Webhooks: 24 to 64
PREFIX = "whsec_"
OVERLAP_MS = DAY_MS
MOST_SECRETS = 10  # maximum number of secrets that sign at the same time: each adds 48 bytes to a header
GIVEN_UP_SHOWN = 100  # number of the latest failed events to show
#: Bytes to read of an answer to an event. alertd does not use them, but a connection closes cleanly after them.
ANSWER_BYTES = 4_096
EVENT = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A webhook and its state, with the numbers of its events that wait and of those that it never accepted."""

    hook: Hook
    standing: HookStanding
    waiting: int
    given_up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """An event that alertd stopped sending to a webhook, because the webhook never accepted it."""

    event: bytes | None  # None: it is deleted
    cursor: str  # cursor of the event before it: a replay after this cursor sends it again
    at: int  # UNIX ms


class Subscriptions(Generic[Of]):
    """Adds, changes and removes webhooks or distributors, and limits their number."""

    word: ClassVar[str]  # the noun for one of them, in texts

    def __init__(self, hooks: Hooks[Of], events: Events, poster: Fetcher, clock: Clock) -> None:
        self._hooks = hooks
        self._events = events
        self._poster = poster
        self._clock = clock

    async def remove(self, org: str, hook_id: str) -> None:
        """Removes a webhook or distributor with its queue. Raises Problem if there is none."""
        if not await self._hooks.remove(org, hook_id):
            raise self._none()

    async def _add(self, hook: Of) -> Of:
        """Stores a new webhook or distributor and returns it. It gets all events from now on. Raises Problem if there
        are too many.
        """
        if len(await self._hooks.of_org(hook.org)) >= MOST:
            raise Problem("precondition-failed", f"There are {MOST} {self.word}s already: remove one.")
        await self._hooks.put(hook, queued=(await self._events.page(hook.org, 0, 1)).last)
        return hook

    async def _change(self, org: str, hook_id: str, change: Callable[[Of], Of]) -> Of:
        """Changes a webhook or distributor and returns it. Raises Problem if there is none."""
        if (fresh := await self._hooks.change(org, hook_id, change)) is None:
            raise self._none()
        return fresh

    def _check(self, url: str, faults: Iterable[Fault]) -> None:
        """Raises Problem with these faults, and with one more if alertd may not post to the URL."""
        found = [*faults]
        try:
            self._poster.check(url)
        except FetchError as error:
            found.append(Fault("/url", str(error)))
        if found:
            raise Problem("invalid-request", f"There can be no such {self.word}.", faults=tuple(found))

    def _none(self) -> Problem:
        """Returns the Problem for an unknown webhook or distributor."""
        return Problem("not-found", f"There is no such {self.word}.")


class Webhooks(Subscriptions[Hook]):
    """Creates, shows, tests and replays webhooks."""

    word = "webhook"

    async def create(self, who: Credential, url: str, types: Sequence[str]) -> tuple[Watched, str]:
        """Creates a webhook that gets all events from now on. Returns it with its secret. Raises Problem."""
        unknown = (i for i, name in enumerate(types) if name not in TYPES)
        self._check(url, (Fault(f"/types/{i}", "There is no event of this type.") for i in unknown))
        secret = new_secret()
        hook = Hook(
            id=f"wh_{secrets.token_hex(8)}", org=who.org, url=url, types=tuple(sorted(set(types))),
            secrets=((secret, 0),), by=who.subject, made=self._clock.now_ms(),
        )  # fmt: skip
        return await self._watched(await self._add(hook)), secret

    async def of_org(self, org: str) -> list[Watched]:
        """Returns the organisation's webhooks, the oldest first."""
        return await asyncio.gather(*map(self._watched, await self._hooks.of_org(org)))

    async def get(self, org: str, hook_id: str) -> Watched:
        """Returns a webhook. Raises Problem if there is none."""
        return await self._watched(await self._hook(org, hook_id))

    async def given_up(self, hook: Hook) -> list[GivenUp]:
        """Returns the latest events that a webhook never accepted."""
        found = await self._hooks.given_up(hook, GIVEN_UP_SHOWN)
        events = await asyncio.gather(*(self._events.one(hook.org, number) for number, _ in found))
        return [
            GivenUp(event=event, cursor=cursor_of(number - 1), at=at)
            for event, (number, at) in zip(events, found, strict=True)
        ]

    async def rotate(self, org: str, hook_id: str) -> tuple[Watched, str]:
        """Makes a new secret. Each older one signs until a day after it was replaced. Returns the webhook and the new
        secret. Raises Problem.
        """
        secret, now = new_secret(), self._clock.now_ms()
        fresh = await self._change(org, hook_id, lambda hook: rotated(hook, secret, now))
        return await self._watched(fresh), secret

    async def resume(self, org: str, hook_id: str) -> Watched:
        """Turns a webhook on again, and returns it. It gets the waiting events and those that happened while it was
        off. Raises Problem.
        """
        hook = await self._hook(org, hook_id)
        waiting = sorted(await self._hooks.waiting(hook), key=int)  # each is due within a day from now
        await self._hooks.again(hook, waiting, self._clock.steady_ms())
        await self._hooks.turn_on(hook)
        return await self._watched(hook)

    async def replay(self, org: str, hook_id: str, *, cursor: str | None = None, event: str | None = None) -> Watched:
        """Queues events again: all after a cursor, one event, or, without both, those that the webhook never accepted.
        Returns the webhook. Raises Problem.
        """
        hook, now = await self._hook(org, hook_id), self._clock.steady_ms()
        if cursor is not None:
            number = number_of(cursor)
            if number > (await self._events.page(org, number, 1)).last:
                raise Problem("not-found", "There is no such cursor.")
            await self._hooks.rewind(hook, number)
        elif event is not None:
            found = await self._events.number_of(org, event)
            if found is None:
                raise Problem("not-found", "There is no such event, or it is deleted.")
            await self._hooks.again(hook, [str(found)], now)
        else:
            given_up = await self._hooks.given_up(hook, MOST_GIVEN_UP)
            await self._hooks.again(hook, [str(number) for number, _ in reversed(given_up)], now)
        return await self._watched(hook)

    async def ping(self, org: str, hook_id: str) -> int:
        """Posts a test event once, now. Returns the status of the answer, or 0 without an answer. Raises Problem."""
        hook, now = await self._hook(org, hook_id), self._clock.now_ms()
        event_id = f"evt_{secrets.token_hex(12)}"
        event = envelope(event_id, "ping", now, {"webhook": hook.id})
        try:
            return (await post(self._poster, hook, event, event_id, now)).status
        except FetchError:
            return 0

    async def _hook(self, org: str, hook_id: str) -> Hook:
        """Returns an organisation's webhook. Raises Problem if there is none."""
        if found := await self._hooks.one(org, hook_id):
            return found
        raise self._none()

    async def _watched(self, hook: Hook) -> Watched:
        """Returns a webhook with its state from the store."""
        [standing], (waiting, given_up) = await self._hooks.standing([hook]), await self._hooks.counts(hook)
        return Watched(hook=hook, standing=standing, waiting=waiting, given_up=given_up)


async def post(
    poster: Fetcher, hook: Hook, body: bytes, message_id: str, now_ms: int, may_post: MayPost | None = None, *,
    headers: Mapping[str, str] = MappingProxyType({}), answer_bytes: int = ANSWER_BYTES,
) -> Answered:  # fmt: skip
    """Posts a signed message once, with additional `headers`. Returns the answer with at most `answer_bytes` of its
    body. Raises as `Fetcher.hand_over` does.
    """
    said = {**signed(hook, body, message_id, now_ms), **headers}
    return await poster.hand_over(hook.url, body, said, answer_bytes, may_post)


def signed(hook: Hook, event: bytes, event_id: str, now_ms: int) -> dict[str, str]:
    """Returns the headers of Standard Webhooks, with a signature by each secret that still signs."""
    at = str(now_ms // 1000)
    said = f"{event_id}.{at}.".encode() + event
    signatures = [_signature(secret, said) for secret, until in hook.secrets if not until or until > now_ms]
    return {
        "Content-Type": EVENT,
        "webhook-id": event_id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(signatures),
    }


def _signature(secret: str, said: bytes) -> str:
    """Returns a Standard Webhooks signature (`v1,…`) of a message by one secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return f"v1,{base64.b64encode(hmac.digest(key, said, hashlib.sha256)).decode()}"


def rotated(hook: Of, secret: str, now_ms: int) -> Of:
    """Returns a webhook or distributor with a new secret; each older one signs until a day after it was replaced.
    Raises Problem if too many secrets would sign: dropping one might drop the receiver's own.
    """
    old = [(one, until or now_ms + OVERLAP_MS) for one, until in hook.secrets if not until or until > now_ms]
    if len(old) >= MOST_SECRETS:
        raise Problem("precondition-failed", f"{MOST_SECRETS} secrets sign already: the oldest ends within a day.")
    return msgspec.structs.replace(hook, secrets=((secret, 0), *old))


def new_secret() -> str:
    """Returns a new random secret in the form of Standard Webhooks."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
