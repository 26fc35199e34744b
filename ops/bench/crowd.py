"""Many small loud alerts during a large loud one: measures the time until the last message of each.

A small alert goes to fewer than about a hundred people in a town of the sample people; in a denser town its radius is smaller. All use
push, and all are approved together when sending of the large one has begun.
"""

from __future__ import annotations

import asyncio
from itertools import cycle, islice
from typing import Any

import numpy as np
from demo import Client, DemoError, alert

from alertd.runtime.sample_people import towns

SMALL = 200
RADII_KM = (3, 1.5, 0.8, 0.4, 0.2)
LOOK_EVERY_S = 0.1


def _document(name: str, circle: dict[str, Any]) -> dict[str, Any]:
    document = alert()
    of_case = {**document["case"], "number": name}
    return {**document, "external_id": name, "case": of_case, "channels": ["push"], "target": {"circles": [circle]}}


async def pending(ana: Client) -> list[str]:
    """Submits small alerts; they wait for their second person."""
    small = [circle for town in towns() if (circle := await _small(ana, [town[2], town[3]]))]
    if not small:
        raise DemoError("No town has few people enough.")
    documents = [_document(f"small-{i}", circle) for i, circle in enumerate(islice(cycle(small), SMALL))]
    return [(await ana.call("POST", "/v1/alerts", document))["id"] for document in documents]


async def _small(ana: Client, center: list[float]) -> dict[str, Any] | None:
    """Returns the widest circle around a town with an estimate of fewer than 100 people."""
    for radius_km in RADII_KM:
        circle = {"center": center, "radius_km": radius_km}
        try:
            audience = (await ana.call("POST", "/v1/alerts?dry_run=true", _document("small", circle)))["audience"]
        except DemoError:  # too few people live there
            return None
        if audience["people"] == "<100":
            return circle
    return None


async def told(bea: Client, small: list[str], big: str) -> dict[str, Any]:
    """Approves the small alerts when the large one has begun. Returns their durations by the store's clock."""
    while not (await bea.call("GET", f"/v1/alerts/{big}/progress"))["first_send_s"]:  # noqa: ASYNC110  another process
        await asyncio.sleep(LOOK_EVERY_S)
    await asyncio.gather(*(bea.call("POST", f"/v1/alerts/{one}/approve", {"rev": 1}) for one in small))
    ends = []
    for one in small:
        while (end := await bea.call("GET", f"/v1/alerts/{one}/progress"))["state"] != "sent":  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY_S)
        if end["first_send_s"] is not None:  # at least one person with the app lives there
            ends.append(end)
    under_way = (await bea.call("GET", f"/v1/alerts/{big}/progress"))["state"] == "sending"
    last = [end["last_send_s"] for end in ends]
    return {
        "small": len(ends),
        "small_people": sum(end["people"] for end in ends if isinstance(end["people"], int)),
        "small_first_send_p50_s": round(float(np.quantile([end["first_send_s"] for end in ends], 0.5)), 3),
        "small_first_send_max_s": max(end["first_send_s"] for end in ends),
        "small_last_send_p50_s": round(float(np.quantile(last, 0.5)), 3),
        "small_last_send_max_s": max(last),
        "big_outlasts_them": under_way,
    }
