"""A photo through a real installation: handed in, approved, loaded by a phone, gone after the alert, and kept through a crash."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.conftest import Served
from tests.acceptance.photo_calls import hand_in, look
from tests.pictures import drawn, read, scan_bomb, written
from tests.unit.alertd.samples import changed

pytestmark = pytest.mark.shares

Make = Callable[..., Served]


def test_a_photo_is_seen_while_its_alert_is_told(served: Served, alert: dict[str, Any]):
    """By everyone, once a second person has approved; when the alert is cancelled it is gone, for everyone, within a second."""
    status, photo = hand_in(served, written(drawn(3000, 4000)))
    assert status == 201, photo
    assert look(served, photo["id"])[0] == 404
    alert_id = served.approved(changed(alert, "case/children/0/photos", [{"media": photo["id"]}]))
    status, data = look(served, photo["id"])
    assert status == 200
    assert read(data).size == (768, 1024)
    assert served.call("POST", f"/v1/alerts/{alert_id}/cancel", {"reason": "found"})[0] == 200
    served.wait_for(lambda: look(served, photo["id"])[0] == 410, seconds=5)
    assert look(served, photo["id"], served.key)[0] == 410


def test_a_photo_that_was_answered_survives_a_kill(installation: Make, alert: dict[str, Any]):
    """As an alert does."""
    served = installation(50)
    _, photo = hand_in(served, written(drawn()))
    draft = {**changed(alert, "case/children/0/photos", [{"media": photo["id"]}]), "state": "draft"}
    status, answer = served.call("POST", "/v1/alerts", draft, served.person("ana@centre.example"))
    assert status == 202, answer
    os.kill(served.process.pid, signal.SIGKILL)
    served.ended()
    served.start()
    assert look(served, photo["id"], served.key)[0] == 200
    assert look(served, photo["id"])[0] == 404


def test_bad_pictures_are_refused_and_nothing_else_suffers(served: Served):
    """A page named .jpg, and a picture that would take hours: meanwhile the service answers."""
    status, answer = hand_in(served, b"<!doctype html><html></html>", "lucia.jpg")
    assert (status, answer["type"], answer["errors"][0]["pointer"]) == (422, "/problems/photo-unreadable", "/photo")
    status, answer = hand_in(served, scan_bomb(2_000))
    assert (status, answer["type"]) == (422, "/problems/photo-unreadable")
    assert served.call("GET", "/v1/me")[0] == 200
    assert "Traceback" not in served.log.read_text()


def test_a_50_megapixel_photo_of_a_phone_is_taken(served: Served):
    """It is what phones make, and no danger."""
    status, answer = hand_in(served, written(drawn(8160, 6144), quality=70))
    assert (status, answer["width"]) == (201, 1600)
