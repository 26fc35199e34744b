"""An alert that its author approves alone: of each rule that it refuses, that its neighbour goes through, and that nobody overlooks it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from alertd.model.alert import Alert
from alertd.model.kinds import Protection, Verdict
from alertd.model.operator import scopes_of
from alertd.model.redaction import restricted
from alertd.service.access import BY_GLASS, Credential
from alertd.service.container import Container
from alertd.store.approvals.break_glass import Claim, Claims
from alertd.store.engine import keys
from alertd.store.organisations.operators import OperatorStore, Passkey, StoredOperator
from tests.integration.acts import register
from tests.unit.alertd.samples import changed

PAGE = {"Sec-Fetch-Site": "same-origin"}
ALLOWED = {"levels": ["child-alert"], "after_min": 10}
WAIT_MS = 10 * 60_000 + 1_000  # what a process takes for the store's time may be some milliseconds behind it
WHY = {"reason": "Nobody on call answers"}
WELL = {"verdict": "justified", "note": "Two were called in vain"}
BOTH = ("author", "approver")


class Desk:
    """People who signed in, each with a passkey that nobody else let them in with, and an administrator's key."""

    def __init__(self, parts: Container, client: Any, alert: dict[str, Any]) -> None:
        self.parts, self.client, self.alert = parts, client, alert
        self.headers: dict[str, dict[str, str]] = {}

    async def key(self, subject: str, **more: Any) -> None:
        _, token = await self.parts.access.create(org="default", subject=subject, scopes=frozenset({"admin"}), **more)
        self.headers[subject] = {"Authorization": f"Bearer {token}"}

    async def let_in(self, subject: str, *roles: str, makers: tuple[str, ...] = (), proven: bool = True) -> None:
        """A session of this person."""
        store, passkey = OperatorStore(self.parts.db), Passkey(id=subject, key=b"", count=0, made=1, makers=makers)
        operator = StoredOperator(
            id=store.id_of("default", subject), org="default", subject=subject, name=subject, roles=roles, made=1,
            passkeys=(passkey,),
        )  # fmt: skip
        await store.remove(operator)
        assert await store.add(operator)
        token = await self.parts.sessions.begin(operator, passkey, proven=proven)
        self.headers[subject] = {"Cookie": f"alertd_session={token}", **PAGE}

    async def ask(self, who: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        given = {"json": body} if body is not None else {}
        headers = dict(self.headers[who])
        if path.endswith(("/approve", "/break-glass")):  # whoever approves has looked at it just before
            async with self.client.get(path.rpartition("/")[0], headers=headers) as seen:
                headers["If-Match"] = seen.headers.get("ETag", "*")
        async with self.client.request(method, path, headers=headers, **given) as answer:
            return answer.status, await answer.json() if answer.content_length else None

    async def slug(self, who: str, method: str, path: str, body: Any = None) -> str:
        """What it is refused with, or `ok`."""
        status, answer = await self.ask(who, method, path, body)
        return "ok" if status < 400 else str(answer["type"]).removeprefix("/problems/")

    async def allow(self, who: str, rule: Any = ALLOWED) -> None:
        """Somebody lets alerts be approved alone."""
        shown = (await self.ask(who, "GET", "/v1/organisations/default"))[1]["organisation"]
        assert await self.slug(who, "PUT", "/v1/organisations/default", {**shown, "break_glass": rule}) == "ok"

    async def pending(self, who: str = "ana", **changes: Any) -> str:
        """Somebody's alert that has waited for ten minutes, and a second."""
        self.parts.db.skew_ms = -WAIT_MS
        status, taken = await self.ask(who, "POST", "/v1/alerts", {**self.alert, **changes})
        self.parts.db.skew_ms = 0
        assert status == 202, taken
        return str(taken["id"])

    async def break_glass(self, who: str, alert_id: str, **more: Any) -> str:
        return await self.slug(who, "POST", f"/v1/alerts/{alert_id}/break-glass", WHY | more)

    async def review(self, who: str, alert_id: str, **more: Any) -> str:
        return await self.slug(who, "POST", f"/v1/alerts/{alert_id}/review", WELL | more)

    async def shown(self, alert_id: str) -> dict[str, Any]:
        return dict((await self.ask("root", "GET", f"/v1/alerts/{alert_id}"))[1])

    async def awaiting(self) -> list[str]:
        return [one["id"] for one in (await self.ask("bea", "GET", "/v1/reviews"))[1]["alerts"]]


@pytest.fixture
async def desk(parts: Container, client: Any, sample: dict[str, Any]) -> Desk:
    """Forty people in a city; Ana writes and approves, Bea too; what Root allows goes out alone."""
    await register(parts, 40)
    alert = changed(changed(sample, "author/subject", None), "external_id", None)
    found = Desk(
        parts, client, {**alert, "level": "child-alert", "channels": ["push"], "target": {"regions": ["41091"]}}
    )
    await found.key("root")
    await found.let_in("ana", *BOTH)
    await found.let_in("bea", *BOTH)
    await found.allow("root")
    return found


async def test_nobody_approves_alone_unless_that_was_allowed(desk: Desk):
    """By no organisation at first, and of the levels that were named alone; the alert waits for its second person as ever."""
    await desk.allow("root", None)
    one = await desk.pending()
    assert await desk.break_glass("ana", one) == "not-allowed"
    assert (await desk.ask("bea", "GET", "/v1/organisations/default"))[1]["organisation"]["break_glass"] is None
    await desk.allow("root")
    other = await desk.pending(level="endangered")
    assert await desk.break_glass("ana", other) == "not-allowed"
    assert [(await desk.shown(each))["state"] for each in (one, other)] == ["pending", "pending"]
    assert await desk.break_glass("ana", one) == "ok"


async def test_it_takes_a_person_who_has_just_shown_that_it_is_they(desk: Desk):
    """No key, whosever and whatever it may; no session whose passkey was not asked for just now; nobody without the role."""
    one = await desk.pending()
    await desk.key("ana")
    assert await desk.break_glass("ana", one) == "not-allowed"
    await desk.let_in("ana", *BOTH, proven=False)
    status, refusal = await desk.ask("ana", "POST", f"/v1/alerts/{one}/break-glass", WHY)
    assert (status, refusal["step_up"]) == (403, True)
    await desk.let_in("eva", "author")
    status, refusal = await desk.ask("eva", "POST", f"/v1/alerts/{await desk.pending('eva')}/break-glass", WHY)
    assert (status, refusal["scope"]) == (403, "alerts:approve")
    await desk.let_in("ana", *BOTH)
    assert await desk.break_glass("ana", one) == "ok"


async def test_whoever_breaks_the_glass_names_what_they_looked_at(desk: Desk):
    """As any approval does."""
    await desk.allow("root")
    one = await desk.pending()
    path = f"/v1/alerts/{one}/break-glass"
    async with desk.client.post(path, headers=desk.headers["ana"], json=WHY) as answer:
        assert answer.status == 428
    async with desk.client.post(path, headers=desk.headers["ana"], json={**WHY, "rev": 2}) as answer:
        assert answer.status == 412
    async with desk.client.post(path, headers=desk.headers["ana"], json={**WHY, "rev": 1}) as answer:
        assert answer.status == 200


async def test_only_its_author_breaks_the_glass_and_says_why(desk: Desk):
    """Anybody else may be the second person instead; without a reason, or with blanks for one, nothing is done."""
    one = await desk.pending()
    assert await desk.break_glass("bea", one) == "not-allowed"
    for body in ({}, {"reason": ""}, {"reason": "  "}):
        assert await desk.slug("ana", "POST", f"/v1/alerts/{one}/break-glass", body) == "invalid-request"
    assert (await desk.shown(one))["state"] == "pending"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{one}/approve", {}) == "ok"


async def test_whoever_allowed_it_is_the_second_person(desk: Desk):
    """So it is neither its author, nor one who let them in, nor one whom they let in; and an update of that word is anew its writer's."""
    await desk.let_in("ana", "administrator")
    await desk.allow("ana", {**ALLOWED, "after_min": 9})
    one = await desk.pending()
    assert await desk.break_glass("ana", one) == "same-person"
    await desk.allow("root")
    assert (await desk.ask("root", "GET", "/v1/organisations/default"))[1]["break_glass_by"] == "root"
    await desk.let_in("dora", *BOTH, makers=("root",))
    theirs = await desk.pending("dora")
    assert await desk.break_glass("dora", theirs) == "same-person"
    await desk.key("carl", maker=Credential(key_id="d", org="default", subject="dora", scopes=frozenset({"admin"})))
    await desk.allow("carl", {**ALLOWED, "after_min": 8})
    assert await desk.break_glass("dora", theirs) == "same-person"
    assert await desk.break_glass("ana", one) == "ok"


async def test_whoever_allowed_it_still_administers(desk: Desk):
    """Once their key is gone nobody approves alone by their word, until another administrator says the same."""
    await desk.key("carl")
    await desk.allow("carl", {**ALLOWED, "after_min": 9})
    key = (await desk.ask("carl", "GET", "/v1/me"))[1]["key"]
    one = await desk.pending()
    assert await desk.slug("root", "DELETE", f"/v1/keys/{key}") == "ok"
    assert await desk.break_glass("ana", one) == "not-allowed"
    await desk.allow("root", {**ALLOWED, "after_min": 9})
    assert await desk.break_glass("ana", one) == "ok"


async def test_it_waits_for_a_second_person_first(desk: Desk):
    """As long as the organisation says; the refusal says how long that still is."""
    _, taken = await desk.ask("ana", "POST", "/v1/alerts", desk.alert)
    status, refusal = await desk.ask("ana", "POST", f"/v1/alerts/{taken['id']}/break-glass", WHY)
    assert (status, refusal["type"]) == (409, "/problems/precondition-failed")
    assert 500 < refusal["wait_s"] <= 600
    assert await desk.break_glass("ana", await desk.pending()) == "ok"


async def test_all_else_that_an_approval_checks_is_checked(desk: Desk):
    """Plates, protection, the count and the revision that were seen, stops, and that it waits for anybody at all."""
    vehicle = [{"plate": "1234 BCD", "country": "ES", "legal_basis": "court order"}]
    bare = restricted(Alert.model_validate_json(json.dumps(desk.alert)))
    case = bare.case.model_copy(update={"protection": (Protection.THREATENED,)})
    protected = json.loads(bare.model_copy(update={"case": case}).model_dump_json(by_alias=True))
    protected["case"]["number"] += "-b"  # else the others would be of this child, and under protection too
    plate, hidden, one = (
        await desk.pending(case=changed(desk.alert, "case/vehicles", vehicle)["case"]),
        await desk.pending(**protected | {"author": {}}),
        await desk.pending(),
    )
    found = {
        "plates": await desk.break_glass("ana", plate, plates=["9999 XYZ"]),
        "protected": await desk.break_glass("ana", hidden),
        "count": await desk.break_glass("ana", one, people=400),
    }
    assert found == {
        "plates": "invalid-request",
        "protected": "protection-review-required",
        "count": "audience-changed",
    }
    async with desk.client.post(
        f"/v1/alerts/{one}/break-glass", json=WHY, headers=desk.headers["ana"] | {"If-Match": '"77"'}
    ) as answer:
        assert answer.status == 412
    assert await desk.slug("bea", "POST", "/v1/stop", {"reason": "x"}) == "ok"
    assert await desk.break_glass("ana", one) == "stop-active"
    draft = (await desk.ask("ana", "POST", "/v1/alerts", {**desk.alert, "state": "draft"}))[1]["id"]
    assert await desk.break_glass("ana", draft) == "precondition-failed"
    assert await desk.awaiting() == []


async def test_what_was_refused_keeps_nobody_from_another_alert(desk: Desk):
    """A try that came to nothing is none."""
    one, other = await desk.pending(), await desk.pending()
    assert await desk.break_glass("ana", one, people=400) == "audience-changed"
    assert await desk.break_glass("ana", other) == "ok"


async def test_nobody_overlooks_it(desk: Desk):
    """It stands in the alert, its list, its history, its report, the audit, the metrics and the events, each in its own words."""
    one = await desk.pending()
    assert await desk.break_glass("ana", one) == "ok"
    shown = await desk.shown(one)
    assert (shown["state"], shown["approver"]) == ("approved", f"{BY_GLASS}ana")
    told = shown["break_glass"]
    assert (told["by"], told["reason"], told["review"]) == ("ana", WHY["reason"], None)
    listed = (await desk.ask("bea", "GET", "/v1/alerts?limit=1"))[1]["alerts"][0]
    assert listed["break_glass"] == told
    acts = (await desk.ask("bea", "GET", f"/v1/alerts/{one}/history"))[1]["acts"]
    assert [(act["act"], act["by"]) for act in acts][-1] == ("alert.break_glass", "ana")
    assert (await desk.ask("root", "GET", f"/v1/alerts/{one}/report"))[1]["break_glass"] == told
    entries = (await desk.ask("root", "GET", "/v1/audit"))[1]["entries"]
    done = next(each for each in entries if each["act"] == "alert.break_glass" and each["outcome"] == "done")
    assert done["facts"]["break_glass"] is True
    assert "why" in done["case"]
    assert WHY["reason"] not in json.dumps(entries)
    assert b"alertd_reviews_pending 1.0" in (await desk.parts.fleet.metrics()).whole
    await desk.parts.events.bring()
    batch = await desk.parts.events.read_page("default", None, 100)
    events = [json.loads(event) for _, event in batch.events]
    assert [each["type"] for each in events][-2:] == ["alert.approved", "alert.break_glass"]
    assert events[-1]["data"]["alert"] == one
    assert WHY["reason"] not in json.dumps(events)


async def test_said_again_it_is_done_once(desk: Desk):
    """As a client does whose answer was lost; and its author is still not its second person."""
    one = await desk.pending()
    answers = [await desk.ask("ana", "POST", f"/v1/alerts/{one}/break-glass", WHY) for _ in range(2)]
    assert answers[0] == answers[1]
    assert await desk.slug("ana", "POST", f"/v1/alerts/{one}/approve", {}) == "same-person"
    async with asyncio.TaskGroup() as tasks:
        other = await desk.pending("bea")
        tries = [tasks.create_task(desk.break_glass("bea", other)) for _ in range(3)]
    assert {one.result() for one in tries} == {"ok"}


async def test_until_it_was_reviewed_the_same_person_does_it_with_no_other(desk: Desk):
    """Another person may; and once the review is there the first may again."""
    one, other, theirs = await desk.pending(), await desk.pending(), await desk.pending("bea")
    assert await desk.break_glass("ana", one) == "ok"
    status, refusal = await desk.ask("ana", "POST", f"/v1/alerts/{other}/break-glass", WHY)
    assert (status, refusal["type"], refusal["alert"]) == (409, "/problems/review-pending", one)
    assert await desk.break_glass("bea", theirs) == "ok"
    assert await desk.awaiting() == [one, theirs]
    assert await desk.review("bea", one) == "ok"
    assert await desk.awaiting() == [theirs]
    assert set(await Claims(desk.parts.db).of_org("default")) == {OperatorStore(desk.parts.db).id_of("default", "bea")}
    assert await desk.break_glass("ana", other) == "ok"


async def test_one_that_is_damaged_keeps_nobody_from_another(desk: Desk):
    """Neither from approving it alone, nor from seeing what awaits its review."""
    damaged = await desk.pending()
    other = await desk.pending(case={**desk.alert["case"], "number": "another"})
    assert await desk.break_glass("ana", damaged) == "ok"
    await desk.parts.db.execute("HSET", keys.of_chain(damaged, "version", damaged), "reason", b"\1damaged")
    assert await desk.break_glass("ana", other) == "ok"
    assert await desk.awaiting() == [other]


async def test_of_two_at_once_one_goes_out(desk: Desk):
    """However the two tries fall into each other: the loser is refused, or both are while nobody knows."""
    ids = [await desk.pending() for _ in range(3)]
    found = await asyncio.gather(*(desk.break_glass("ana", each) for each in ids))
    assert sorted(found).count("ok") <= 1
    assert set(found) <= {"ok", "review-pending"}
    assert len([each for each in ids if (await desk.shown(each))["break_glass"]]) == found.count("ok")


async def test_a_try_that_nobody_knows_the_end_of_holds_until_it_cannot_end(desk: Desk):
    """Of a process that died between its word and the alert: while that alert waits unchanged it may still go out, and then no more."""
    one, other = await desk.pending(), await desk.pending()
    operator = OperatorStore(desk.parts.db).id_of("default", "ana")
    rev = (await desk.shown(one))["rev"]
    claims = Claims(desk.parts.db)
    assert await claims.replace("default", operator, (), [Claim(one, rev, "lost")])
    assert await desk.break_glass("ana", other) == "review-pending"
    assert await desk.awaiting() == []
    assert await desk.slug("bea", "POST", f"/v1/alerts/{one}/return", {"reason": "Which exit?"}) == "ok"
    assert await desk.slug("ana", "POST", f"/v1/alerts/{one}/submit") == "ok"
    assert await desk.break_glass("ana", other) == "ok"
    assert [claim.alert for claim in await claims.of("default", operator)] == [other]


async def test_its_counts_are_exact_once_it_was_reviewed(desk: Desk):
    """Until then nobody but its author answers for it."""
    one = await desk.pending()
    assert await desk.break_glass("ana", one) == "ok"

    async def is_exact() -> bool:
        return bool((await desk.ask("bea", "GET", f"/v1/alerts/{one}"))[1]["exact"])

    assert not await is_exact()
    assert await desk.review("bea", one) == "ok"
    assert await is_exact()


async def test_a_review_is_another_operator_s(desk: Desk):
    """Not its author's, nor one's who let them in, nor a key's, nor without a verdict and a note; of what nobody broke there is none."""
    await desk.let_in("dora", *BOTH, makers=("carl",))
    one, plain = await desk.pending("dora"), await desk.pending()
    assert await desk.break_glass("dora", one) == "ok"
    await desk.let_in("carl", *BOTH)
    await desk.let_in("vera", "viewer")
    refused = {
        "author": await desk.review("dora", one),
        "maker": await desk.review("carl", one),
        "key": await desk.review("root", one),
        "viewer": await desk.review("vera", one),
        "no note": await desk.review("bea", one, note=" "),
        "no verdict": await desk.review("bea", one, verdict="fine"),
        "no glass": await desk.review("bea", plain),
    }
    assert refused == {
        "author": "same-person", "maker": "same-person", "key": "not-allowed", "viewer": "not-allowed",
        "no note": "invalid-request", "no verdict": "invalid-request", "no glass": "precondition-failed",
    }  # fmt: skip
    assert await desk.awaiting() == [one]
    await desk.let_in("bea", *BOTH, proven=False)
    assert await desk.review("bea", one) == "not-allowed"


async def test_whoever_could_have_been_at_the_desk_reviews_nothing(desk: Desk):
    """The alert came with a key of the author's, the glass was broken with a passkey that Carl let them in with: Carl is no other."""
    await desk.key("dora")
    one = await desk.pending("dora")
    await desk.let_in("dora", *BOTH, makers=("carl",))
    await desk.let_in("carl", *BOTH)
    assert await desk.break_glass("dora", one) == "ok"
    assert await desk.review("carl", one) == "same-person"
    assert await desk.review("bea", one) == "ok"


async def test_a_review_is_said_once_and_stands(desk: Desk):
    """Whoever said it may say it again; nobody says another. It is told with its person, and is an event."""
    one = await desk.pending()
    assert await desk.break_glass("ana", one) == "ok"
    assert await desk.review("bea", one, verdict="unjustified") == "ok"
    assert await desk.review("bea", one, verdict="unjustified") == "ok"
    assert await desk.review("bea", one) == "precondition-failed"
    await desk.let_in("eva", *BOTH)
    assert await desk.review("eva", one) == "precondition-failed"
    review = (await desk.shown(one))["break_glass"]["review"]
    assert (review["verdict"], review["by"], review["note"]) == (Verdict.UNJUSTIFIED, "bea", WELL["note"])
    await desk.parts.events.bring()
    batch = await desk.parts.events.read_page("default", None, 100)
    assert json.loads(batch.events[-1][1])["type"] == "alert.reviewed"
    acts = (await desk.ask("bea", "GET", f"/v1/alerts/{one}/history"))[1]["acts"]
    assert ("alert.review", "bea") in [(act["act"], act["by"]) for act in acts]
    assert b"alertd_reviews_pending 0.0" in (await desk.parts.fleet.metrics()).whole


async def test_it_is_reviewed_whatever_became_of_it(desk: Desk):
    """Cancelled meanwhile it still is owed one; what follows the alert was not approved alone."""
    one = await desk.pending()
    assert await desk.break_glass("ana", one) == "ok"
    assert await desk.slug("bea", "POST", f"/v1/alerts/{one}/cancel", {"reason": "Found"}) == "ok"
    assert await desk.awaiting() == [one]
    assert await desk.review("bea", one) == "ok"
    listed = (await desk.ask("bea", "GET", "/v1/alerts"))[1]["alerts"]
    assert [each["id"] for each in listed if each["break_glass"]] == [one]


async def test_its_author_puts_no_end_off_and_updates_nothing_alone(desk: Desk):
    """The glass was broken for what was written then; everything later takes two people as ever."""
    one = await desk.pending()
    assert await desk.break_glass("ana", one) == "ok"
    later = {"expires": changed(desk.alert, "status", "Actual")["expires"], "reason": "x"}
    assert await desk.slug("ana", "POST", f"/v1/alerts/{one}/extend", later) == "same-person"
    assert await desk.review("bea", one) == "ok"
    await desk.allow("root", {**ALLOWED, "after_min": 0})
    status, update = await desk.ask("ana", "POST", f"/v1/alerts/{one}/updates", {**desk.alert, "notify": "full"})
    assert (status, update["state"]) == (202, "pending")
    assert await desk.break_glass("ana", update["id"]) == "precondition-failed"


async def test_nothing_that_somebody_wrote_is_in_the_clear(desk: Desk):
    """Neither why the glass was broken, nor the note, nor who: in no key or value of the store. What was written goes with the case."""
    await desk.let_in("ana.lopez", *BOTH)
    one = await desk.pending("ana.lopez")
    assert await desk.break_glass("ana.lopez", one) == "ok"
    assert await desk.review("bea", one) == "ok"
    dump = bytearray()
    for name in await desk.parts.db.execute("KEYS", "*"):
        dump += name + (await desk.parts.db.execute("DUMP", name))
    assert [text for text in (WHY["reason"], WELL["note"], "ana.lopez") if text.encode() in dump] == []
    assert await desk.slug("bea", "POST", f"/v1/alerts/{one}/cancel", {"reason": "Found", "notify": "none"}) == "ok"
    await desk.parts.purging.purge(
        one, Credential(key_id="r", org="default", subject="root", scopes=scopes_of(["administrator"])), "x"
    )
    told = (await desk.shown(one))["break_glass"]
    assert (told["by"], told["reason"], told["review"]["note"]) == ("ana.lopez", None, None)
