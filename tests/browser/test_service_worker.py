"""The service worker that centres have from us (ops/webpush), in a real Chromium: whoever has alerts in their browser is shown what holds, is
shown nothing that does not, and every push leaves something on the screen, or the browser would end the subscription.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from alertd.common.ids import TokenPurpose
from channels.base import Loudness, PushMessage, Stamp
from tests.acceptance.conftest import Served
from tests.browser.centre_site import PushServices, Site, Stands, Visitor, serving, visiting
from tests.browser.desks import WITHOUT_WEBGL, launched
from tests.ports import free_port
from tests.waiting import until

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]

CHAIN, OTHER = "01M885E6PQYDF6FR2R1P9138GR", "01M885E6PQYDF6FR2R1P9138GS"
NAME = "Lucía P."
NEUTRAL = "Missing-child alerts"
PAGE = "https://alerts.centre.example/a/lucia"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PushServices]:
    running = PushServices(tmp_path_factory.mktemp("sandbox"))
    await running.start()
    yield running
    await running.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def stands() -> Stands:
    """What alertd answers, and was told."""
    return Stands()


@pytest_asyncio.fixture(loop_scope="session")
async def site(stands: Stands) -> AsyncIterator[Site]:
    """On another origin than alertd."""
    async with serving(stands.routes()) as alertd:
        found = Site(alertd)
        async with serving(found.routes()) as found.url:
            yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def whole() -> AsyncIterator[Browser]:
    """A browser that shows notifications, which the shell does not."""
    async with launched(*WITHOUT_WEBGL, is_whole=True) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(whole: Browser, site: Site) -> AsyncIterator[Visitor]:
    """Whatever happens, no name of a child stands in what their browser logs."""
    async with visiting(whole, site) as found:
        yield found
        assert not [line for line in found.said if NAME in line]


def message(sequence: int = 1, chain: str = CHAIN, *, lasts_s: int = 3600, **changes: Any) -> PushMessage:
    now_s = int(time.time())
    loudness = changes.pop("loudness", Loudness.LOUD)
    stamp = Stamp(
        chain=chain, version=chain if sequence == 1 else f"{chain}-{sequence}", sequence=sequence, sent_s=now_s,
        expires_s=now_s + lasts_s, loudness=loudness, language="es",
    )  # fmt: skip
    told = {"title": f"{NAME} ({sequence})", "body": "7 años, abrigo rojo", "url": PAGE}
    return PushMessage(stamp=stamp, **{**told, **changes})


def titles(shown: list[dict[str, Any]]) -> list[str]:
    return [one["title"] for one in shown]


async def test_an_alert_is_shown_as_it_was_sent_and_alertd_is_told(
    services: PushServices, visitor: Visitor, stands: Stands
):
    """Title, text and language; loud until somebody looks; one notification a chain. It asks first, in requests that need no preflight, and
    acknowledges what is on the screen.
    """
    await visitor.take(await services.carried(message(), "one"))
    assert await visitor.shown() == [{
        "title": f"{NAME} (1)", "body": "7 años, abrigo rojo", "tag": CHAIN, "lang": "es", "silent": False, "renotify": True,
        "requireInteraction": True,
    }]  # fmt: skip
    assert stands.heard == ["GET one", "POST one delivered"]
    await visitor.take(await services.carried(message(2, loudness=Loudness.SILENT), "two"))
    [shown] = await visitor.shown()
    assert (shown["title"], shown["silent"], shown["renotify"]) == (f"{NAME} (2)", True, False)
    await visitor.take(await services.carried(message(1, OTHER), "three"))
    assert sorted(one["tag"] for one in await visitor.shown()) == [CHAIN, OTHER]


@pytest.mark.parametrize("dismissed", [False, True])
async def test_what_is_old_is_not_shown_after_what_is_new(
    services: PushServices, visitor: Visitor, stands: Stands, dismissed: bool
):
    """Also where they have put the new one away: then a neutral notice comes, silently. Nobody says that the old one was shown."""
    await visitor.take(await services.carried(message(2), "new"))
    if dismissed:
        await visitor.dismiss()
    await visitor.take(await services.carried(message(1), "old"))
    [shown] = await visitor.shown()
    assert (shown["title"], shown["silent"]) == (NEUTRAL if dismissed else f"{NAME} (2)", True)
    assert "POST new delivered" in stands.heard
    assert "POST old delivered" not in stands.heard


async def test_the_new_one_stays_where_the_old_one_is_answered_later(
    services: PushServices, visitor: Visitor, stands: Stands
):
    """Both come at once, and what alertd says of the old one takes its time: it does not take the place of the new one for that."""
    stands.answers["old"] = answered = asyncio.Event()
    await visitor.deliver(await services.carried(message(1), "old"))
    await until(lambda: "GET old" in stands.heard)
    await visitor.take(await services.carried(message(2), "new"))
    answered.set()
    await visitor.has_done(2)
    assert titles(await visitor.shown()) == [f"{NAME} (2)"]


#: A picture that takes its time holds up the notification that it is in.
SLOW_PICTURE = """() => {
    const own = show
    show = async (message, changes) => {
        if (message.image) await new Promise((resume) => { self.load = resume })
        await own(message, changes)
    }
}"""


async def test_a_picture_that_does_not_load_holds_up_its_own_alert_alone(services: PushServices, visitor: Visitor):
    """Another alert is shown meanwhile. The update, which came while the first message was to be shown, takes its place once it is."""
    await visitor.worker.evaluate(SLOW_PICTURE)
    await visitor.deliver(await services.carried(message(1, image_url="https://alerts.centre.example/m/1"), "old"))
    await until(lambda: visitor.worker.evaluate("'load' in self"))
    await visitor.take(await services.carried(message(1, OTHER, title="Hugo M."), "other"))
    assert titles(await visitor.shown()) == ["Hugo M."]
    await visitor.deliver(await services.carried(message(2), "new"))
    await visitor.worker.evaluate("async () => { await new Promise((resume) => setTimeout(resume, 500)); load() }")
    await visitor.has_done(3)
    assert sorted(titles(await visitor.shown())) == ["Hugo M.", f"{NAME} (2)"]


async def test_what_comes_twice_rings_once(services: PushServices, visitor: Visitor, stands: Stands):
    """A message that may not have been sent is sent again: it is one notification, the second time without a sound, and acknowledged."""
    payload = await services.carried(message(), "one")
    await visitor.take(payload)
    await visitor.take(payload)
    [shown] = await visitor.shown()
    assert (shown["title"], shown["silent"], shown["renotify"]) == (f"{NAME} (1)", True, False)
    assert stands.heard == ["GET one", "POST one delivered"] * 2


@pytest.mark.parametrize("answer", [False, 404])
async def test_a_name_that_may_not_be_shown_leaves_the_screen(
    services: PushServices, visitor: Visitor, stands: Stands, answer: bool | int
):
    """Of this alert nothing is shown any more, and a neutral notice in its place, silently; it is not acknowledged. What comes of it later, and
    may be shown, takes the notice's place.
    """
    await visitor.take(await services.carried(message(1), "one"))
    stands.answers["two"] = answer
    await visitor.take(await services.carried(message(2), "two"))
    [shown] = await visitor.shown()
    assert (shown["title"], shown["silent"]) == (NEUTRAL, True)
    assert NAME not in json.dumps(shown, ensure_ascii=False)
    assert "POST two delivered" not in stands.heard
    await visitor.take(await services.carried(message(3, title="Encontrada"), "three"))
    assert titles(await visitor.shown()) == ["Encontrada"]


async def test_another_alert_is_left_as_it_is(services: PushServices, visitor: Visitor, stands: Stands):
    """What leaves the screen is of one alert, and however many such messages come, there is one neutral notice."""
    await visitor.take(await services.carried(message(1, OTHER, title="Hugo M."), "other"))
    await visitor.take(await services.carried(message(1), "one"))
    stands.answers |= {"two": False, "three": False}
    await visitor.take(await services.carried(message(2), "two"))
    await visitor.take(await services.carried(message(3), "three"))
    shown = {one["title"]: one["silent"] for one in await visitor.shown()}
    assert shown == {"Hugo M.": False, NEUTRAL: True}


@pytest.mark.parametrize("answer", [503, 429, "<html>Sign in</html>", "null", "{}", asyncio.Event()])
async def test_without_an_answer_it_is_shown(
    services: PushServices, visitor: Visitor, stands: Stands, answer: int | str | asyncio.Event
):
    """An alertd that fails, that speaks of something else, or says nothing for seconds: an alert that is not shown helps nobody."""
    stands.answers["one"] = answer
    await visitor.take(await services.carried(message(), "one"))
    assert titles(await visitor.shown()) == [f"{NAME} (1)"]


async def test_without_a_line_it_is_shown(services: PushServices, whole: Browser):
    """Where alertd is cannot be reached, neither to ask nor to say that it was shown."""
    site = Site(f"http://127.0.0.1:{free_port()}")
    async with serving(site.routes()) as site.url, visiting(whole, site) as visitor:
        await visitor.take(await services.carried(message(), "one"))
        assert titles(await visitor.shown()) == [f"{NAME} (1)"]


async def test_what_has_expired_is_not_shown(services: PushServices, visitor: Visitor, stands: Stands):
    """What comes too late is not asked about; what is on the screen and has expired since goes with the next push, whatever that is of."""
    await visitor.take(await services.carried(message(lasts_s=-1), "late"))
    assert titles(await visitor.shown()) == [NEUTRAL]
    assert stands.heard == []
    await visitor.take(await services.carried(message(2, lasts_s=3600), "two"))
    await visitor.wait_hours(2)
    await visitor.take(await services.carried(message(1, OTHER, lasts_s=5 * 3600, title="Hugo M."), "other"))
    assert titles(await visitor.shown()) == ["Hugo M."]


async def test_a_click_opens_the_page_and_says_that_it_was_seen(
    services: PushServices, visitor: Visitor, stands: Stands
):
    """And puts the notification away; without a page of the alert, and from the neutral notice, the site's own is opened."""
    await visitor.take(await services.carried(message(), "one"))
    assert await visitor.click(CHAIN) == [PAGE]
    assert await visitor.shown() == []
    assert stands.heard == ["GET one", "POST one delivered", "POST one seen"]
    await visitor.take(await services.carried(message(2, url=None), "two"))
    assert await visitor.click(CHAIN) == ["/"]
    await visitor.take("?")
    [neutral] = await visitor.shown()
    assert await visitor.click(neutral["tag"]) == ["/"]
    assert stands.heard[3:] == ["GET two", "POST two delivered", "POST two seen"]


async def test_what_it_does_not_know_is_a_neutral_notice(services: PushServices, visitor: Visitor, stands: Stands):
    """Of a message that is none of ours, or of a schema of later, nothing is shown, and nobody is asked about it."""
    known = json.loads(await services.carried(message(), "one"))
    later = {
        **known,
        "notification": {**known["notification"], "data": {**known["notification"]["data"], "schema": "2"}},
    }
    bare = {**known, "notification": {"title": NAME, "body": NAME}}
    for payload in ("", "{", "null", "[]", '{"title": "Lucía P."}', json.dumps(bare), json.dumps(later)):
        await visitor.take(payload)
        [shown] = await visitor.shown()
        assert (shown["title"], shown["silent"]) == (NEUTRAL, True), payload
    assert stands.heard == []


async def test_a_browser_that_reads_the_message_itself_is_understood(
    services: PushServices, visitor: Visitor, stands: Stands
):
    """Safari gives the worker the notification that it would show, and no text (declarative web push)."""
    told = json.loads(await services.carried(message(), "one"))["notification"]
    await visitor.worker.evaluate("(notification) => take(messageOf({ data: null, notification }))", told)
    assert titles(await visitor.shown()) == [f"{NAME} (1)"]
    assert stands.heard == ["GET one", "POST one delivered"]


async def test_a_subscription_that_changed_is_told_to_the_site(visitor: Visitor, site: Site):
    """With what it was before, where the browser says so; where it has no new one, the worker subscribes."""
    await visitor.worker.evaluate("""async () => {
        PushManager.prototype.subscribe = async (options) => ({ endpoint: 'https://push.example/2', ...options })
        await renew({ oldSubscription: { endpoint: 'https://push.example/1' }, newSubscription: null })
        await renew({ oldSubscription: null, newSubscription: { endpoint: 'https://push.example/3' } })
    }""")
    made = {"endpoint": "https://push.example/2", "userVisibleOnly": True, "applicationServerKey": ""}
    assert site.taken == [
        {"subscription": made, "old": "https://push.example/1", "before": {"endpoint": "https://push.example/1"}},
        {"subscription": {"endpoint": "https://push.example/3"}, "old": None, "before": None},
    ]


#: Chromium subscribes no window that forgets all: what it would do there is done by these.
SUBSCRIBING = """async (key) => {
    const asked = []
    let kept = 'other'
    const made = (with_) => ({ toJSON: () => ({ endpoint: 'https://push.example/' + with_ }), endpoint: 'https://push.example/' + with_,
        unsubscribe: async () => { kept = null } })
    PushManager.prototype.getSubscription = async () => kept && made(kept)
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
        asked.push([userVisibleOnly, applicationServerKey])
        if (kept && kept !== applicationServerKey) throw new DOMException('another key', 'InvalidStateError')
        kept = applicationServerKey
        return made(kept)
    }
    const { resume, subscribe, unsubscribe } = await import('/subscribe.js')
    const handed = []
    const options = { worker: '/sw.js', key, hand: async (subscription) => { handed.push(subscription) } }
    const said = [await subscribe(options), await resume(options)]
    return { said, handed, asked, ended: [await unsubscribe(), await unsubscribe()] }
}"""


async def test_a_page_subscribes_and_hands_over(visitor: Visitor):
    """Visibly, with the key that alertd has now, whatever the browser had before; at the next visit once more, and until it ends."""
    found = await visitor.page.evaluate(SUBSCRIBING, "BKey")
    assert found["said"] == ["subscribed", "subscribed"]
    assert found["handed"] == [{"endpoint": "https://push.example/BKey"}] * 2
    assert found["asked"] == [[True, "BKey"]] * 3
    assert found["ended"] == ["https://push.example/BKey", None]


async def test_who_wants_none_is_not_asked_again(whole: Browser, site: Site):
    """Without permission nothing is handed over, and a later visit asks for none."""
    context = await whole.new_context()
    page = await context.new_page()
    await page.goto(site.url)
    said = await page.evaluate("""async () => {
        let asked = 0
        Notification.requestPermission = async () => { asked += 1; return 'denied' }
        const { resume, subscribe } = await import('/subscribe.js')
        const options = { worker: '/sw.js', key: 'BKey', hand: () => { throw new Error('handed over') } }
        return [await subscribe(options), await resume(options), asked]
    }""")
    assert said == ["denied", "denied", 1]
    await context.close()


async def test_alertd_answers_the_worker_of_another_site(
    services: PushServices, served: Served, whole: Browser, bea: str, alert: dict[str, Any]
):
    """The real one: what was shown counts as delivered; once the alert is stood down, a message of it that comes late shows no name."""
    alert_id = served.approved(alert)
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    rows = served.call("GET", f"/v1/alerts/{alert_id}/deliveries")[1]
    row = next(one["row"] for one in rows if one["channel"] == "push" and one["state"] == "accepted")
    tag, before = (
        served.tags().make(alert_id, row, TokenPurpose.ACK),
        served.progress(alert_id)["channels"]["push"]["delivered"],
    )
    site = Site(served.url)
    async with serving(site.routes()) as site.url, visiting(whole, site) as visitor:
        await visitor.take(await services.carried(message(chain=alert_id), tag))
        assert titles(await visitor.shown()) == [f"{NAME} (1)"]
        assert served.progress(alert_id)["channels"]["push"]["delivered"] == before + 1
        assert served.call("POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "Found, well"}, bea)[0] == 200
        await visitor.take(await services.carried(message(chain=alert_id), tag))
        assert titles(await visitor.shown()) == [NEUTRAL]
