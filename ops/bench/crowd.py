"""Many small loud alerts at once while a loud one to many people runs: how long each waits for its last hand-over.

A small one is to at most a hundred people around one of the sample people's towns. All are by push and approved at once, when
the big one has begun to be sent.
"""

from __future__ import annotations

import asyncio
from itertools import cycle, islice
from typing import Any

import numpy as np
from demo import Client, DemoError, alert

from alertd.samples import towns

SMALL = 200
MOST_PEOPLE = 100
RADIUS_KM = 3
LOOK_EVERY_S = 0.1


def _document(name: str, town: tuple[str, str, float, float, int]) -> dict[str, Any]:
    document = alert()
    circle = {"center": [town[2], town[3]], "radius_km": RADIUS_KM}
    of_case = {**document["case"], "number": name}
    return {**document, "external_id": name, "case": of_case, "channels": ["push"], "target": {"circles": [circle]}}


async def pending(ana: Client) -> list[str]:
    """Small alerts that wait for their second person."""
    small = [town for town in towns() if await _is_small(ana, town)]
    if not small:
        raise DemoError("No town has few people enough.")
    documents = [_document(f"small-{i}", town) for i, town in enumerate(islice(cycle(small), SMALL))]
    return [(await ana.call("POST", "/v1/alerts", document))["id"] for document in documents]


async def _is_small(ana: Client, town: tuple[str, str, float, float, int]) -> bool:
    try:
        audience = (await ana.call("POST", "/v1/alerts?dry_run=true", _document("small", town)))["audience"]
    except DemoError:  # nobody, or too few, live there
        return False
    return isinstance(audience["people"], int) and audience["people"] <= MOST_PEOPLE


async def told(bea: Client, small: list[str], big: str) -> dict[str, Any]:
    """Approve the small ones when the big one has begun; answers how long they took, by the store's clock."""
    while not (await bea.call("GET", f"/v1/alerts/{big}/progress"))["first_send_s"]:  # noqa: ASYNC110  another process
        await asyncio.sleep(LOOK_EVERY_S)
    await asyncio.gather(*(bea.call("POST", f"/v1/alerts/{one}/approve", {}) for one in small))
    ends = []
    for one in small:
        while (end := await bea.call("GET", f"/v1/alerts/{one}/progress"))["state"] != "sent":  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY_S)
        ends.append(end)
    under_way = (await bea.call("GET", f"/v1/alerts/{big}/progress"))["state"] == "sending"
    last = [end["last_send_s"] for end in ends]
    return {
        "small": len(ends),
        "small_people": sum(end["people"] for end in ends),
        "small_first_send_p50_s": round(float(np.quantile([end["first_send_s"] for end in ends], 0.5)), 3),
        "small_first_send_max_s": max(end["first_send_s"] for end in ends),
        "small_last_send_p50_s": round(float(np.quantile(last, 0.5)), 3),
        "small_last_send_max_s": max(last),
        "big_outlasts_them": under_way,
    }
