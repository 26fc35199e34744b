"""A request that is sent again does nothing new, and what is looked at again is in the audit again."""

from __future__ import annotations

import re
from typing import Any

from tests.integration.acts import SEVILLA, register
from tests.integration.authority.desks import CAP, Desk


async def entries(desk: Desk) -> int:
    return int((await desk.ask("ana", "GET", "/v1/audit?limit=1"))[1]["entries"][0]["entry"])


async def test_a_case_stand_down_that_is_sent_again_hides_nothing_new(desk: Desk, alert: dict[str, Any]):
    """Under its Idempotency-Key it tells how the case stands. Under another it acts, and that is in the audit."""
    _, mine = await desk.ask("ana", "POST", "/v1/alerts", alert)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{mine['id']}/approve", {}) == "ok"
    asked = ("ana", "POST", "/v1/cases/SE-2026-117/stand-down", {"reason": "found"})
    _, first = await desk.ask(*asked, **{"Idempotency-Key": "one"})
    assert await desk.slug("bea", "POST", f"/v1/alerts/{mine['id']}/reopen", {"reason": "another child"}) == "ok"
    before = await entries(desk)
    status, again = await desk.ask(*asked, **{"Idempotency-Key": "one"})
    assert (status, [one["id"] for one in again["alerts"]]) == (202, [one["id"] for one in first["alerts"]])
    assert [one["state"] for one in again["alerts"]] == ["sending"]
    assert await entries(desk) == before
    _, anew = await desk.ask(*asked, **{"Idempotency-Key": "two"})
    assert [one["state"] for one in anew["alerts"]] == ["stood_down"]
    assert await entries(desk) > before


async def test_a_cap_cancel_that_is_sent_again_cancels_nothing_new(desk: Desk, alert: dict[str, Any]):
    """What came under the same reference since goes on."""
    await register(desk.parts, 40, first=300, kinds=["general"])
    kind = {"Content-Type": "application/cap+xml"}
    document = CAP.format(lat=SEVILLA[1], lon=SEVILLA[0], expires=alert["expires"])
    named = "<references>police.example,1,2026-01-10T12:00:00-00:00</references>"
    cancel = (
        re.sub("<info>.*</info>", named, document, flags=re.DOTALL).replace(">1<", ">2<").replace(">Alert<", ">Cancel<")
    )
    _, first = await desk.ask("ana", "POST", "/v1/cap", document, **kind)
    assert (await desk.ask("ana", "POST", "/v1/cap", cancel, **kind, **{"Idempotency-Key": "c"}))[0] == 202
    _, second = await desk.ask("ana", "POST", "/v1/cap", document, **kind)
    assert await desk.slug("bea", "POST", f"/v1/alerts/{second['id']}/approve", {}) == "ok"
    _, again = await desk.ask("ana", "POST", "/v1/cap", cancel, **kind, **{"Idempotency-Key": "c"})
    assert again["id"] == first["id"]
    assert (await desk.ask("ana", "GET", f"/v1/alerts/{second['id']}"))[1]["state"] in {"approved", "sending"}


async def test_who_is_looked_up_again_is_in_the_audit_again(desk: Desk):
    """Whatever its Idempotency-Key: it was disclosed twice."""
    asked = ("host", "POST", "/v1/subscribers/lookup", {"channel": "push", "value": "token-3"})
    for _ in range(2):
        assert await desk.slug(*asked, **{"Idempotency-Key": "one"}) == "ok"
    _, audit = await desk.ask("host", "GET", "/v1/audit")
    assert [(one["act"], one["outcome"]) for one in audit["entries"]].count(("subscriber.lookup", "done")) == 2
