"""Beside the child: a vehicle and a person, and a child whom the alert itself endangers, from the form to the second person."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.acceptance.conftest import Served
from tests.browser.desks import desk

pytestmark = [pytest.mark.peer, pytest.mark.shares, pytest.mark.asyncio(loop_scope="session")]


async def test_a_vehicle_is_named_and_its_plate_typed_again(
    served: Served, plain: Browser, ana: str, bea: str, alert: dict[str, Any]
):
    """Its author adds marks, a vehicle and a person to a draft; the approver cannot send it before the plate is typed as it stands."""
    alert_id = served.call("POST", "/v1/alerts", {**alert, "state": "draft"}, ana)[1]["id"]
    async with desk(plain, served.url, 400, 422) as author, desk(plain, served.url, 400) as approver:
        await author.sign_in(ana)
        await author.page.goto(f"{served.url}/console#/edit/{alert_id}")
        column = author.page.locator(".column", has=author.page.locator("[lang=en]"))
        await column.get_by_label("Distinguishing marks").fill("scar on the chin")
        await author.press("Add a vehicle")
        await author.fill("Plate", "1234 BCD")
        await author.fill("Country of the plate (ES)", "es")
        await author.fill("Appearance: English", "white van")
        await author.page.get_by_label("Legal basis, not published").fill("order of the judge")
        await author.press("Add a person")
        person = author.page.get_by_role("group", name="Person 1")
        await person.get_by_label("Sex").select_option("male")
        await person.get_by_label("Legal basis, not published").fill("order of the judge")
        await author.press("English")
        await expect(author.page.locator(".case-preview")).to_contain_text("white van, 1234 BCD (Spain)")
        await expect(author.page.locator(".case-preview")).not_to_contain_text("order of the judge")
        await author.check_readable()
        await author.press("3 Check and submit")
        await author.press("Submit for approval")
        await expect(author.page.locator(".alert-head .state")).to_have_text("Waiting for approval")
        await approver.sign_in(bea)
        await approver.page.goto(f"{served.url}/console#/alerts/{alert_id}")
        approve = approver.page.get_by_role("button", name="Approve and send")
        await expect(approve).to_be_disabled()
        await approver.fill("Type the plate of vehicle 1 again", "1234 BCE")
        await approve.click()
        await expect(approver.page.get_by_role("alert")).to_contain_text("These are not the plates of the case")
        await approver.fill("Type the plate of vehicle 1 again", "1234bcd")
        await approve.click()
        await expect(approver.page.locator(".told")).to_be_visible()
    case = served.call("GET", f"/v1/alerts/{alert_id}")[1]["alert"]["case"]
    assert case["children"][0]["marks"] == {"en": "scar on the chin"}
    assert [(one["plate"], one["country"], one["description"]) for one in case["vehicles"]] == [
        ("1234 BCD", "ES", {"en": "white van"})
    ]
    assert [one["sex"] for one in case["persons_sought"]] == ["male"]


async def test_of_a_child_under_protection_the_form_sends_the_least(
    served: Served, plain: Browser, ana: str, alert: dict[str, Any]
):
    """Whatever else is filled in, what people read is age and sex from the moment that a protection is ticked."""
    alert_id = served.call("POST", "/v1/alerts", {**alert, "state": "draft"}, ana)[1]["id"]
    async with desk(plain, served.url) as author:
        await author.sign_in(ana)
        await author.page.goto(f"{served.url}/console#/edit/{alert_id}")
        preview = author.page.locator(".case-preview")
        await expect(preview).to_contain_text("Lucía P.")
        await author.press("English")
        await author.page.get_by_label("Someone who reads it may harm the child").check()
        await expect(preview).to_contain_text("girl, 7 years old")
        await expect(preview).not_to_contain_text("Lucía P.")
        await expect(author.page.get_by_text("A protection officer must approve it.").first).to_be_visible()
