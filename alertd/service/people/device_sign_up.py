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
from alertd.service.people.own_record import SIGNED_UP, is_alone
from alertd.service.people.registration_intake import Entry
from alertd.service.people.registry import Registry
from alertd.service.people.sign_up import Confirmed, add_to, refusal, registration_of, stored
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
        """Registers a browser for the places of a form, or adds them to what it has already. Returns the result, and
        the subscriber's id ("" without one). Refuses a known endpoint with other keys: another program sent it.

        Idempotent. One form registers one browser: a second one with the same token replaces the first, unless others
        joined the record. Raises Problem, StoreUnavailableError.
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
            name = f"{SIGNED_UP}{self.codec.hashed('device', wish.once.hex())}"
            before = await stored(self.registry, name)
            if before is not None and not is_alone(before):
                return Confirmed.BROKEN, ""
            browser = {"channel": "webpush", "subscription": _document(subscription)}
            person = await self.registry.put_entry(Entry(name, registration_of(wish, browser, SOURCE, now_ms)))
        else:
            if not _has(known, subscription):
                return Confirmed.BROKEN, ""
            result = await add_to(self.registry, known, wish, SOURCE, now_ms, is_back=is_suppressed)
            if result is not Confirmed.DONE:
                return result, known.id
            person = known
        if is_suppressed:
            await self.suppression.start([address])
        return Confirmed.DONE, person.id

    async def person(self, subscription: PushSubscription) -> Subscriber | None:
        """Returns the subscriber of a browser. Returns None if there is none, or if the keys are not the stored ones."""
        found = await self.registry.lookup(WEBPUSH, subscription.value)
        return found if found is not None and _has(found, subscription) else None

    async def replace(self, before: PushSubscription, subscription: PushSubscription) -> bool:
        """Replaces the subscription `before` of a browser that renewed it. Returns False if no subscriber has it.
        Raises Problem, StoreUnavailableError.
        """
        person = await self.person(before)
        if person is None:
            return False
        addresses = to_document(person)["addresses"]
        for address, known in zip(addresses, person.addresses, strict=True):
            if known.value == before.value:
                address["subscription"] = _document(subscription)
        await self.registry.patch(person.id, {"addresses": addresses})
        return True


def _has(person: Subscriber, subscription: PushSubscription) -> bool:
    """Returns whether a subscriber has this subscription, with these keys."""
    return any(one.channel == WEBPUSH and one.value == subscription.value for one in person.addresses)


def _document(subscription: PushSubscription) -> dict[str, Any]:
    """Returns a browser's subscription as a registration has it, without the expiry."""
    keys = subscription.keys
    return {"endpoint": subscription.endpoint, "keys": {"p256dh": keys.p256dh, "auth": keys.auth}}
