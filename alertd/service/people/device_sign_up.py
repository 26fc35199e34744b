"""Lets people sign up a browser by web push, without a key and without an address that names them.

A browser proves itself by its subscription, because only the browser knows its keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alertd.common.clock import Clock
from alertd.model.kinds import Channel
from alertd.model.registration import PushSubscription
from alertd.model.states import CHANNELS
from alertd.model.subscriber import Subscriber, to_document
from alertd.service.people.registration_intake import Entry
from alertd.service.people.registry import Registry
from alertd.service.people.sign_up import PLACE_NAMES, Confirmed, consent_of, kinds_of, refusal, registration_of
from alertd.service.people.sign_up_links import DeviceWish, SignUpLinks
from alertd.service.people.suppression import Suppression
from alertd.store.engine.codec import Codec

SOURCE = "web sign-up of a device"
WEBPUSH = CHANNELS.index(Channel.WEBPUSH)


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceSignUp:
    """Registers browsers."""

    registry: Registry
    suppression: Suppression
    links: SignUpLinks
    codec: Codec
    clock: Clock
    application_server_key: str  # of the web push carrier, in base64url; "" without one
    is_open: bool

    async def register(self, token: str, subscription: PushSubscription) -> tuple[Confirmed, str]:
        """Registers a browser for the places of a form, or adds them to what it has already. Returns the result, and the
        subscriber's id ("" without one). Refuses a known endpoint with other keys: another program sent it.

        Idempotent. One form registers one browser: a second one with the same token replaces the first. Raises Problem,
        StoreUnavailableError.
        """
        wish = self.links.open(token, DeviceWish)
        if wish is None:
            return Confirmed.BROKEN, ""
        address = (WEBPUSH, subscription.value)
        refused, is_suppressed = await refusal(self.suppression, address, wish.made_s)
        if refused is not None:
            return refused, ""
        known, now_ms = await self.registry.lookup(*address), self.clock.now_ms()
        if known is None:
            name = f"web-{self.codec.hashed('device', wish.once.hex())}"
            browser = {"channel": "webpush", "subscription": _document(subscription)}
            person = await self.registry.put_entry(Entry(name, registration_of(wish, browser, SOURCE, now_ms)))
        else:
            if not _has(known, subscription):
                return Confirmed.BROKEN, ""
            patch = _more(known, wish, now_ms)
            if patch is None:
                return Confirmed.FULL, known.id
            person = await self.registry.patch(known.id, patch)
        if is_suppressed:
            await self.suppression.start([address])
        return Confirmed.DONE, person.id

    async def person(self, subscription: PushSubscription) -> Subscriber | None:
        """Returns the subscriber of a browser. Returns None if there is none, or if the keys are not the stored ones."""
        found = await self.registry.lookup(WEBPUSH, subscription.value)
        return found if found is not None and _has(found, subscription) else None

    async def replace(self, before: PushSubscription, subscription: PushSubscription) -> bool:
        """Replaces the subscription `before` of a browser that renewed it. Returns False if no subscriber has it. Raises
        Problem, StoreUnavailableError.
        """
        person = await self.person(before)
        if person is None:
            return False
        addresses = to_document(person)["addresses"]
        for address, stored in zip(addresses, person.addresses, strict=True):
            if stored.value == before.value:
                address["subscription"] = _document(subscription)
        await self.registry.patch(person.id, {"addresses": addresses})
        return True


def _has(person: Subscriber, subscription: PushSubscription) -> bool:
    """Returns whether a subscriber has this subscription, with these keys."""
    return any(one.channel == WEBPUSH and one.value == subscription.value for one in person.addresses)


def _document(subscription: PushSubscription) -> dict[str, Any]:
    keys = subscription.keys
    return {"endpoint": subscription.endpoint, "keys": {"p256dh": keys.p256dh, "auth": keys.auth}}


def _more(person: Subscriber, wish: DeviceWish, now_ms: int) -> dict[str, Any] | None:
    """Returns the patch that adds the places of a form to a subscriber and renews the consent, also a withdrawn one.
    Returns None if there is no room for the places.
    """
    known = {place.region for place in person.places}
    free = [name for name in PLACE_NAMES if name not in {place.name for place in person.places}]
    fresh = [code for code in wish.regions if code not in known]
    if len(fresh) > len(free):
        return None
    places = {name: {"region": code} for name, code in zip(free, fresh, strict=False)}
    consent = consent_of(wish, SOURCE, now_ms)
    return {"languages": [wish.language], "kinds": kinds_of(wish), "places": places, "consent": consent}
