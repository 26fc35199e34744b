"""Lets people sign up by mail, change their settings and leave, without a key.

A request to sign up stores no person: the link in the mail contains the request (`sign_up_links`). A request only queues a
mail, so the answer and its time reveal nothing about a mailbox (`sign_up_mails`).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from alertd.common.clock import Clock, time_of
from alertd.common.errors import Problem
from alertd.model.kinds import Kind
from alertd.model.registration import MAX_PLACES, Registration
from alertd.model.states import CHANNELS
from alertd.model.subscriber import Subscriber
from alertd.service.areas.regions import Regions
from alertd.service.people.registration_intake import Entry, parse_registration
from alertd.service.people.registry import Registry
from alertd.service.people.sign_up_links import DeviceWish, OwnSettings, SignUpLinks, Wish
from alertd.service.people.suppression import Given, Suppression
from alertd.store.carriers.limits import Limits
from alertd.store.engine.codec import Codec
from alertd.store.engine.sealed_queue import WAITS_MS
from alertd.store.people.sign_up_queue import SignUpMail, SignUpQueue

#: Version of the consent text in the catalogues. Change it whenever the meaning of the text changes.
CONSENT_VERSION = "2026-12"
SOURCE = "web sign-up"
MAIL = CHANNELS.index("mail")
HOUR_S = 3600
#: Requests of one network (/24 or /48) in an hour: a school or an office may share one.
PER_NETWORK = 60
#: Names of the places, in the order in which they are given. An alert may count only some kinds of place, and most alerts
#: count homes and schools: so those names come first, and nobody misses an alert because of a name.
PLACE_NAMES = ("home", "school", "work", *(f"area-{number}" for number in range(1, MAX_PLACES - 2)))


class Confirmed(enum.Enum):
    """The result of a confirmation."""

    DONE = "done"
    BROKEN = "broken"  # a forged, damaged or expired link
    LEFT = "left"  # the person left after the link was made
    BLOCKED = "blocked"  # an operator keeps the address on the suppression list
    FULL = "full"  # the subscriber has no room for a further place


@dataclass(frozen=True, kw_only=True, slots=True)
class SignUp:
    """Takes sign-ups and changes of the public."""

    queue: SignUpQueue
    registry: Registry
    regions: Regions
    suppression: Suppression
    limits: Limits
    links: SignUpLinks
    codec: Codec
    clock: Clock
    is_open: bool
    per_hour: int  # requests of everyone together

    async def admits(self, network: str) -> bool:
        """Counts a request of a network. Returns False if the network, or everyone together, sent too many this hour."""
        return await self._take(f"network {network}", PER_NETWORK) and await self._take("everyone", self.per_hour)

    async def ask(self, wish: Wish) -> None:
        """Queues the mail that a request to sign up leads to. Raises StoreUnavailableError."""
        library = self.regions.library
        places = tuple(library.get(code).name_in(wish.language) for code in wish.regions if code in library)
        await self._queue("sign-up", wish.mailbox, wish.language, token=self.links.make(wish), places=places)

    async def ask_for_settings(self, mailbox: str, language: str) -> None:
        """Queues the mail with the link to the settings of a mailbox's subscriber. Raises StoreUnavailableError."""
        await self._queue("settings", mailbox, language)

    async def ask_for_trial(self, person: Subscriber, language: str) -> None:
        """Queues a test message to a subscriber. Raises StoreUnavailableError."""
        for mailbox in mailboxes_of(person)[:1]:
            await self._queue("test", mailbox, language)

    async def confirm(self, token: str) -> tuple[Confirmed, str]:
        """Registers the person of a confirmation link. Returns the result, and the subscriber's id ("" without one).

        Idempotent: repeating a confirmation succeeds and changes nothing. Raises Problem, StoreUnavailableError.
        """
        wish = self.links.open(token, Wish)
        if wish is None:
            return Confirmed.BROKEN, ""
        address = (MAIL, wish.mailbox)
        refused, is_suppressed = await refusal(self.suppression, address, wish.made_s)
        if refused is not None:
            return refused, ""
        known = await self.registry.lookup(MAIL, wish.mailbox)
        if known is not None and not is_suppressed:
            return Confirmed.DONE, known.id
        name = known.id if known else f"web-{self.codec.hashed('sign-up', wish.once.hex())}"
        parts = ("languages", "kinds", "consent", *(f"places/{name}" for name in PLACE_NAMES[: len(wish.regions)]))
        mailbox = {"channel": "mail", "mailbox": wish.mailbox}
        registration = registration_of(wish, mailbox, SOURCE, self.clock.now_ms())
        entry = Entry(name, registration, only=parts if known else ())
        try:
            await self.registry.put_entry(entry)
        except Problem:
            known = await self.registry.lookup(MAIL, wish.mailbox)  # another click on the same link was faster
            if known is None:
                raise
            name = known.id
        if is_suppressed:
            await self.suppression.start([address])
        return Confirmed.DONE, name

    def settings_token(self, subscriber: str) -> str:
        """Returns the token of a link to a subscriber's own settings."""
        return self.links.make(OwnSettings(made_s=self.links.now_s(), subscriber=subscriber))

    async def person(self, token: str) -> Subscriber | None:
        """Returns the subscriber of a link to settings. Returns None if the link is not valid, or the subscriber is gone."""
        found = self.links.open(token, OwnSettings)
        if found is None:
            return None
        try:
            return await self.registry.get(found.subscriber)
        except Problem as problem:
            if problem.slug == "not-found":
                return None
            raise

    async def change(self, person: Subscriber, patch: dict[str, Any]) -> Subscriber:
        """Changes a subscriber's own settings by a merge patch of the registration. Raises Problem."""
        return await self.registry.patch(person.id, patch)

    async def erase(self, person: Subscriber) -> None:
        """Deletes a subscriber. The addresses stay on the suppression list as keyed hashes, so that neither an older link
        nor an import brings them back. Raises Problem, StoreUnavailableError.
        """
        await self.suppression.stop([(address.channel, address.value) for address in person.addresses])
        await self.registry.forget(person.id)

    async def _queue(
        self, kind: str, mailbox: str, language: str, *, token: str = "", places: tuple[str, ...] = ()
    ) -> None:
        until = self.clock.now_ms() + WAITS_MS
        await self.queue.add(
            SignUpMail(kind=kind, mailbox=mailbox, language=language, until=until, token=token, places=places)
        )

    async def _take(self, what: str, per_hour: int) -> bool:
        """Counts one request of `what`, which the store sees as a keyed hash only."""
        name = f"sign-up/{self.codec.hashed('sign-up limit', what)}"
        return bool((await self.limits.take(name, per_hour / HOUR_S, per_hour, 1)).granted)


def mailboxes_of(person: Subscriber) -> list[str]:
    """Returns the mailboxes of a subscriber."""
    return [address.value for address in person.addresses if address.channel == MAIL]


async def refusal(suppression: Suppression, address: Given, made_s: int) -> tuple[Confirmed | None, bool]:
    """Returns why an address cannot be signed up by a form of the time `made_s` (UNIX s), or None; and whether the address
    is on the suppression list.
    """
    since = await suppression.since(address)
    if since is None:
        return None, False
    if await suppression.is_held(address):
        return Confirmed.BLOCKED, True
    return (Confirmed.LEFT if since >= made_s else None), True


def registration_of(wish: DeviceWish, address: dict[str, Any], source: str, now_ms: int) -> Registration:
    """Returns the registration of a new subscriber with one address."""
    places = zip(PLACE_NAMES, wish.regions, strict=False)
    return parse_registration(
        {
            "languages": [wish.language],
            "kinds": kinds_of(wish),
            "places": {name: {"region": code} for name, code in places},
            "addresses": [address],
            "consent": consent_of(wish, source, now_ms),
        }
    )


def kinds_of(wish: DeviceWish) -> list[str]:
    """Returns the kinds of alert that a form asks for."""
    return [Kind.MISSING_CHILD.value, *([Kind.GENERAL.value] if wish.general else [])]


def consent_of(wish: DeviceWish, source: str, now_ms: int) -> dict[str, Any]:
    """Returns the consent of a form, as a member of a registration."""
    at = time_of(now_ms).isoformat()
    return {"at": at, "source": source, "version": CONSENT_VERSION, "purposes": kinds_of(wish)}
