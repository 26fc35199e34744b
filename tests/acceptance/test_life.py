"""What is changed while an alert is told, through a real installation."""

from __future__ import annotations

from typing import Any

from tests.acceptance.conftest import Served
from tests.acceptance.test_cap import published
from tests.acceptance.test_media import hand_in, look
from tests.pictures import drawn, written
from tests.unit.alertd.samples import changed


def test_a_restricted_alert_tells_nothing_of_the_child(served: Served, alert: dict[str, Any], ana: str):
    """The told hear once more, at the address of now; photo, API and CAP have nothing any more; saying it again changes nothing."""
    photo = hand_in(served, written(drawn()))[1]["id"]
    document = changed(alert, "case/children/0/photos", [{"media": photo}])
    alert_id = served.approved({**document, "channels": ["push"], "target": {"regions": ["41091"]}})
    path = f"/v1/alerts/{alert_id}"
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    assert look(served, photo)[0] == 200
    told = served.total("push")
    status, answer = served.call("POST", f"{path}/restrict", {"reason": "Her identity is protected"}, ana)
    assert (status, answer["state"], answer["restricted"], answer["told_by"]) == (200, "sent", True, f"{alert_id}-2")
    assert look(served, photo)[0] == look(served, photo, ana)[0] == 410
    shown = served.call("GET", path, key=ana)[1]
    assert shown["alert"]["case"]["children"][0]["name"] is None
    assert "Luc" not in str(shown)
    assert "Luc" not in str(published(served, alert_id, ana))
    served.wait_for(lambda: served.progress(f"{alert_id}-2")["state"] == "sent")
    assert served.total("push") == 2 * told
    assert served.call("POST", f"{path}/restrict", {"reason": "again"}, ana)[1]["told_by"] == f"{alert_id}-2"
    assert served.call("POST", f"{path}/restrict", {}, ana)[0] == 400
    entry = next(
        one for one in served.call("GET", "/v1/audit?limit=12")[1]["entries"] if one["act"] == "alert.restrict"
    )
    assert entry["object"] == alert_id
    assert served.call("POST", f"{path}/close", {"outcome": "x"}, ana)[0] == 200
