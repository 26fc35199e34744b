"""Whatever process dies, stands still or has a fault, distributors get what they are to get, in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from alertd.common.ids import SigningKeys
from alertd.service.container import Container
from alertd.service.records.webhook_delivery import WebhookDelivery
from alertd.service.sharing.distributor_acknowledgements import DistributorAcknowledgements
from alertd.store.records.events import Events, KeptEvent
from alertd.store.sharing.webhooks import DistributorHooks, Due, Tracks, Tried
from tests.integration.acts import CARL, planned
from tests.integration.distribution.acts import (
    ACK,
    made,
    share,
    states,
    told,
)
from tests.integration.gateways import Gateway

pytestmark = pytest.mark.once


async def test_whoever_dies_while_a_message_is_sent_again_leaves_it_to_be_sent(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """A person asks, and the process dies at once after that was written down: it is sent all the same."""
    gateway.answers["/radio"] = [422, 202]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    await told(parts)

    class DeadError(Exception):
        pass

    class Dying(Tracks):
        async def put(self, *arguments: Any, **named: Any) -> bool:
            await super().put(*arguments, **named)
            raise DeadError

    hooks = DistributorHooks(parts.db)
    dying = DistributorAcknowledgements(hooks, Dying(parts.db), parts.alerts, parts.clock, SigningKeys(b""), "")
    with pytest.raises(DeadError):
        await dying.send_again(await parts.alerts.get(record.id), radio, CARL)
    await told(parts, after_s=10)
    assert gateway.types("/radio") == ["Alert", "Alert"]
    assert await states(parts, record, radio) == [("Alert", "accepted")]


async def test_whoever_dies_before_the_answer_leaves_it_known_that_it_may_have_arrived(
    parts: Container, gateway: Gateway, sample: dict[str, Any]
):
    """Its successor tries the same message again, under the same name."""
    gateway.answers["/radio"] = ["silence", ACK]
    radio = await made(parts, gateway, "/radio")
    record = await planned(parts, sample)
    assert await parts.events.leads()
    await parts.events.bring()
    await parts.webhook_delivery.round()
    while not gateway.types("/radio"):
        await parts.clock.sleep(0.01)
    await parts.webhook_delivery.close()
    found = await share(parts, record, radio)
    assert found.track
    assert found.track.entries[-1].maybe
    await told(parts)
    assert [one.identifier for _, one in gateway.got["/radio"]] == [record.id, record.id]


async def test_what_cannot_be_looked_at_is_put_off(parts: Container, gateway: Gateway, sample: dict[str, Any]):
    """For a fault of ours: else it would be the first to be looked at again, and keep what is behind it waiting."""

    class Faulty:
        hooks = DistributorHooks(parts.db)
        at_once = 20

        def waiting(self, _hook: object, one: KeptEvent) -> str:
            return str(json.loads(one.event)["data"]["chain"])

        async def missed(self, _: object) -> Sequence[str]:
            return ()

        def lane(self, _: object) -> str:
            return ""

        async def attempt(self, _hook: object, _standing: object, due: Due) -> Tried:
            tried.append(due.name)
            raise ValueError

    tried: list[str] = []
    await made(parts, gateway, "/radio")
    await planned(parts, sample)
    assert await parts.events.leads()
    await parts.events.bring()
    delivery = WebhookDelivery((Faulty(),), Events(parts.db, keep=1000, keep_days=30), parts.clock)
    for _ in range(3):
        await delivery.round()
        await delivery.settled()
    assert tried
    assert len(set(tried)) == len(tried)
    await told(parts, after_s=60)
    assert gateway.types("/radio") == ["Alert"]
