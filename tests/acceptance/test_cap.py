"""CAP as programs meet it: a document in becomes an alert that waits for its second person, a Cancel ends exactly what it names, and
what comes out is valid, and tells nothing once the alert is over.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from alertd.model.cap.messages import Message, MsgType, Status
from alertd.model.cap.reader import parse_message
from tests.acceptance.asking import asked, pointers
from tests.acceptance.cap_calls import CAP, post, published
from tests.acceptance.conftest import Served
from tests.unit.alertd.model.cap_documents import CANCEL, SENT, WHOLE, named


def test_an_alert_comes_in_is_approved_goes_out_and_is_cancelled(served: Served, ana: str, bea: str):
    """A CAP alert waits for another person, is told to those inside, reads in CAP as it came, is updated by an Update that names it and
    waits as it did, and ends by a Cancel that names it: then those who were told are told that it is cancelled.
    """
    document = named("water-1")
    status, taken = post(served, document, ana)
    assert (status, taken["state"]) == (202, "pending")
    assert taken["audience"]["people"] > 1000
    assert [region["code"] for region in taken["area"]["regions"]][:1] == ["ES"]
    draft = published(served, taken["id"], ana)
    assert (draft.status, draft.msg_type) == (Status.DRAFT, MsgType.ALERT)
    assert served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, ana)[1]["type"] == "/problems/same-person"
    assert served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, bea)[0] == 200
    came, told = parse_message(document.encode()), published(served, taken["id"], bea)
    assert (told.status, told.identifier) == (Status.ACTUAL, taken["id"])
    for name in ("headline", "instruction", "urgency", "severity", "certainty", "event", "expires", "sender_name"):
        assert getattr(told.infos[0], name) == getattr(came.infos[0], name)
    assert told.infos[0].description == f"{came.infos[0].description}\n900 000 000\nhttps://agua.example/7"
    served.wait_for(lambda: served.call("GET", f"/v1/alerts/{taken['id']}", key=bea)[1]["state"] == "sent")
    told_first = served.recorded("push")
    assert len(told_first) > 1000

    told = _updated_by_cap(served, document, taken["id"], told, ana, bea)

    status, over = post(served, named("water-1", CANCEL), bea)
    assert (status, over["id"], over["state"]) == (202, taken["id"], "cancelled")
    assert post(served, named("water-1", CANCEL), bea)[1]["id"] == taken["id"]
    served.wait_for(lambda: served.progress(f"{taken['id']}-3")["state"] == "sent")
    told_again = served.recorded("push")
    missed = [address for address, times in told_first.items() if told_again[address] != times + 2]
    assert not missed, f"{len(missed)} of {len(told_first)}"
    last = published(served, taken["id"], ana)
    assert (last.msg_type, last.infos, last.references[-1]) == (MsgType.CANCEL, (), told.reference)
    assert last.identifier != told.identifier
    assert asked(served, "GET", f"/v1/alerts/{taken['id']}-2.cap", None, ana)[0] == 404


def _updated_by_cap(served: Served, document: str, alert_id: str, told: Message, ana: str, bea: str) -> Message:
    """Longer, and in other words; what CAP says of the alert then."""
    old = document[document.index("<references>") : document.index("</references>")]
    update = document.replace(old, f"<references>agua@ciudad.example,water-1,{SENT.isoformat()}")
    update = update.replace("<identifier>water-1<", "<identifier>water-1-more<").replace(">Alert<", ">Update<")
    update = update.replace(told.infos[0].headline or "", "Sigue el corte")
    assert post(served, update.replace("<sender>agua", "<sender>luz"), ana)[0] == 404
    status, taken = post(served, update, ana)
    assert (status, taken["id"], taken["state"]) == (202, f"{alert_id}-2", "pending"), taken
    assert post(served, update, ana)[1]["id"] == taken["id"]
    assert served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, ana)[1]["type"] == "/problems/same-person"
    assert served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, bea)[0] == 200
    served.wait_for(lambda: served.progress(taken["id"])["state"] == "sent")
    now = published(served, alert_id, bea)
    assert (now.msg_type, now.references, now.infos[0].headline) == (
        MsgType.UPDATE,
        (told.reference,),
        "Sigue el corte",
    )
    return now


def test_a_cancel_that_is_not_plain_cancels_nothing(served: Served, ana: str):
    """A Cancel of what is not here, of another sender's or of another status is refused, and one of a pending alert rejects it."""
    _, taken = post(served, named("water-2"), ana)
    cancel = named("water-2", CANCEL)
    other = " agua@ciudad.example,water-9," + SENT.isoformat()
    for broken, pointer in (
        (cancel.replace("<sender>agua", "<sender>luz"), "/sender"),
        (cancel.replace(">Actual<", ">Test<"), "/status"),
        (cancel.replace(SENT.isoformat() + "</ref", (SENT - timedelta(1)).isoformat() + "</ref"), "/references"),
    ):
        status, answer = post(served, broken, ana)
        assert (status, pointers(answer)) == (404, [pointer])
        assert answer["errors"][0]["line"] > 1
    assert served.call("GET", f"/v1/alerts/{taken['id']}", key=ana)[1]["state"] == "pending"
    assert post(served, cancel, ana, "/v1/cap?dry_run=true")[1]["state"] == "pending"
    ended = post(served, cancel.replace("</references>", f"{other}</references>"), ana)[1]
    assert (ended["state"], ended["unknown_references"]) == ("rejected", [other.strip().replace("+00:00", "-00:00")])


def test_the_same_document_twice_is_one_alert(served: Served, ana: str, bea: str):
    """A feed that is read twice, or by two systems, notifies nobody twice: each is answered with the first, with its own key and by another."""
    document = named("water-3").encode()
    key = uuid.uuid4().hex
    cap = {"Content-Type": CAP}
    first = asked(served, "POST", "/v1/cap", document, ana, **cap, **{"Idempotency-Key": key})
    again = asked(served, "POST", "/v1/cap", document, ana, **cap, **{"Idempotency-Key": key})
    assert (first[0], again[0], first[1]["id"], again[2]["Idempotent-Replayed"]) == (202, 202, again[1]["id"], "true")
    assert first[2]["Idempotent-Replayed"] is None
    for by in (ana, bea):
        headers = {**cap, "Idempotency-Key": uuid.uuid4().hex}
        for _ in range(2):  # its own repetition is answered with the first, too
            status, answer, told = asked(served, "POST", "/v1/cap", document, by, **headers)
            assert (status, answer, told["Idempotent-Replayed"]) == (200, first[1], "true")


def test_a_child_is_sought_by_cap_only_with_its_case(served: Served, ana: str, alert: dict[str, Any]):
    """A child-abduction event is never told without a verified case; with one it waits as any other, and in CAP no more is told than
    in a mail.
    """
    document = named("child-1").replace("<value>CEM</value>", "<value>CAE</value>")
    status, answer = post(served, document, ana)
    assert (status, answer["type"]) == (400, "/problems/invalid-request")
    assert "alertd:case" in json.dumps(answer["errors"])
    assert all(error["line"] > 1 for error in answer["errors"])

    def with_case(case: Any) -> str:
        text = escape(json.dumps(case))
        parameter = f"<parameter><valueName>alertd:case</valueName><value>{text}</value></parameter>"
        return document.replace("<parameter>", f"{parameter}<parameter>", 1)

    status, answer = post(served, with_case({**alert["case"], "verification": None}), ana)
    assert (status, answer["type"]) == (422, "/problems/case-not-verified")
    status, taken = post(served, with_case(alert["case"]), ana)
    assert (status, taken["state"]) == (202, "pending")
    shown = served.call("GET", f"/v1/alerts/{taken['id']}", key=ana)[1]
    assert (shown["kind"], shown["level"]) == ("missing-child", "child-alert")
    told = published(served, taken["id"], ana)
    assert {"es-ES", "en-US"} <= {info.language for info in told.infos}
    assert "Lucía" in (told.infos[0].headline or "")
    assert alert["case"]["number"] not in repr(told)
    assert alert["case"]["verification"]["reference"] not in repr(told)


def test_profiles_say_what_they_lack_and_give_what_they_want(served: Served, ana: str):
    """A gateway's profile is given where the alert is for its country, and else refused with the reason."""
    _, taken = post(served, named("water-4"), ana)
    for profile in ("ipaws", "cap-cp"):
        status, answer, _ = asked(served, "GET", f"/v1/alerts/{taken['id']}.cap?profile={profile}", None, ana)
        assert (status, answer["type"]) == (422, "/problems/message-impossible")
    assert asked(served, "GET", f"/v1/alerts/{taken['id']}.cap?profile=eas", None, ana)[0] == 400
    county = named("water-5", status="Test").replace("<value>ES</value>", "<value>US-CA</value>")
    county = county.replace("ISO 3166-1", "ISO 3166-2").replace("es-ES", "es-US")
    status, taken = post(served, county, ana)
    assert status == 202
    request = urllib.request.Request(
        f"{served.url}/v1/alerts/{taken['id']}.cap?profile=ipaws", headers={"Authorization": f"Bearer {ana}"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        info = parse_message(response.read()).infos[0]
    assert info.event_codes[0].value == "CEM"
    assert ("SAME", "006000") in {(code.name, code.value) for code in info.areas[0].geocodes}


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        ("<msgType>Alert", "<msgType>Update", "/references"),
        ("<msgType>Alert", "<msgType>Ack", "/msgType"),
        ("<msgType>Alert", "<msgType>Alarm", "/msgType"),
        (">Actual<", ">Draft<", "/status"),
        (">Public<", ">Restricted<", "/scope"),
        ("<category>Health</category>\n    <event>Water", "<language>es-es</language><category>Health</category>\n    <event>Water", "/info/1"),
        ("<areaDesc>Seville</areaDesc>", "<areaDesc>Seville</areaDesc><circle>1,1 1</circle>", "/info/1/area/0"),
        ("<value>ES</value>", "<value>QQ</value>", "/info/0/area/0/geocode/0"),
        ("<valueName>ISO 3166-1<", "<valueName>UGC<", "/info/0/area/0/geocode/0"),
        ("<headline>", "<headline>" + "x" * 161, "/info/0/headline"),
        ("<description>Hay", "<!--", None),
    ],
)  # fmt: skip
def test_what_no_alert_can_be_made_of_is_refused(served: Served, ana: str, old: str, new: str, pointer: str | None):
    """Nothing of a CAP document is left out to make it fit: it is refused, with the place and its line."""
    document = named(f"refused-{uuid.uuid4().hex}")
    assert old in document
    status, answer = post(served, document.replace(old, new, 1), ana)
    assert 400 <= status < 500
    assert pointer is None or pointers(answer) == [pointer]
    assert answer["errors"][0]["line"] > 1


def test_what_takes_effect_tomorrow_is_not_told_today(served: Served, ana: str, bea: str):
    """It waits as an alert with `starts` does; what would end before it takes effect is refused, with the line."""
    tomorrow = (SENT + timedelta(hours=6)).isoformat()
    document = named("water-8").replace("2026-11-25T08:05:00+01:00", tomorrow)
    taken = post(served, document, ana)[1]
    assert served.call("POST", f"/v1/alerts/{taken['id']}/approve", {}, bea)[0] == 200
    shown = served.call("GET", f"/v1/alerts/{taken['id']}", key=bea)[1]
    assert shown["state"] == "scheduled"
    assert datetime.fromisoformat(shown["starts"]) == SENT + timedelta(hours=6)
    late = named("water-9").replace("2026-11-25T08:05:00+01:00", (SENT + timedelta(hours=13)).isoformat())
    status, answer = post(served, late, ana)
    assert 400 <= status < 500
    assert pointers(answer) == ["/info/0/effective"]
    assert answer["errors"][0]["line"] > 1


def ring_text(lon: float, lat: float, count: int, *, start: int = 0) -> str:
    """A polygon of so many positions round a point, as CAP has it, that begins at any of them."""
    turns = [2 * math.pi * (start + i) / count for i in range(count)]
    at = [f"{lat + 0.1 * math.sin(turn):.6f},{lon + 0.1 * math.cos(turn):.6f}" for turn in turns]
    return f"<polygon>{' '.join([*at, at[0]])}</polygon>"


def test_a_document_of_2_mb_and_100_000_positions_is_taken(served: Served, ana: str):
    """The area of the largest target comes through whole, and others are served meanwhile."""
    rings = "".join(ring_text(-6 + i / 2, 38.5, 9_999) for i in range(10))
    document = named("large-1").replace("<geocode>", f"{rings}<geocode>")
    assert 1_900_000 < len(document) < 2_100_000
    with ThreadPoolExecutor(1) as pool:
        posted = pool.submit(post, served, document, ana)
        while not posted.done():
            with urllib.request.urlopen(f"{served.url}/healthz", timeout=60) as answer:
                assert answer.status == 200
    status, taken = posted.result()
    assert (status, taken["state"]) == (202, "pending"), taken
    assert taken["area"]["km2"] == pytest.approx(10 * 303, rel=0.02)


def test_an_alert_that_repeats_its_area_in_every_language_is_one_alert(served: Served, ana: str):
    """25 polygons in nine infos, begun anywhere, and a code beside those of the first alone, as civil protection in Germany sends it."""
    document = named("languages-1")
    start, end = document.index("  <info>"), document.rindex("  </info>") + len("  </info>\n")
    info = document[start : document.index("  </info>") + len("  </info>\n")]
    infos = []
    for n, language in enumerate(("de", "en", "fr", "es", "it", "pl", "tr", "uk", "ar")):
        rings = "".join(ring_text(-6 + i / 4, 38.5, 40, start=7 * n) for i in range(25))
        own = re.sub("<geocode>.*</geocode>", rings + (r"\g<0>" if n == 0 else ""), info)
        infos.append(own.replace("es-ES", language))
    assert infos[0].count("<geocode>") == 1
    status, taken = post(served, document[:start] + "".join(infos) + document[end:], ana)
    assert (status, taken["state"]) == (202, "pending"), taken
    assert len(published(served, taken["id"], ana).infos) == 9


def test_hostile_documents_are_answered(served: Served, ana: str):
    """Entities, floods and what is no XML at all get their answer, and the service goes on."""
    for body, expected in (
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', 400),
        (b"<a>" * 100_000, 400),
        (b"", 400),
        (b"<" + b" " * 5_000_000, 400),
        (b" " * 50_000_000, 413),
    ):
        try:
            status, answer = post(served, body, ana)
        except OSError:  # it was hung up on while it was still sending
            assert expected == 413
            continue
        assert (status, "passwd" in json.dumps(answer)) == (expected, False)
    assert post(served, WHOLE, ana, **{"Content-Type": "application/json"})[0] == 415


def test_the_command_sends_cap(served: Served, ana: str, tmp_path: Path):
    """`alertd send FILE` knows CAP by its first bytes, and tells faults with their lines."""
    file = tmp_path / "alert.cap"
    file.write_text(named("water-6"))
    environment = {"ALERTD_URL": served.url, "ALERTD_KEY": ana, "PATH": "/usr/bin:/bin"}
    send = [sys.executable, "-m", "alertd", "send", str(file), "--json"]
    done = subprocess.run(send, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "pending"
    file.write_text(named("water-7").replace(">Immediate<", ">Soon<"))
    done = subprocess.run(send, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "/info/0/urgency" in done.stderr
