"""Which carriers a process may write to, where centres count binds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alertd.common.clock import SystemClock
from alertd.metrics import Metrics
from alertd.service.carriers.carriers import Carrier, Carriers
from alertd.service.carriers.health import LONGEST_REST_S, NOBODY, SHORTEST_REST_S, CarrierHealth
from channels.base import ACCEPTED, WITHHELD, Answer, Outcome, Reason


class Plain:
    """A channel that is always there."""

    name = "sms"


class Account(Plain):
    """One that its centre lets in or not."""

    def __init__(self) -> None:
        self.bound = False
        self.hurried = 0

    def is_bound(self) -> bool:
        return self.bound

    def bind_soon(self) -> None:
        self.hurried += 1


class Processes:
    """What processes said of where they are bound; `others` are where others are."""

    def __init__(self) -> None:
        self.others = set[str]()
        self.asked = 0

    async def announce(self, here: Mapping[str, bool]) -> dict[str, bool]:
        self.asked += 1
        return {name: is_here or name in self.others for name, is_here in here.items()}


class Stopped(SystemClock):
    """A clock that is put forward."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


CENTRE = Carrier(name="centre", number=1, channel=Account())
TEXT = Carrier(name="text", number=2, channel=Plain())
NO_SHARES: Any = None  # no carrier here has any
NO_LIMITS: Any = None  # nor asks for permits
RESERVE = Carrier(name="reserve", number=3, channel=Plain(), weight=0)


def health_of(*carriers: Carrier) -> tuple[CarrierHealth, Processes, Stopped, Account]:
    """Of a process with these carriers, where the centre has not let it in."""
    account, said, clock = Account(), Processes(), Stopped()
    own = [Carrier(name=one.name, number=one.number, channel=account, weight=one.weight) if one is CENTRE else one
           for one in carriers]  # fmt: skip
    health = CarrierHealth(
        carriers=Carriers(own), limits=NO_LIMITS, bound=said, taking=Processes(), shares=NO_SHARES, clock=clock, metrics=Metrics(),
    )  # fmt: skip
    return health, said, clock, account


def names(health: CarrierHealth) -> set[str]:
    return {one.name for one in health.usable(health.carriers.of("sms"))}


async def beats(health: CarrierHealth, times: int = 1) -> None:
    for _ in range(times):
        await health.beat()


async def test_who_is_not_bound_leaves_it_to_who_is():
    """However long that lasts; and what is for when the others rest is not for then."""
    health, said, _, account = health_of(CENTRE, RESERVE)
    said.others = {"centre"}
    await beats(health, 3 * NOBODY)
    assert names(health) == set()
    assert not health.reaches("sms")
    assert not health.reaches_all()
    account.bound = True
    assert names(health) == {"centre", "reserve"}
    assert health.takes("sms")
    assert health.reaches_all()


async def test_other_carriers_of_the_channel_are_used():
    health, said, _, _ = health_of(CENTRE, TEXT)
    said.others = {"centre"}
    await beats(health, 3 * NOBODY)
    assert names(health) == {"text"}
    assert health.takes("sms")


async def test_where_nobody_is_bound_all_try():
    """After a few beats from the start, and from when the last one was gone, whose place is asked for at once, and once."""
    health, said, _, account = health_of(CENTRE)
    await beats(health, NOBODY - 2)
    assert not health.takes("sms")
    await beats(health)
    assert health.takes("sms")
    assert account.hurried == 0
    said.others = {"centre"}
    await beats(health)
    assert not health.takes("sms")
    said.others.clear()
    await beats(health, NOBODY - 1)
    assert (health.takes("sms"), account.hurried) == (False, 1)
    await beats(health, NOBODY)
    assert (health.takes("sms"), account.hurried) == (True, 1)


async def test_a_channel_without_room_rests_a_moment():
    """While others are bound to what this process is not: it takes nothing, and says nothing of whether it could."""
    health, said, clock, _ = health_of(CENTRE, TEXT)
    said.others = {"centre"}
    for wait_s, rests_s in ((0, SHORTEST_REST_S), (60, LONGEST_REST_S)):
        health.rest("sms", wait_s)
        clock.now += rests_s - 0.01
        assert (health.takes("sms"), health.reaches("sms")) == (False, True)
        clock.now += 0.02
        assert health.takes("sms")


async def test_a_lost_bind_is_no_answer():
    """What was written is unknown all the same, and counts; where nobody is bound so does all."""
    lost = [Outcome(Answer.RETRY, Reason.CONNECTION), Outcome(Answer.RETRY, Reason.CREDENTIALS)]
    others = [ACCEPTED, Outcome(Answer.UNKNOWN, Reason.CONNECTION), Outcome(Answer.RETRY, Reason.UNAVAILABLE)]
    others.append(Outcome(Answer.RETRY, Reason.CREDENTIALS, partly=True))
    health, _, _, _ = health_of(CENTRE, TEXT)
    centre, text = sorted(health.carriers.of("sms"), key=lambda one: one.number)

    def said_by(carrier: Carrier) -> Sequence[Outcome]:
        answers = [*lost, *others]
        addresses = [f"+3460000000{i}" for i in range(len(answers))]
        return health.judge(carrier, addresses, [1] * len(answers), answers, probes=False).said

    assert said_by(centre) == [WITHHELD, WITHHELD, *others]
    assert said_by(text) == [*lost, *others]
    await beats(health, NOBODY)
    assert said_by(centre) == [*lost, *others]


async def test_where_nothing_is_bound_nobody_is_asked_who_is():
    health, said, _, _ = health_of(TEXT)
    await beats(health)
    assert said.asked == 0
    assert health.takes("sms")
    assert health.reaches_all()


async def test_without_a_carrier_somebody_leads():
    """Events and webhooks need none."""
    health, *_ = health_of()
    assert health.reaches_all()
