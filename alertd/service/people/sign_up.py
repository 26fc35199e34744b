"""Lets people sign up by mail, change their settings and leave, without a key.

A request to sign up stores no person: the link in the mail contains the request (`sign_up_links`). A request only queues a
mail, so the answer and its time reveal nothing about a mailbox (`sign_up_mails`).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alertd.common.clock import Clock, time_of
from alertd.common.errors import Problem
from alertd.model.kinds import Kind
from alertd.model.registration import MAX_PLACES, Registration
from alertd.model.states import CHANNELS
from alertd.model.subscriber import Subscriber, to_document, wants_kind
from alertd.service.areas.regions import Regions
from alertd.service.decision_checks import TRIES, contested
from alertd.service.people.own_record import SIGNED_UP, OwnRecord, is_alone
from alertd.service.people.registration_intake import Entry, parse_registration
from alertd.service.people.registry import Registry
from alertd.service.people.sign_up_links import DeviceWish, OwnSettings, SignUpLinks, Wish, digest_of
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
    MANAGED = "managed"  # an organisation registered the subscriber and keeps the places


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

    async def ask(self, wish: Wish, places: Sequence[str]) -> None:
        """Queues the mail that a request to sign up leads to. `places`: the full names of its regions, in its language.
        Raises StoreUnavailableError.
        """
        await self._queue("sign-up", wish.mailbox, wish.language, token=self.links.make(wish), places=tuple(places))

    async def ask_for_settings(self, mailbox: str, language: str) -> None:
        """Queues the mail with the link to the settings of a mailbox's subscriber. Raises StoreUnavailableError."""
        await self._queue("settings", mailbox, language)

    async def ask_for_trial(self, own: OwnRecord, language: str) -> None:
        """Queues a test message to a subscriber's own mailbox. Raises StoreUnavailableError."""
        await self._queue("test", own.address.value, language)

    async def confirm(self, token: str) -> tuple[Confirmed, str]:
        """Registers the person of a confirmation link. Returns the result, and the subscriber's id ("" without one).

        Adds the places to a known subscriber (`add_to`). Idempotent: repeating a confirmation succeeds and changes
        nothing. Raises Problem, StoreUnavailableError.
        """
        wish = self.links.open(token, Wish)
        if wish is None:
            return Confirmed.BROKEN, ""
        address = (MAIL, wish.mailbox)
        refused, is_suppressed = await refusal(self.suppression, address, wish.made_s)
        if refused is not None:
            return refused, ""
        known = await self._registered(wish)
        if known is None:
            return Confirmed.BROKEN, ""
        result = await add_to(self.registry, known, wish, SOURCE, self.clock.now_ms(), is_back=is_suppressed)
        if result is Confirmed.DONE and is_suppressed:
            await self.suppression.start([address])
        return result, known.id

    async def _registered(self, wish: Wish) -> Subscriber | None:
        """Returns the subscriber who has the mailbox, else registers one. Returns None if the link's subscriber has
        another mailbox now. Raises Problem.
        """
        known = await self.registry.lookup(MAIL, wish.mailbox)
        name = f"{SIGNED_UP}{self.codec.hashed('sign-up', wish.once.hex())}"
        if known is None and await stored(self.registry, name) is None:
            mailbox = {"channel": "mail", "mailbox": wish.mailbox}
            registration = registration_of(wish, mailbox, SOURCE, self.clock.now_ms())
            try:
                return await self.registry.put_entry(Entry(name, registration))
            except Problem:
                if (known := await self.registry.lookup(MAIL, wish.mailbox)) is None:
                    raise
        # Another click on the same link may have been faster.
        return known or await self.registry.lookup(MAIL, wish.mailbox)

    async def opened(self, token: str) -> OwnRecord | None:
        """Returns what a link to settings opens. Returns None if the link is not valid, or the subscriber or the
        address is gone.
        """
        found = self.links.open(token, OwnSettings)
        return None if found is None else await self._own(found.subscriber, found.address)

    async def _own(self, subscriber: str, digest: bytes) -> OwnRecord | None:
        """Returns the record of a subscriber for the owner of the address with this digest, or None."""
        person = await stored(self.registry, subscriber)
        addresses = person.addresses if person else ()
        address = next((one for one in addresses if digest_of(one.key) == digest), None)
        return OwnRecord(person=person, address=address) if person and address else None

    async def change(self, own: OwnRecord, patch: dict[str, Any]) -> None:
        """Changes a subscriber's own settings by a merge patch of the registration. Raises Problem, also if the record
        is not whole or was changed since it was opened: others may have joined it.
        """
        if not own.is_whole:
            raise Problem("not-allowed", "An organisation registered this subscriber.")
        await self.registry.patch(own.person.id, patch, own.person.version)

    async def is_blocked(self, own: OwnRecord) -> bool:
        """Returns whether an operator keeps the address on the suppression list."""
        return await self.suppression.is_held((own.address.channel, own.address.value))

    async def switch(self, own: OwnRecord, *, on: bool) -> None:
        """Stops the messages to the address, or allows them again unless an operator stopped them. Raises
        StoreUnavailableError.
        """
        change = self.suppression.start if on else self.suppression.stop
        await change([(own.address.channel, own.address.value)])

    async def erase(self, own: OwnRecord) -> None:
        """Deletes a subscriber, or only the address if the record is not whole. The address stays on the suppression
        list as a keyed hash, so that neither an older link nor an import brings it back. Raises Problem,
        StoreUnavailableError.
        """
        await self.switch(own, on=False)
        # That may have changed the record, and others may have joined it.
        now = await self._own(own.person.id, digest_of(own.address.key))
        if now is not None and now.is_whole:
            await self.registry.forget(now.person.id, now.person.version)
        elif now is not None:
            await self.registry.drop_address(now.person.id, now.address.number, now.person.version)

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


async def stored(registry: Registry, name: str) -> Subscriber | None:
    """Returns the subscriber with an id, or None. Raises Problem if the record is unreadable."""
    try:
        return await registry.get(name)
    except Problem as problem:
        if problem.slug == "not-found":
            return None
        raise


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
            "consent": consent_of(kinds_of(wish), source, now_ms),
        }
    )


def kinds_of(wish: DeviceWish) -> list[str]:
    """Returns the kinds of alert that a form asks for."""
    return [Kind.MISSING_CHILD.value, *([Kind.GENERAL.value] if wish.general else [])]


def consent_of(kinds: list[str], source: str, now_ms: int) -> dict[str, Any]:
    """Returns the consent of a form to these kinds of alert, as a member of a registration."""
    at = time_of(now_ms).isoformat()
    return {"at": at, "source": source, "version": CONSENT_VERSION, "purposes": kinds}


def has_all(person: Subscriber, wish: DeviceWish) -> bool:
    """Returns whether a subscriber gets what a form asks for already: these kinds of alert, for these places."""
    is_there = {place.region for place in person.places}.issuperset(wish.regions)
    return is_there and all(wants_kind(person, kind) for kind in kinds_of(wish))


async def add_to(
    registry: Registry, person: Subscriber, wish: DeviceWish, source: str, now_ms: int, *, is_back: bool
) -> Confirmed:
    """Adds the places and kinds of a form to a subscriber who signed up, and renews the consent. Never changes a stored
    place, nor a record that an organisation registered.

    `is_back`: the subscriber stopped the address and wants it again. Language and kinds of the form then replace the
    stored ones, as they do after a withdrawn consent. Writes nothing if there is nothing to add. Raises Problem,
    StoreUnavailableError.
    """
    for _ in range(TRIES):
        patch = _addition(person, wish, source, now_ms, is_back=is_back)
        if isinstance(patch, Confirmed):
            return patch
        try:
            await registry.patch(person.id, patch, person.version)
        except Problem as problem:
            if problem.slug != "version-changed":
                raise
            person = await registry.get(person.id)
        else:
            return Confirmed.DONE
    raise contested("this subscriber")


def _addition(
    person: Subscriber, wish: DeviceWish, source: str, now_ms: int, *, is_back: bool
) -> dict[str, Any] | Confirmed:
    """Returns the patch with which `add_to` changes a subscriber, or the result if there is nothing to change."""
    if not is_alone(person):
        return Confirmed.MANAGED
    withdrawn_s = person.consent.withdrawn_at_s
    if withdrawn_s is not None and withdrawn_s >= wish.made_s:
        return Confirmed.LEFT
    is_back = is_back or withdrawn_s is not None
    if not is_back and has_all(person, wish):
        return Confirmed.DONE
    regions, names = {place.region for place in person.places}, {place.name for place in person.places}
    free = [name for name in PLACE_NAMES if name not in names]
    fresh = [code for code in wish.regions if code not in regions]
    if len(fresh) > len(free):
        return Confirmed.FULL
    kinds = list(dict.fromkeys([*([] if is_back else to_document(person)["kinds"]), *kinds_of(wish)]))
    patch = {
        "kinds": kinds,
        "places": {name: {"region": code} for name, code in zip(free, fresh, strict=False)},
        "consent": consent_of(kinds, source, now_ms),
    }
    return patch | {"languages": [wish.language]} if is_back else patch
