"""What is changed while an alert is told, through a real installation."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.acceptance.conftest import Served
from tests.acceptance.test_cap import published
from tests.acceptance.test_media import hand_in, look
from tests.pictures import drawn, written
from tests.unit.alertd.samples import changed


def test_a_restricted_alert_tells_nothing_of_the_child(served: Served, alert: dict[str, Any], ana: str):
    """The told hear once more, at the address of now; photo, API and CAP have nothing any more; saying it again changes nothing."""
    before = served.total("push")
    photo = hand_in(served, written(drawn()))[1]["id"]
    document = changed(alert, "case/children/0/photos", [{"media": photo}])
    alert_id = served.approved({**document, "channels": ["push"], "target": {"regions": ["41091"]}})
    path = f"/v1/alerts/{alert_id}"
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    assert look(served, photo)[0] == 200
    told = served.total("push") - before
    status, answer = served.call("POST", f"{path}/restrict", {"reason": "Her identity is protected"}, ana)
    assert (status, answer["state"], answer["restricted"], answer["told_by"]) == (200, "sent", True, f"{alert_id}-2")
    assert look(served, photo)[0] == look(served, photo, ana)[0] == 410
    shown = served.call("GET", path, key=ana)[1]
    assert shown["alert"]["case"]["children"][0]["name"] is None
    assert "Luc" not in str(shown)
    assert "Luc" not in str(published(served, alert_id, ana))
    served.wait_for(lambda: served.progress(f"{alert_id}-2")["state"] == "sent")
    assert served.total("push") == before + 2 * told
    assert served.call("POST", f"{path}/restrict", {"reason": "again"}, ana)[1]["told_by"] == f"{alert_id}-2"
    assert served.call("POST", f"{path}/restrict", {}, ana)[0] == 400
    entry = next(
        one for one in served.call("GET", "/v1/audit?limit=12")[1]["entries"] if one["act"] == "alert.restrict"
    )
    assert entry["object"] == alert_id
    assert served.call("POST", f"{path}/close", {"outcome": "x"}, ana)[0] == 200
    served.wait_for(lambda: served.progress(f"{alert_id}-3")["state"] == "sent")


def test_an_alert_is_extended_and_nobody_hears_of_it(served: Served, alert: dict[str, Any], ana: str, bea: str):
    """By the second person; its author is refused, and so is an end that is none."""
    before = served.total("push")
    alert_id = served.approved({**alert, "channels": ["push"], "target": {"regions": ["41091"]}})
    path = f"/v1/alerts/{alert_id}"
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    told = served.total("push") - before
    ends = datetime.fromisoformat(served.call("GET", path)[1]["expires"]) + timedelta(hours=5)
    body = {"expires": ends.isoformat(), "reason": "Still missing"}
    status, problem = served.call("POST", f"{path}/extend", body, ana)
    assert (status, problem["type"]) == (403, "/problems/same-person")
    status, answer = served.call("POST", f"{path}/extend", body, bea)
    assert (status, answer["state"], datetime.fromisoformat(answer["expires"])) == (200, "sent", ends)
    assert published(served, alert_id, ana).infos[0].expires == ends.replace(microsecond=0)
    status, problem = served.call("POST", f"{path}/extend", {"expires": "2020-01-01T00:00:00Z", "reason": "x"}, bea)
    assert (status, problem["errors"][0]["pointer"]) == (400, "/expires")
    assert served.call("POST", f"{path}/extend", {"expires": "tomorrow", "reason": "x"}, bea)[0] == 400
    assert served.call("POST", f"{path}/close", {"outcome": "x"}, ana)[0] == 200
    served.wait_for(lambda: served.progress(f"{alert_id}-2")["state"] == "sent")
    assert served.total("push") == before + 2 * told
