"""Limits of mail providers: what is over its domain's limit waits alone, on no worker's clock, and nobody is lost on the way."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis

from alertd.common.clock import SystemClock
from alertd.common.errors import Problem
from alertd.config.carriers import DomainLimit
from alertd.metrics import Metrics
from alertd.model.states import ATTEMPTS_MASK, AlertState, State
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.carriers.carriers import LEAST_BURST, REST_S, Carrier, Domain, Domains
from alertd.service.container import Container
from alertd.service.people.registration_intake import Entry
from alertd.store.alerts.records import AlertRecord
from alertd.store.carriers.limits import PROBE_MS, Limits
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from channels.base import Answer, Outcome
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule
from geofences.regions import Library
from tests.integration.acts import counts, lease_of, planned, registration, send, working
from tests.integration.conftest import settings_for

HOUR_MS = 3_600_000
BIG = {"big.example": DomainLimit(rate=5, also=("grand.example",)), "calm.example": DomainLimit()}


class StoreClock(SystemClock):
    """Goes as the store's skewed clock does."""

    def __init__(self, store: Connection) -> None:
        self._store = store

    def monotonic(self) -> float:
        return super().monotonic() + self._store.skew_ms / 1000


@pytest.fixture
def clock(store: Connection) -> StoreClock:
    """Moved on by the store's skew."""
    store.skew_ms = HOUR_MS
    return StoreClock(store)


def carrier(rate: float) -> Carrier:
    """With one domain; no mail is sent over it."""
    domain = Domain(name="big.example", limiter="relay/big.example", rate=rate)
    return Carrier(name="relay", number=1, channel=None, domains={"big.example": domain, "grand.example": domain})


async def sent_at(
    clock: StoreClock, store: Connection, workers: list[Domains], rate: float, alerts: dict[str, int], seconds: float
) -> tuple[dict[str, list[float]], int]:
    """When each of so many mails an alert goes, in chunks of due ones by workers in turn; and how often they were asked for."""
    start, asked, turn = clock.monotonic(), 0, itertools.cycle(workers)
    went: dict[str, list[float]] = {alert: [] for alert in alerts}
    queue = [(0.0, alert) for alert, count in alerts.items() for _ in range(count)]
    while queue and (now := clock.monotonic() - start) <= seconds:
        due: Counter[str] = Counter()
        while queue and queue[0][0] <= now and due.total() < 100:
            due[heapq.heappop(queue)[1]] += 1
        for alert, count in due.items():
            addresses = [f"p{n}@BIG.example" for n in range(count)]
            admission = await next(turn).admit(carrier(rate), alert, addresses, [True] * count, loud=True)
            asked, now = asked + count, clock.monotonic() - start
            for wait_s in admission.waits_s:
                if wait_s:
                    heapq.heappush(queue, (now + wait_s, alert))
                else:
                    went[alert].append(now)
        if not due:
            store.skew_ms += 20
    return went, asked


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("rate", "count"), [(0.5, 20), (5, 200), (50, 1_000)])
async def test_a_domain_gets_its_rate_and_nobody_is_lost(
    store: Connection, clock: StoreClock, workers: int, rate: float, count: int
):
    """All go, no faster than the limit and not much slower, however many workers there are; few ask in vain."""
    crew = [Domains(Limits(store), clock, Metrics()) for _ in range(workers)]
    went, asked = await sent_at(clock, store, crew, rate, {"a": count}, 10 * count / rate)
    assert len(went["a"]) == count
    burst = max(LEAST_BURST, rate)
    for n, at in enumerate(went["a"]):
        assert n + 1 <= rate * at + burst + 1
    assert went["a"][-1] <= 1.3 * (count / rate + 1)
    assert asked <= 4 * workers * count


async def test_alerts_share_a_domain_and_one_that_ends_leaves_no_gap(store: Connection, clock: StoreClock):
    """Of two at once each gets a share; after one with thousands waiting was cancelled, the next starts at once."""
    crew = [Domains(Limits(store), clock, Metrics())]
    went, _ = await sent_at(clock, store, crew, 10, {"a": 200, "b": 200}, 20)
    assert min(len(went["a"]), len(went["b"])) > 50
    await sent_at(clock, store, crew, 10, {"huge": 5_000}, 5)
    store.skew_ms += 1_000
    went, _ = await sent_at(clock, store, crew, 10, {"next": 30}, 10)
    assert len(went["next"]) == 30


async def test_other_domains_have_no_limit_no_name_and_no_key(store: Connection, clock: StoreClock):
    """A domain that is not in the settings may be one person's."""
    metrics = Metrics()
    domains = Domains(Limits(store), clock, metrics)
    addresses = [
        "a@big.example",
        "b@Grand.Example",
        "c@lucia.example",
        "not a mailbox",
        "d@big.example.lucia.example",
    ] * 2
    admission = await domains.admit(carrier(1), "alert", addresses, [True] * len(addresses), loud=True)
    assert [bool(wait_s) for wait_s in admission.waits_s] == [False] * 5 + [True, True, False, False, False]
    assert [key.decode() for key in await store.execute("KEYS", "*")] == ["{l:relay/big.example}"]
    assert "lucia" not in metrics.text().decode()
    assert 'alertd_domain_waits_total{carrier="relay",domain="big.example"} 2.0' in metrics.text().decode()


async def test_what_a_domain_asks_for_while_it_is_tried_stands(store: Connection, clock: StoreClock):
    """The mail that tries it is accepted, and another was answered with a rest meanwhile: that is not over before its time."""
    limits, relay, mail = Limits(store), carrier(1), ["a@big.example"]
    await limits.pause("relay/big.example", 60)
    store.skew_ms += PROBE_MS
    domains = Domains(limits, clock, Metrics())
    admission = await domains.admit(relay, "alert", mail, [True], loud=True)
    await limits.pause("relay/big.example", 3_600)
    [said] = domains.note_answers(relay, admission.probed, mail, [Outcome(Answer.ACCEPTED)], [1])
    assert (said.works, await limits.resume(said.limiter, said.probed)) == (True, False)


@pytest.fixture
def process_of(redis: Redis, codec: Codec, sandbox: Sandbox, library: Library) -> Callable[..., Any]:
    """Opens a process whose relay has limits by domain."""

    @asynccontextmanager
    async def running(**relay: Any) -> AsyncIterator[Container]:
        settings = settings_for(sandbox)
        changed = settings.carriers["relay"].model_copy(update={"domains": BIG} | relay)
        settings = settings.model_copy(update={"carriers": {**settings.carriers, "relay": changed}})
        async with opened(settings, redis, codec, library=library) as parts:
            yield parts

    return running


@pytest.fixture
async def parts(process_of: Callable[..., Any]) -> AsyncIterator[Container]:
    """One of them."""
    async with process_of() as made:
        yield made


async def people(parts: Container, *domains: str, each: int = 20) -> None:
    """So many with a mailbox at each domain, one domain after the other."""
    boxes = [f"p{i}@{domain}" for i, domain in enumerate(domain for domain in domains for _ in range(each))]
    outcomes = await parts.registry.put_many(
        [
            Entry(f"p{i}", registration(i, addresses=[{"channel": "mail", "mailbox": box}]))
            for i, box in enumerate(boxes)
        ]
    )
    assert not [one for one in outcomes if one is None or isinstance(one, Problem)]


def taken(sandbox: Sandbox) -> Counter[str]:
    """Mails by domain."""
    return Counter(address.rpartition("@")[2] for _, _, address, *_ in sandbox.mail.recorded)


async def attempts(parts: Container, record: AlertRecord, state: State) -> set[int]:
    """How many attempts the rows in a state have had."""
    return {
        int(row["tries"]) & ATTEMPTS_MASK
        async for _, rows, _ in parts.work.ledger(record.id)
        for row in rows
        if row["state"] == state
    }


async def test_who_is_over_a_limit_waits_and_the_rest_go(parts: Container, sandbox: Sandbox, sample: dict):
    """In one chunk: both names of a provider count together, the waiting have made no attempt, and each gets one mail in the end."""
    await people(parts, "big.example", "grand.example", "people.example")
    record = await planned(parts, sample, channels=["mail"], level="child-alert")
    await send(parts, record, "mail")
    first = taken(sandbox)
    assert first["people.example"] == 20
    assert 5 <= first["big.example"] + first["grand.example"] <= 7
    assert await attempts(parts, record, State.QUEUED) == {0}
    for _ in range(40):
        parts.db.skew_ms += 1_000
        await send(parts, record, "mail")
    assert await counts(parts, record, "mail") == {"accepted": 60}
    assert taken(sandbox) == {"big.example": 20, "grand.example": 20, "people.example": 20}
    assert sandbox.mail.recorded.counts()["doubled"] == 0


async def test_a_domain_that_throttles_rests_alone_and_for_every_worker(
    parts: Container, process_of: Callable[..., Any], sandbox: Sandbox, sample: dict
):
    """A second worker asks it for nothing before a minute is over, and sends to all others meanwhile."""
    rule = Rule("@calm.example", "slow-down", times=1_000)
    sandbox.mail.script.set(rule)
    await people(parts, "calm.example", "people.example")
    with structlog.testing.capture_logs() as logs:
        await send(parts, await planned(parts, sample, channels=["mail"]), "mail")
    assert [log["carrier"] for log in logs if log["event"] == "carrier.paused"] == ["relay/calm.example"]
    assert taken(sandbox) == {"people.example": 20}
    assert rule.times == 980
    async with process_of() as second:
        record = await planned(second, sample, channels=["mail"])
        await send(second, record, "mail")
        assert taken(sandbox) == {"people.example": 40}
        assert rule.times == 980
        assert await attempts(second, record, State.QUEUED) == {0}
        sandbox.mail.script.set()
        second.db.skew_ms += int(1000 * REST_S) + 100
        await send(second, record, "mail")
        assert await counts(second, record, "mail") == {"accepted": 40}


async def test_a_resting_domain_is_tried_for_what_is_loud(parts: Container, sandbox: Sandbox, sample: dict):
    """One mail after a quarter of a minute; refused, it rests on, and accepted, all may go again."""
    await people(parts, "calm.example")
    await parts.limits.pause("relay/calm.example", 3_600)
    parts.db.skew_ms += PROBE_MS
    rule = Rule("@calm.example", "slow-down", times=1)
    sandbox.mail.script.set(rule)
    await send(parts, await planned(parts, sample, channels=["mail"], level="child-alert"), "mail")
    assert (rule.times, taken(sandbox)) == (0, {})
    parts.db.skew_ms += PROBE_MS
    record = await planned(parts, sample, channels=["mail"], level="child-alert")
    await send(parts, record, "mail")
    assert await counts(parts, record, "mail") == {"accepted": 1, "queued": 19}
    await send(parts, await planned(parts, sample, channels=["mail"]), "mail")
    assert taken(sandbox) == {"calm.example": 21}


async def test_one_mailbox_s_limit_is_not_its_domain_s(parts: Container, sandbox: Sandbox, sample: dict):
    """One of twenty is told to wait; nobody else is."""
    sandbox.mail.script.set(Rule("p7@", "slow-down"))
    await people(parts, "calm.example")
    record = await planned(parts, sample, channels=["mail"])
    await send(parts, record, "mail")
    assert await counts(parts, record, "mail") == {"accepted": 19, "queued": 1}
    assert (await parts.limits.take("relay/calm.example", 100, 100, 5, loud=False)).granted == 5


async def test_mailboxes_that_stay_throttled_rest_no_domain(parts: Container, sandbox: Sandbox, sample: dict):
    """A small chunk of which all are told to wait speaks of them; so do many who are tried again. Ten new ones in a row speak of the domain."""
    sandbox.mail.script.set(Rule("p", "defer"))
    await people(parts, "calm.example", each=9)
    record = await planned(parts, sample, channels=["mail"], level="child-alert")
    for _ in range(3):
        assert await send(parts, record, "mail") >= 1
        assert (await parts.limits.take("relay/calm.example", 100, 100, 5, loud=False)).granted == 5
        parts.db.skew_ms += 61_000
    await send(parts, await planned(parts, sample, channels=["mail"]), "mail")
    assert (await parts.limits.take("relay/calm.example", 100, 100, 5, loud=False)).granted == 0


@pytest.mark.alone
async def test_the_relay_s_own_limit_is_no_domain_s(parts: Container, sandbox: Sandbox, sample: dict):
    """SES' "maximum sending rate exceeded" stops the account for a second, and rests no domain."""
    sandbox.mail.script.set(Rule("", "account-rate"))
    await people(parts, "calm.example")
    lease = await lease_of(parts.work, (await planned(parts, sample, channels=["mail"])).id, "mail")
    await worker_of(parts).feeder.dispatch.drain(lease, lambda: False)
    assert (await parts.limits.take("relay/calm.example", 100, 100, 5, loud=False)).granted == 5
    assert (await parts.limits.take("relay", 100, 100, 5, loud=False)).granted == 0


async def test_permits_of_those_who_wait_are_given_back(process_of: Callable[..., Any], sandbox: Sandbox, sample: dict):
    """A relay that takes forty mails an hour takes all that may go now of sixty: those over their domain's limit cost nothing."""
    slow = {"big.example": DomainLimit(rate=0.1)}
    async with process_of(rate=0.01, burst=40.0, domains=slow) as parts:
        await people(parts, "big.example", "people.example", each=30)
        record = await planned(parts, sample, channels=["mail"], level="child-alert")
        async with asyncio.timeout(60):
            await send(parts, record, "mail")
        sent = taken(sandbox)
        assert sent["people.example"] == 30
        assert 2 <= sent["big.example"] <= 5
        assert (await parts.limits.take("relay", 0.01, 40, 100)).granted == 40 - sent.total()


async def test_two_workers_end_an_alert_at_its_domain_s_rate(
    process_of: Callable[..., Any], sandbox: Sandbox, sample: dict
):
    """All others have their mail while most of the big domain's wait; it gets its rate, nobody is missed or told twice, and it ends."""
    big = {"domains": {"big.example": DomainLimit(rate=15)}}
    async with process_of(**big) as one, process_of(**big) as two:
        await people(one, "big.example", "people.example", "other.example", each=40)
        record = await planned(one, sample, channels=["mail"], level="child-alert")
        began = one.clock.monotonic()
        async with working(one, two), asyncio.timeout(60):
            while (taken(sandbox)["people.example"], taken(sandbox)["other.example"]) != (40, 40):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert taken(sandbox)["big.example"] <= 16 + 15 * (one.clock.monotonic() - began)
            while await one.alerts.state(record.id) is not AlertState.SENT:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert one.clock.monotonic() - began >= 1.5  # fifteen at once, and twenty-five at fifteen a second
    assert taken(sandbox)["big.example"] == 40
    assert sandbox.mail.recorded.counts()["doubled"] == 0


@pytest.mark.parametrize("rests", [False, True])
async def test_mails_that_are_not_sent_give_back_the_permits_of_their_domain(
    parts: Container, sandbox: Sandbox, sample: dict[str, Any], *, rests: bool
):
    """A worker that loses its share of connections spends nothing: others may send to the domain at once, or try it if it rests."""
    await people(parts, "big.example", each=5)
    relay = parts.carriers.named("relay")
    [limiter] = {domain.limiter for domain in relay.domains.values() if domain.name == "big.example"}
    if rests:
        await parts.limits.pause(limiter, REST_S)
        parts.db.skew_ms += PROBE_MS
    record = await planned(parts, sample, channels=["mail"], level="child-alert")
    dispatch = worker_of(parts).feeder.dispatch
    relay.channel.share(0)
    lease = await lease_of(parts.work, record.id, "mail", parts.carriers.held("mail"))
    assert lease is not None
    await dispatch.drain(lease, lambda: False)
    assert sandbox.mail.recorded.total == 0
    assert await attempts(parts, record, State.QUEUED) == {0}
    again = await parts.limits.take(limiter, 5, 5, 5)
    assert (again.granted, again.wait_s > 0) == ((1, True) if rests else (5, False))
