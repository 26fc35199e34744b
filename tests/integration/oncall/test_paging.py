"""People on call are told that an alert waits: in their order, by the first address that works, until it waits no more, and never twice for
nothing nor not at all.
"""

from __future__ import annotations

import asyncio

import pytest

from alertd.common.ids import new_id
from alertd.model.kinds import Level, Notify
from alertd.model.oncall import Turn
from alertd.model.organisation import Organisation, Unattended
from alertd.model.states import AlertState
from alertd.service.oncall.pager import Pager, Reached
from alertd.service.oncall.paging import AGAIN_MS, DARK_MS, UNATTENDED_MS
from alertd.store.carriers.limits import FAILURES
from alertd.store.engine import keys
from channels.base import Answer, Loudness, MailMessage, Recipient, Stamp
from channels.sandbox.script import Rule
from tests.integration.acts import ANA, BEA, alert_of, planned, register
from tests.integration.batches import AREA, record
from tests.integration.nights import CHIEF, DEPUTY, DESK, MIN, ROOT, THREE, Night, person, rota_of, sms


async def test_the_first_step_is_told_as_soon_as_an_alert_waits(night: Night):
    """By SMS, with the organisation's name and a link to the alert, and no word of the child or the place."""
    await night.rota()
    alert_id = await night.waits()
    await night.round()
    assert night.got() == [DESK]
    [text] = night.texts()
    assert text == f"An alert of default waits for approval:\nhttp://localhost:8080/console#/alerts/{alert_id}"
    assert await night.events() == ["paged"]


async def test_each_step_has_its_minutes_and_all_are_gone_through_as_often_as_the_rota_says(night: Night):
    """Before the minutes are over nobody more is told; then the next; and after the last round nobody, which is said."""
    await night.rota(after_min=5, times=2)
    await night.waits()
    await night.round()
    await night.round(4)
    assert night.got() == [DESK]
    for expected in ([DESK, DEPUTY], [DESK, DEPUTY, CHIEF], [DESK, DESK, DEPUTY, CHIEF]):
        await night.round(5)
        assert night.got() == sorted(expected)
    await night.round(5)
    await night.round(5)
    assert night.got() == sorted([DESK, DEPUTY, CHIEF] * 2)
    for _ in range(3):
        await night.round(5)
    assert night.got() == sorted([DESK, DEPUTY, CHIEF] * 2)
    assert await night.events() == ["paged"] * 6 + ["unanswered"]


@pytest.mark.parametrize("decide", ["approve", "give_back", "reject"])
async def test_it_ends_when_the_alert_waits_no_more(night: Night, decide: str):
    """Approved, returned or rejected: nobody is woken for it, and nothing is kept to look at."""
    await night.rota()
    alert_id = await night.waits()
    await night.round()
    if decide == "approve":
        await night.parts.approval.approve(alert_id, BEA)
    else:
        await getattr(night.parts.approval, decide)(alert_id, BEA, "No")
    await night.round(6)
    await night.round(60)
    assert night.got() == [DESK]
    assert await night.parts.waiting.all() == []


async def test_who_has_it_keeps_the_others_asleep_for_a_while_and_not_for_good(night: Night):
    """The next step is told when that time is over and the alert still waits; and all rounds are begun anew."""
    await night.rota(after_min=5, hold_min=15, times=1)
    alert_id = await night.waits()
    await night.round()
    call = await night.parts.rota.take(alert_id, BEA)
    assert call.paged is not None
    assert (call.paged.by, call.paged.until - call.paged.taken) == (BEA.subject, 15 * MIN)
    await night.round(14)
    assert night.got() == [DESK]
    await night.round(1)
    assert night.got() == [DESK, DEPUTY]
    assert await night.events() == ["paged", "taken", "paged"]


async def test_who_comes_on_call_after_the_last_round_is_called(night: Night):
    """A rota that is written anew is gone through anew by what everybody was called for in vain, and at once."""
    await night.rota([person("Desk", sms(DESK))], times=1)
    alert_id = await night.waits()
    await night.round()
    await night.round(5)
    assert (await night.call(alert_id)).over
    await night.rota([person("Deputy", sms(DEPUTY))], times=1)
    await night.round()
    assert night.got() == [DESK, DEPUTY]
    await night.round(5)
    assert await night.events() == ["paged", "unanswered", "paged", "unanswered"]


async def test_every_page_is_a_mail_of_its_own(night: Night):
    """Programs drop a mail that is called as one they had: of two people, and of two rounds, none may be."""
    mails = [[person(name, {"channel": "mail", "mailbox": f"{name}@centre.example"}) for name in ("ana", "bea")]]
    await night.rota(*mails, times=2)
    await night.waits()
    await night.round()
    await night.round(5)
    assert sorted(night.sandbox.mail.message_ids.values()) == [1, 1, 1, 1]


async def test_who_takes_it_after_the_last_round_begins_the_calls_anew_if_nothing_comes_of_it(night: Night):
    """An alert that everybody was called for in vain is not forgotten once somebody says that they have it."""
    await night.rota([person("Desk", sms(DESK))], times=1)
    alert_id = await night.waits()
    await night.round()
    await night.round(5)
    assert (await night.call(alert_id)).over
    await night.parts.rota.take(alert_id, BEA)
    await night.round(15)
    assert night.got() == [DESK, DESK]


async def test_a_carrier_that_fails_is_no_reason_not_to_be_told(night: Night):
    """The next address of the same person is tried at once, on its own channel; what a carrier refuses of an address changes nothing of it."""
    night.sandbox.sms.script.set(Rule("+34600000001", "unavailable"))
    await night.rota([person("Desk", sms(DESK), {"channel": "mail", "mailbox": "desk@centre.example"})])
    alert_id = await night.waits()
    await night.round()
    assert night.got() == []
    assert night.sandbox.mail.recorded.count("desk@centre.example") == 1
    [page] = (await night.call(alert_id)).pages
    assert (page.name, page.channel, page.taken) == ("Desk", "mail", True)


@pytest.mark.parametrize("does", ["blocked", "unavailable", "cut"])
async def test_a_page_that_is_refused_for_its_address_is_no_failure_of_its_carrier(night: Night, does: str):
    """However often that mailbox is refused, the relay is free for alerts."""
    parts, to = night.parts, Recipient("desk@centre.example", "tag", is_new=True)
    pager = Pager(
        carriers=parts.carriers, limits=parts.limits, domains=parts.domains, clock=parts.clock, metrics=parts.metrics
    )
    relay = parts.carriers.named("relay")
    stamp = Stamp(chain="c", version="v", sent_s=1, expires_s=2_000_000_000, loudness=Loudness.LOUD, language="en")
    page = relay.channel.prepare(MailMessage(stamp=stamp, subject="Page", text="Text", html="<p>Text</p>"))
    night.sandbox.mail.script.set(Rule("desk@", does))
    for _ in range(FAILURES + 1):
        assert (await pager.send(relay, page, to, "about")).answer is Answer.RETRY
    assert await parts.limits.open_breakers(["relay"]) == {"relay": False}


async def test_where_nobody_of_a_step_can_be_told_the_next_is_at_once(night: Night):
    """And a round in which nobody could be told is no round: it goes on until a carrier takes something."""
    night.sandbox.sms.script.set(Rule("+34600000001", "unavailable"))
    await night.rota(times=1)
    await night.waits()
    await night.round()
    await night.round()
    assert night.got() == [DEPUTY]
    night.sandbox.sms.script.set(Rule("+346", "invalid-number"))
    other = await night.waits()
    for _ in range(8):
        await night.round(DARK_MS / MIN)
    call = await night.call(other)
    assert len(call.pages) > 6  # more than two rounds
    assert (call.over, call.rounds) == (False, 0)
    night.sandbox.sms.script.set()
    await night.round(DARK_MS / MIN)
    assert (await night.call(other)).pages[-1].taken


async def test_one_process_dies_after_it_told_and_before_it_said_so(night: Night):
    """Then the page is sent again: somebody is told twice, and nobody not at all."""
    await night.rota()
    alert_id = await night.waits()
    await night.parts.events.bring()
    record = await night.parts.alerts.get(alert_id)
    assert record is not None
    people = rota_of(*THREE).steps[0].people
    await night.parts.paging.page_step(record, Turn(0, people, again=False))  # as far as that process came
    await night.round()
    assert night.got() == [DESK, DESK]
    assert len((await night.call(alert_id)).pages) == 1


@pytest.mark.parametrize("meanwhile", ["rejected", "taken", "waits"])
async def test_nobody_is_told_of_what_was_rejected_or_taken_since_it_was_looked_at(night: Night, meanwhile: str):
    """Carriers are slow: before each address it is looked again."""
    await night.rota()
    alert_id = await night.waits()
    await night.parts.events.bring()
    record = await night.parts.alerts.get(alert_id)
    assert record is not None
    if meanwhile == "rejected":
        await night.parts.approval.reject(alert_id, BEA, "No")
    if meanwhile == "taken":
        await night.parts.rota.take(alert_id, BEA)
    told = await night.parts.paging.page_step(record, Turn(0, rota_of(*THREE).steps[0].people, again=False))
    assert (len(told), night.got()) == ((1, [DESK]) if meanwhile == "waits" else (0, []))


async def test_the_next_address_is_not_tried_once_nobody_need_be_told(night: Night):
    """Whatever came of the first, which is what is told of that person."""
    night.sandbox.sms.script.set(Rule(DESK, "unavailable"), Rule(DEPUTY, "unavailable"))
    [step] = rota_of([person("Desk", sms(DESK), sms(DEPUTY), sms(CHIEF))]).steps
    asked: list[bool] = []

    async def needed() -> bool:
        asked.append(len(asked) < 2)
        return asked[-1]

    alert_id = await night.waits()
    record = await night.parts.alerts.get(alert_id)
    assert record is not None
    make = await night.parts.paging._make(record)
    reached = await night.parts.paging.pager.tell(step.people[0], make, "tag", alert_id, needed)
    assert (asked, night.got()) == ([True, True, False], [])
    assert reached is not None
    assert (reached.channel, reached.taken) == ("sms", False)


async def test_what_waits_is_found_even_if_what_said_so_was_lost(night: Night):
    """A due set that is gone, or data from before there was one, is made anew from the alerts."""
    await night.rota()
    alert_id = await night.waits()
    await night.parts.events.bring()
    await night.parts.waiting.remove([alert_id])
    await night.parts.paging.close()  # as of a process that takes over
    await night.round()
    await night.round(1 / 60)
    assert night.got() == [DESK]


async def test_nobody_on_duty_is_said_once_and_who_comes_on_duty_is_called(night: Night):
    """However long that takes."""
    ten_minutes = (night.clock.now_ms() // MIN + 10) % (24 * 60)
    start, end = (f"{at // 60 % 24:02}:{at % 60:02}" for at in (ten_minutes, ten_minutes + 60))
    await night.rota([person("Desk", sms(DESK), hours=[{"from": start, "to": end}])], time_zone="UTC", times=1)
    await night.waits()
    for _ in range(8):
        await night.round(1)
    assert night.got() == []
    assert await night.events() == ["unanswered"]
    await night.round(5)
    assert night.got() == [DESK]


async def test_nobody_is_called_for_what_goes_out_by_itself(night: Night):
    """An alert that its organisation lets pass has some seconds to do so; one that did not is told of then."""
    await register(night.parts, 160, first=40)  # no policy lets an alert to fewer than 100 pass
    organisation = Organisation(
        name="Centre", unattended=Unattended(levels=(Level.ENDANGERED,), people=1_000, alerts_per_hour=1)
    )
    who, _ = await night.parts.access.create(org="default", subject="root@centre.example", scopes=frozenset({"admin"}))
    await night.parts.organisations.put("default", organisation, who)
    await night.rota()
    passed, waits = await night.waits(level="endangered"), await night.waits(level="endangered")
    states = await night.parts.alerts.states([passed, waits])
    assert states == [AlertState.APPROVED, AlertState.PENDING]
    await night.round()
    assert night.got() == []
    await night.round(UNATTENDED_MS / MIN)
    assert night.got() == [DESK]
    assert (await night.call(passed)) is None


async def test_an_update_that_waits_is_told_of_like_an_alert(night: Night):
    """By its own id; and what it was an update of is not told of again."""
    record = await planned(night.parts, night.sample)
    await night.rota()
    wider = alert_of(night.sample, target={"regions": ["41091", "ES-CA"]})
    update = (await night.parts.update_proposals.submit(record.id, wider, Notify.FULL, ANA)).record.id
    await night.round()
    await night.round()
    [text] = night.texts()
    assert text.endswith(f"#/alerts/{update}")
    assert [call.record.id for call in await night.parts.rota.calls("default")] == [update]


async def test_while_it_is_stopped_nobody_is_called(night: Night):
    """Nothing leaves, and nobody could approve it; once it is resumed they are."""
    await night.rota()
    await night.waits()
    scope = await night.parts.stop_control.scope_of("organisation", None, ROOT)
    await night.parts.stop_control.stop(scope, ROOT, "Something is wrong")
    await night.round()
    assert night.got() == []
    for who in (ROOT, BEA):
        await night.parts.stop_control.resume(scope, who)
    await night.round(AGAIN_MS / MIN)
    assert night.got() == [DESK]


async def test_two_alerts_are_two_calls_and_one_cannot_be_read(night: Night):
    """What is wrong with one alert keeps nobody from being called for another."""
    await night.rota()
    broken, whole = await night.waits(), await night.waits()
    await night.parts.events.bring()
    await night.parts.db.execute("SET", f"{{a:{broken}}}:paged:{broken}", b"not sealed")
    await night.round()
    assert night.got() == [DESK]
    assert len((await night.call(whole)).pages) == 1


async def test_however_many_wait_for_nobody_the_others_are_called_for(night: Night):
    """An organisation without anybody on call leaves a hundred waiting, each of which is looked at again every minute: another's is not behind them."""
    await night.rota()
    made = [new_id(night.clock.now_ms()) for _ in range(100)]
    last = next(one for one in iter(lambda: new_id(night.clock.now_ms()), "") if keys.shard_of(one) == keys.SHARDS - 1)
    for name in (*made, last):
        await night.parts.alerts.create(record(name, org="default" if name == last else "other"), AREA)
    await night.round()
    assert night.got() == [DESK]


async def test_a_rota_that_cannot_be_read_keeps_nobody_else_from_being_called(night: Night):
    """What waits of that organisation waits on."""
    await night.rota()
    theirs = new_id(night.clock.now_ms())
    await night.parts.alerts.create(record(theirs, org="other"), AREA)
    await night.parts.db.execute("SET", keys.org("other", "oncall"), b"not sealed")
    await night.waits()
    await night.round()
    assert night.got() == [DESK]
    assert theirs in await night.parts.waiting.all()


async def test_what_nobody_is_called_for_is_left_unread(night: Night):
    """Without a rota it is put off by a minute and what it says stays sealed; once there is one, it is called for at once."""
    alert_id = await night.waits()
    await night.parts.events.bring()
    sealed = await night.parts.db.execute("HGETALL", keys.of_chain(alert_id, "version", alert_id))
    await night.parts.db.execute("HSET", keys.of_chain(alert_id, "version", alert_id), "doc", b"not sealed")
    await night.round()
    assert await night.parts.waiting.all(night.clock.steady_ms()) == []
    assert await night.parts.waiting.all(night.clock.steady_ms() + AGAIN_MS) == [alert_id]
    await night.parts.db.execute("HSET", keys.of_chain(alert_id, "version", alert_id), "doc", dict(sealed)[b"doc"])
    await night.rota()
    await night.round()
    assert night.got() == [DESK]


async def test_several_alerts_at_once_are_one_page_that_says_how_many(night: Night):
    """Nobody reads three messages of one minute. All three count as told; what comes after it is told when the minute is over, and an alert
    that is meant waits for no exercise.
    """
    await night.rota(after_min=5)
    alerts = [await night.waits() for i in range(3)]
    await night.round()
    assert night.got() == [DESK]
    assert night.texts()[0].endswith("\nOthers that wait: 2")
    assert [len((await night.call(one)).pages) for one in alerts] == [1, 1, 1]
    later = await night.waits()
    await night.round()
    assert (night.got(), await night.call(later)) == ([DESK], None)
    await night.parts.intake.submit(alert_of(night.sample, status="Exercise"), ANA)  # something keeps it
    await night.round()
    assert night.got() == [DESK] * 2
    await night.round(1)
    assert night.got() == [DESK] * 3
    assert len((await night.call(later)).pages) == 1
    await night.round(4)
    assert night.got().count(DEPUTY) == 2  # in time: one for those that are meant, one for the exercise


async def test_a_page_that_nobody_took_stands_for_no_other_alert(night: Night):
    """Each alert tries by itself where the other's page was in vain."""
    await night.rota([person("Desk", sms(DESK))])
    first, second = await night.waits(), await night.waits()
    people = rota_of([person("Desk", sms(DESK))]).steps[0].people
    claim = await night.parts.paging.pace.claim("default", "Actual", people, first)
    other = asyncio.create_task(night.parts.paging.pace.claim("default", "Actual", people, second))
    await asyncio.sleep(0)
    assert not other.done()
    claim.settle(first, night.clock.now_ms(), frozenset({first, second}), {0: Reached("sms", taken=False)})
    assert list((await other).mine) == [0]


async def test_an_alert_that_came_back_is_called_for_anew(night: Night):
    """Returned, and submitted again: what was told before counts for nothing, and no mail is called as one that was sent then."""
    await night.rota(
        [person("Desk", sms(DESK)), person("Chief", {"channel": "mail", "mailbox": "chief@centre.example"})]
    )
    alert_id = await night.waits()
    await night.round()
    await night.parts.approval.give_back(alert_id, BEA, "The area is wrong")
    await night.round(6)
    await night.parts.approval.submit(alert_id, ANA)
    await night.round()
    assert night.got() == [DESK, DESK]
    assert list(night.sandbox.mail.message_ids.values()) == [1, 1]
    assert len((await night.call(alert_id)).pages) == 2


async def test_a_clock_that_is_set_back_keeps_no_step_waiting(night: Night):
    """The next is called when its minutes are over, not before and not an hour later; so it is where somebody has the alert."""
    await night.rota(after_min=5, hold_min=15, times=1)
    await night.waits()
    held = await night.waits(channels=["sms"])
    await night.round()
    await night.parts.rota.take(held, BEA)
    set_back(night)
    await night.round(4)
    assert night.got() == [DESK]
    await night.round(2)
    assert night.got() == [DESK, DEPUTY]
    await night.round(10)
    assert night.got() == [DESK, DEPUTY, DEPUTY, CHIEF]


async def test_who_takes_over_after_a_clock_was_set_back_keeps_no_step_waiting(night: Night):
    """Though that process never saw the step; and people read when the next are called as their clocks have it."""
    await night.rota(after_min=5, hold_min=15)
    await night.waits()
    held = await night.waits(channels=["sms"])
    await night.round()
    await night.parts.rota.take(held, BEA)
    set_back(night)
    await night.parts.paging.close()
    due = [call.paged.due - night.clock.now_ms() for call in await night.parts.rota.calls("default") if call.paged]
    until = (await night.call(held)).until - night.clock.now_ms()
    assert [round(ms / MIN) for ms in (*due, until)] == [5, 15, 15]
    await night.round(4)
    assert night.got() == [DESK]
    await night.round(2)
    assert night.got() == [DESK, DEPUTY]


async def test_a_clock_that_is_set_back_keeps_no_other_alert_waiting(night: Night):
    """Whoever was called a moment before of one is called of the next a minute later."""
    await night.rota(after_min=60)
    await night.waits()
    await night.round()
    set_back(night)
    await night.round(0.5)
    await night.waits()
    await night.round(2)
    await night.round(1)
    assert night.got() == [DESK, DESK]


async def test_an_update_after_a_clock_was_set_back_is_called_for_at_once(night: Night):
    """Its alert's own clock is ahead of that by which people are called."""
    await night.rota()
    record = await planned(night.parts, night.sample)
    set_back(night)
    await night.parts.update_proposals.submit(record.id, alert_of(night.sample), Notify.FULL, ANA)
    await night.round(1)
    assert night.got() == [DESK]


def set_back(night: Night) -> None:
    """The store's clock by an hour, and with it that of every process."""
    night.clock.back_ms += 60 * MIN
    night.parts.db.skew_ms -= 60 * MIN


async def test_one_that_is_damaged_keeps_nobody_from_being_called_for_another(night: Night):
    """How many wait is counted without a look at what is sealed."""
    await night.rota()
    damaged = await night.waits()
    await night.parts.db.execute("HSET", keys.of_chain(damaged, "version", damaged), "reason", b"\1damaged")
    whole = await night.waits()
    await night.round()
    assert night.got() == [DESK]
    assert [call.record.id for call in await night.parts.rota.calls("default")] == [whole]


async def test_who_makes_way_for_another_has_told_whom_it_began_to_tell(night: Night):
    """Nobody is begun with meanwhile, and nobody is told twice for it: another begins when what is under way is noted. Once a minute at most."""
    paging, aside = night.parts.paging, list[str]()
    paging.step_aside = lambda: aside.append("aside")
    await night.rota()
    await night.waits()
    night.sandbox.sms.script.set(Rule(DESK, "slow", delay_s=0.5))
    night.clock.ahead_ms += 1_000
    await night.parts.events.bring()
    await paging.round()
    paging._look_at_health([Reached("sms", taken=False, is_sick=True)])
    other = await night.waits(case=night.sample["case"] | {"number": "another"})
    night.clock.ahead_ms += 1_000
    await night.parts.events.bring()
    await paging.round()
    assert aside == []
    await paging.settled()
    assert await night.call(other) is None
    night.clock.ahead_ms += 1_000
    await paging.round()
    assert aside == ["aside"]
    paging._look_at_health([Reached("sms", taken=False, is_sick=True)])
    await night.round()
    assert aside == ["aside"]
    assert night.got() == [DESK]


async def test_a_worker_that_may_write_no_mail_makes_way_for_another(night: Night):
    """It has no share of the relay's connections. Nobody was reached, so another worker pages."""
    paging, aside = night.parts.paging, list[str]()
    paging.step_aside = lambda: aside.append("aside")
    night.parts.carriers.named("relay").channel.share(0)
    await night.rota([person("Desk", {"channel": "mail", "mailbox": "desk@centre.example"})])
    await night.waits()
    await night.round()
    await night.round()
    assert aside == ["aside"]
    assert night.sandbox.mail.recorded.total == 0
