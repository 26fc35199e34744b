"""An alert that was returned is changed by its author, while somebody else changes it, too."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import desk
from tests.browser.layout import SLOWLY

#: Whether the words that people will read, and what was verified, stand above the buttons.
APPROVED_LAST = """() => ['.verified', '.languages-row'].every((one) =>
    document.querySelector(one).compareDocumentPosition(document.querySelector('.decide')) & Node.DOCUMENT_POSITION_FOLLOWING)"""

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]


async def test_two_change_one_alert_and_nothing_is_lost(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Its author corrects an alert that was returned while a program of theirs does so as well: what both changed is shown side by
    side and chosen, what one changed alone is taken, and what the form has no field for stays. Whoever has it open to approve it
    is told what changed, counts the new area, and cannot approve before they have seen it. They read what was verified, and the words,
    before they decide. Its author may take it back until then. A reason that is
    typed outlives a page that is loaded again, in another language perhaps.
    """
    child = alert["case"]["children"][0]
    scripts = {"public": "Lucía P.", "scripts": {"ar": "لوسيا"}}
    named = {**alert, "case": {**alert["case"], "children": [{**child, "name": scripts}]}}
    alert_id = served.call("POST", "/v1/alerts", named, ana)[1]["id"]
    async with desk(plain, served.url) as approver, desk(plain, served.url, 412) as author:
        await approver.sign_in(bea)
        await approver.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        verified = approver.page.locator(".verified")
        for said in alert["case"]["verification"]["authority"], alert["case"]["verification"]["publication_risk"]["by"]:
            await expect(verified).to_contain_text(said)
        await approver.page.locator(".languages-row").wait_for()
        assert await approver.page.evaluate(APPROVED_LAST)
        await approver.press("Return to the author")
        await approver.fill("Reason", "Her age is another")
        await approver.page.reload()
        await expect(approver.page.get_by_label("Reason", exact=True)).to_have_value("Her age is another")
        await approver.press("Return to the author")
        await expect(approver.page.get_by_text("Her age is another")).to_be_visible()
        await author.sign_in(ana)
        await author.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        await author.page.get_by_role("link", name="Edit").click()
        await expect(author.page.get_by_label("Name to publish", exact=True)).to_have_value("Lucía P.")
        await author.fill("Age", "8")
        await author.page.get_by_label("Eyes", exact=True).select_option("brown")
        document = served.call("GET", f"/v1/alerts/{alert_id}")[1]["alert"]
        child = {**document["case"]["children"][0], "age": {"years": 9}}
        patch = {"level": "appeal", "case": {"children": [child]}, "target": {"regions": ["41091"]}}
        assert served.call("PATCH", f"/v1/alerts/{alert_id}", patch, ana)[0] == 200
        await author.page.reload()
        await expect(author.page.get_by_label("Age", exact=True)).to_have_value("8")
        await author.press("3 Check and submit")
        await author.press("Submit for approval")
        conflict = author.page.locator(".conflict")
        await expect(conflict).to_contain_text("Someone else changed it at the same time")
        await expect(conflict.locator("fieldset")).to_have_count(1)
        await expect(conflict.locator(".taken")).to_contain_text("Appeal")
        merge = author.page.get_by_role("button", name="Combine and review")
        await expect(merge).to_be_disabled()
        await expect(author.page.get_by_role("button", name="Submit for approval")).to_be_disabled()
        await author.check_readable()
        await author.check_readable("rtl")
        await conflict.get_by_role("radio", name="Yours").check()
        await merge.click()
        await author.press("Submit for approval")
        await expect(author.page.locator(".alert-head .state")).to_have_text("Waiting for approval")
        since = approver.page.locator(".since")
        await expect(since).to_contain_text("It changed while you had it open")
        await expect(since).to_contain_text("Age")
        await expect(approver.page.locator(".sentence")).to_contain_text("in Sevilla")
        approve = approver.page.get_by_role("button", name="Approve and send")
        await expect(approve).to_be_disabled()
        await approver.check_readable()
        await approver.press("I have seen it")
        await expect(since).to_have_count(0)
        await expect(approve).to_be_enabled()
        told = served.call("GET", f"/v1/alerts/{alert_id}")[1]
        await author.press("Withdraw")
        await author.fill("Reason (internal)", "She is home")
        await author.press("Withdraw")
        await expect(author.page.locator(".alert-head .state")).to_have_text("Rejected")
    [child] = told["alert"]["case"]["children"]
    assert (told["state"], told["alert"]["level"]) == ("pending", "appeal")
    assert (child["age"]["years"], child["eyes"], child["name"]) == (8, "brown", scripts)


async def test_an_alert_is_updated_and_restricted(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Its author changes what it says and who hears of that, which a page that is loaded again still has; another person sees what is another, how many, and approves; facts are taken out
    in two presses and a reason, and all of it is in the alert's course. Whoever has the alert open sees that at once, and that it is
    stood down; its author is not offered to put its end off, the other is.
    """
    alert_id = served.approved({**alert, "target": {"regions": ["41091"]}})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    async with desk(plain, served.url) as author, desk(plain, served.url) as approver:
        await author.sign_in(ana)
        await author.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        await author.page.get_by_role("link", name="Update").wait_for()
        await expect(author.page.get_by_role("button", name="Extend")).to_have_count(0)
        await author.page.get_by_role("link", name="Update").click()
        await author.fill("Age", "8")
        await author.page.locator(".notify").get_by_text("Phones and browsers, without a sound").click()
        await author.page.reload()
        await expect(author.page.locator(".notify .is-chosen")).to_contain_text("Phones and browsers, without a sound")
        await author.check_readable()
        await author.press("3 Check and submit")
        await expect(author.page.locator(".sentence")).to_contain_text("without a sound")
        await expect(author.page.locator("[lang=es] .phone-title")).to_contain_text("Actualización")
        await author.press("Submit for approval")
        await author.page.get_by_text("another person must approve it").wait_for()
        update_id = author.page.url.rpartition("/")[2]
        await approver.sign_in(bea)
        await approver.page.goto(f"{served.url}/console#/alerts/{update_id}")
        await expect(approver.page.locator(".approval")).to_contain_text("Notified again:")
        await expect(approver.page.locator(".alert-head")).to_contain_text("Update")
        await expect(approver.page.locator(".differences li")).to_have_count(1)
        await expect(approver.page.locator(".differences")).to_contain_text("Age")
        await expect(approver.page.locator(".phone-title").first).to_contain_text("Actualización")
        await approver.check_readable()
        await approver.press("Approve and send")
        await approver.page.locator(".channel").first.wait_for()
        await approver.page.get_by_role("link", name="Open the alert").click()
        await approver.press("Extend")
        await expect(approver.page.locator(".order")).to_contain_text("The alert stays active for longer")
        await approver.fill("Reason (internal)", "Still missing")
        await approver.page.locator(".order").get_by_role("button", name="Extend").click()
        await expect(approver.page.locator(".times")).to_contain_text("Extended")
        await approver.press("Remove identity and photos")
        await approver.fill("Reason (internal)", "Found, well")
        await approver.fill("Type “REMOVE” to confirm", "REMOVE")
        await approver.check_readable("rtl")
        await approver.page.locator(".order").get_by_role("button", name="Remove identity and photos").click()
        times = approver.page.locator(".times")
        await expect(times).to_contain_text("Identity and photos removed")
        await expect(times).to_contain_text("Update submitted")
        await expect(times).to_contain_text("Update approved")
        await expect(author.page.locator("h1")).to_have_text("Endangered")
        assert served.call("POST", f"/v1/alerts/{alert_id}/stand-down", {"reason": "Found, well"}, ana)[0] == 200
        await expect(approver.page.locator(".alert-head .state")).to_have_text("Stood down")
    assert served.call("GET", f"/v1/alerts/{update_id}")[1]["update"]["notify"] == "silent"
    assert served.call("GET", f"/v1/alerts/{alert_id}")[1]["restricted"]


async def test_an_alert_that_goes_out_meanwhile_was_changed_by_nobody(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """An update that was begun while it was sent, and is handed in once all are told, is taken; that somebody let the alert wait meanwhile, or
    took something out of it, is shown, as ever.
    """
    served.control("push", SLOWLY)
    alert_id = served.approved({**alert, "target": {"regions": ["41091"]}})
    path = f"/v1/alerts/{alert_id}"
    served.wait_for(lambda: served.call("GET", path)[1]["state"] == "sending")
    async with desk(plain, served.url, 412) as author, desk(plain, served.url, 412) as other:
        for window, eyes in (author, "brown"), (other, "blue"):
            await window.sign_in(ana)
            await window.page.goto(f"{served.url}/console#/update/{alert_id}")
            await window.page.get_by_label("Eyes", exact=True).select_option(eyes)
        assert served.call("POST", f"{path}/pause", None, ana)[0] == 200
        await other.press("3 Check and submit")
        await other.press("Submit for approval")
        await expect(other.page.locator(".conflict")).to_contain_text("Someone else changed it at the same time")
        await other.page.locator(".conflict button").click()
        assert served.call("POST", f"{path}/resume", None, ana)[0] == 200
        served.control("push", {"rules": []})
        served.wait_for(lambda: served.call("GET", path)[1]["state"] == "sent")
        await author.press("3 Check and submit")
        await author.press("Submit for approval")
        await author.page.get_by_text("another person must approve it").wait_for()
        update_id = author.page.url.rpartition("/")[2]
        assert served.call("POST", f"/v1/alerts/{update_id}/reject", {"reason": "It was a test"})[0] == 200
        assert served.call("POST", f"{path}/restrict", {"reason": "Found, well"}, ana)[0] == 200
        await other.press("Submit for approval")
        await expect(other.page.locator(".conflict")).to_contain_text("Someone else changed it at the same time")


async def test_an_update_that_changes_nothing_says_so(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Its author reads it beside who would be told again, and may still mean it; whoever approves finds no empty list of changes."""
    alert_id = served.approved({**alert, "target": {"regions": ["41091"]}})
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    nothing = "It changes nothing: the alert already says this."
    async with desk(plain, served.url) as author, desk(plain, served.url) as approver:
        await author.sign_in(ana)
        await author.page.goto(f"{served.url}/console#/update/{alert_id}")
        await author.fill("Age", "8")
        await author.press("3 Check and submit")
        approval = author.page.locator(".approval")
        await expect(approval).to_contain_text("Everyone who received the alert is notified again")
        await expect(approval).not_to_contain_text(nothing)
        await author.press("1 The case")
        await author.fill("Age", "7")
        await author.press("3 Check and submit")
        await expect(approval).to_contain_text("Everyone who received the alert is notified again")
        await expect(approval).to_contain_text(nothing)
        await author.check_readable()
        await author.press("Submit for approval")
        await author.page.get_by_text("another person must approve it").wait_for()
        update_id = author.page.url.rpartition("/")[2]
        await approver.sign_in(bea)
        await approver.page.goto(f"{served.url}/console#/alerts/{update_id}")
        await expect(approver.page.locator(".differences")).to_contain_text(nothing)
        await approver.check_readable()
    assert served.call("POST", f"/v1/alerts/{update_id}/reject", {"reason": "It was a test"}, bea)[0] == 200
