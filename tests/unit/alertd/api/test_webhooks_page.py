"""What the page for receivers says is true of what alertd sends."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from alertd.service.records.events import COUNTS, FACTS, NO_STATES, TYPES
from alertd.service.records.webhook_delivery import SPANS_S
from alertd.service.records.webhooks import signed
from alertd.store.sharing.webhooks import Hook

PAGE = (Path(__file__).parents[4] / "ops" / "docs" / "integrate" / "webhooks.md").read_text(encoding="utf-8")
OLD, NEW, OTHER = ("whsec_" + letter * 43 + "=" for letter in "AQg")


def is_genuine(*args: Any) -> bool:
    """The page's own."""
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found
    space: dict[str, Any] = {}
    exec(found[1], space)
    return bool(space["is_genuine"](*args))


def test_the_code_of_the_page_tells_ours_from_others():
    """By either secret while both sign; not another's, another body, or an old one."""
    now = int(time.time() * 1000)
    hook = Hook(
        id="wh_1", org="default", url="https://cases.example/", types=(), secrets=((NEW, 0), (OLD, now + 1000)), by="a", made=1
    )  # fmt: skip
    headers = signed(hook, b"{}", "evt_1", now)
    assert is_genuine(NEW, headers, b"{}")
    assert is_genuine(OLD, headers, b"{}")
    assert not is_genuine(OTHER, headers, b"{}")
    assert not is_genuine(NEW, headers, b"{ }")
    assert not is_genuine(NEW, {**headers, "webhook-id": "evt_2"}, b"{}")
    assert not is_genuine(NEW, signed(hook, b"{}", "evt_1", now - 400_000), b"{}")


def test_the_page_names_every_event_and_fact():
    """Of an alert's states, by their ends alone."""
    named = set(re.findall(r"`([a-z._]+)`", PAGE.split("## Requirements for your program")[0]))
    assert [one for one in TYPES if one not in named and one.removeprefix("alert") not in named] == []
    assert [fact for fact in FACTS if fact not in COUNTS and f"`{fact}`" not in PAGE and f'"{fact}"' not in PAGE] == []
    assert len(TYPES) > len(NO_STATES)


def test_the_page_tells_when_it_is_tried_again():
    """As long as it takes."""
    told = re.search(r"after ((?:\d+ \w+(?:, | and )?)+) at most", PAGE)
    assert told
    units = {"s": 1, "min": 60, "h": 3600}
    assert [int(n) * units[unit] for n, unit in re.findall(r"(\d+) (\w+)", told[1])] == list(SPANS_S)
