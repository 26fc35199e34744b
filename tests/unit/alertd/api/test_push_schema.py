"""The published schema of push payloads and the code that makes them say the same, for every occasion."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from alertd.api.people.receipts import SCHEMAS
from alertd.common.ids import SigningKeys, Tags, TokenPurpose
from alertd.model.alert import Status
from alertd.model.kinds import CancelReason, Kind, Occasion
from alertd.rendering import Renderer, Telling
from alertd.service.messages.message_builder import stamp_of
from channels.base import Loudness, PushMessage
from channels.fcm import SOUNDS, body_for, encode
from channels.push_content import SCHEMA
from tests.unit.alertd.rendering.usual import AT, SAMPLES, URL, alert_of

CHAIN = "01M885E6PQYDF6FR2R1P9138GR"
PUBLISHED = json.loads((SCHEMAS / f"push-{SCHEMA}.json").read_text(encoding="utf-8"))
TOKEN = "dQw4w9WgXcQ0123456789:APA91b"


def telling_of(occasion: Occasion) -> Telling:
    reason = CancelReason.WITHDRAWN if occasion is Occasion.CANCEL else None
    return Telling(occasion=occasion, reason=reason, alerted_at=AT)


def sent(
    renderer: Renderer, kind: Kind, occasion: Occasion, status: str, version: str, url: str | None
) -> dict[str, Any]:
    """What FCM is sent for one reference."""
    alert = alert_of(SAMPLES[kind]["longest"], status=status)
    stamp = stamp_of(alert, version, "es", sent_ms=1_795_570_474_334)
    message = renderer.render(
        alert, channel="push", language="es", stamp=stamp, url=url, telling=telling_of(occasion)
    )  # fmt: skip
    assert isinstance(message, PushMessage)
    tag = Tags(SigningKeys(b"k" * 32)).make(version, 2**29 - 1, TokenPurpose.ACK)
    return dict(json.loads(body_for(encode(message).at(0), TOKEN, tag))["message"])


def test_every_payload_is_as_published(renderer: Renderer):
    """For each kind, occasion, status, version and link: the schema takes it, knows each of its fields, and every field occurs."""
    Draft202012Validator.check_schema(PUBLISHED)
    strict = Draft202012Validator({**PUBLISHED, "additionalProperties": False})
    occurred: dict[str, set[str]] = {}
    for kind, occasion, status, version, url in itertools.product(
        Kind, Occasion, Status, (CHAIN, f"{CHAIN}-2", f"{CHAIN}-12"), (None, URL)
    ):
        data = sent(renderer, kind, occasion, status.value, version, url)["data"]
        assert not list(strict.iter_errors(data)), data
        assert (data["kind"], data["occasion"], data["status"]) == (kind, occasion, status)
        assert (data["chain"], data["sequence"]) == (CHAIN, version[27:] or "1")
        for name, value in data.items():
            occurred.setdefault(name, set()).add(value)
    assert set(occurred) == set(PUBLISHED["properties"])
    for name in ("kind", "occasion", "status"):
        assert set(PUBLISHED["properties"][name]["enum"]) == occurred[name]


def test_loudness_is_the_apps_notification_channel():
    """The published words are those that there are, and the channels of the app are named after them."""
    words = PUBLISHED["properties"]["loudness"]["enum"]
    assert words == [loudness.value for loudness in Loudness]
    assert [SOUNDS[Loudness(word)].channel_id for word in words] == [f"alert-{word}" for word in words]


def test_a_payload_that_is_not_ours_is_refused(renderer: Renderer):
    """The schema is no mere list of names: each field that is missing or of another form fails."""
    data = sent(renderer, Kind.GENERAL, Occasion.ALERT, "Actual", CHAIN, None)["data"]
    validator = Draft202012Validator(PUBLISHED)
    assert validator.is_valid({**data, "a-field-of-later": "x"})
    for name in PUBLISHED["required"]:
        assert not validator.is_valid({key: value for key, value in data.items() if key != name}), name
        assert not validator.is_valid({**data, name: ""}), name
        assert not validator.is_valid({**data, name: 1}), name


def test_the_guide_for_apps_names_every_field():
    """What is written for the makers of apps and the schema speak of the same fields."""
    guide = (Path(__file__).parents[4] / "ops" / "docs" / "integrate" / "apps.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)`", guide, re.MULTILINE))
    assert named == set(PUBLISHED["properties"])
