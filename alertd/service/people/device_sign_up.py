"""Lets people sign up a browser by web push, without a key and without an address that names them.

The browser proves itself: only it knows its subscription. So the subscription opens the settings as well.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from alertd.common.clock import Clock, time_of
from alertd.model.kinds import Channel, Kind
from alertd.model.registration import PushSubscription, Registration
from alertd.model.states import CHANNELS
from alertd.model.subscriber import Subscriber, key_of, to_document
from alertd.service.people.registration_intake import Entry, parse_registration
from alertd.service.people.registry import Registry
from alertd.service.people.sign_up import CONSENT_VERSION, PLACE_NAMES
from alertd.service.people.sign_up_links import DeviceWish, SignUpLinks
from alertd.service.people.suppression import Suppression
from alertd.store.engine.codec import Codec

SOURCE = "web sign-up of a device"
WEBPUSH = CHANNELS.index(Channel.WEBPUSH)


class Registered(enum.Enum):
    """The result of signing up a device."""

    DONE = "done"
    BROKEN = "broken"  # a forged, damaged or expired token
    LEFT = "left"  # the person stopped the alerts after the form was filled in
    BLOCKED = "blocked"  # an operator keeps the browser on the suppression list
    FULL = "full"  # the subscriber has no room for a further place


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

    def token(self, wish: DeviceWish) -> str:
        """Returns the token with which a browser hands in its subscription."""
        return self.links.make(wish)

    async def register(self, token: str, subscription: PushSubscription) -> tuple[Registered, str]:
        """Registers a browser for the places of a form, or adds them to what it has already. Returns the result, and the
        subscriber's id ("" without one).

        Idempotent. One form registers one browser: a second one with the same token replaces the first. Raises Problem,
        StoreUnavailableError.
        """
        wish = self.links.open(token, DeviceWish)
        if wish is None:
            return Registered.BROKEN, ""
        address = (WEBPUSH, subscription.value)
        since = await self.suppression.since(address)
        if since is not None and await self.suppression.is_held(address):
            return Registered.BLOCKED, ""
        if since is not None and since > wish.made_s:
            return Registered.LEFT, ""
        known = await self.registry.lookup(*address)
        if known is None:
            entry = Entry(f"web-{self.codec.hashed('device', wish.once.hex())}", self._registration(wish, subscription))
            person = await self.registry.put_entry(entry)
        else:
            patch = _more(known, wish, self._consent(wish))
            if patch is None:
                return Registered.FULL, known.id
            person = await self.registry.patch(known.id, patch)
        if since is not None:
            await self.suppression.start([address])
        return Registered.DONE, person.id

    async def person(self, subscription: PushSubscription) -> Subscriber | None:
        """Returns the subscriber of a browser, or None. Only the browser knows the keys of its subscription, so they must
        be the stored ones.
        """
        found = await self.registry.lookup(WEBPUSH, subscription.value)
        is_own = found is not None and any(
            one.channel == WEBPUSH and one.value == subscription.value for one in found.addresses
        )
        return found if is_own else None

    async def replace(self, old_endpoint: str, subscription: PushSubscription) -> bool:
        """Replaces the subscription of a browser that renewed it. Returns False if no subscriber has the old endpoint.

        Push services make endpoints that nobody can guess (RFC 8030, section 8.3), so knowing one proves the browser.
        Raises Problem, StoreUnavailableError.
        """
        keys = subscription.keys
        old = f"{old_endpoint} {keys.p256dh} {keys.auth}"
        person = await self.registry.lookup(WEBPUSH, old)
        if person is None:
            return False
        document = to_document(person)
        for address, stored in zip(document["addresses"], person.addresses, strict=True):
            if stored.key == key_of(WEBPUSH, old):
                address["subscription"] = _document(subscription)
        await self.registry.patch(person.id, {"addresses": document["addresses"]})
        return True

    def _registration(self, wish: DeviceWish, subscription: PushSubscription) -> Registration:
        return parse_registration(
            {
                "languages": [wish.language],
                "kinds": _kinds(wish),
                "places": {name: {"region": code} for name, code in zip(PLACE_NAMES, wish.regions, strict=False)},
                "addresses": [{"channel": "webpush", "subscription": _document(subscription)}],
                "consent": self._consent(wish),
            }
        )

    def _consent(self, wish: DeviceWish) -> dict[str, Any]:
        at = time_of(self.clock.now_ms()).isoformat()
        return {"at": at, "source": SOURCE, "version": CONSENT_VERSION, "purposes": _kinds(wish)}


def _kinds(wish: DeviceWish) -> list[str]:
    return [Kind.MISSING_CHILD.value, *([Kind.GENERAL.value] if wish.general else [])]


def _document(subscription: PushSubscription) -> dict[str, Any]:
    keys = subscription.keys
    return {"endpoint": subscription.endpoint, "keys": {"p256dh": keys.p256dh, "auth": keys.auth}}


def _more(person: Subscriber, wish: DeviceWish, consent: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the patch that adds the places of a form to a subscriber and renews the consent. Returns None if there is
    no room for them.
    """
    known = {place.region for place in person.places}
    free = [name for name in PLACE_NAMES if name not in {place.name for place in person.places}]
    fresh = [code for code in wish.regions if code not in known]
    if len(fresh) > len(free):
        return None
    places = {name: {"region": code} for name, code in zip(free, fresh, strict=False)}
    return {"languages": [wish.language], "kinds": _kinds(wish), "places": places, "consent": consent}
