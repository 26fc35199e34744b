"""What `alertd send` says of an alert that the service took."""

from __future__ import annotations

from typing import Any

from alertd.commands.alerts.review import remark_similar, waits
from alertd.commands.base.client import Client, UnreachableError
from alertd.commands.base.output import estimated, tell, tell_facts

REGIONS_TOLD = 10

ALERT = ("/v1/alerts", "application/json")
CAP = ("/v1/cap", "application/cap+xml")
WHOLE = 0.9995  # reads 100.0%


def is_xml(document: bytes) -> bool:
    """Whether these bytes begin as XML does, in UTF-8 or with the mark of UTF-16; JSON is never so."""
    begin = document[:1000].lstrip(b" \t\r\n\xef\xbb\xbf")  # a mark in the wrong place is for the API to explain
    return begin.startswith((b"<", b"\xff\xfe", b"\xfe\xff"))


def _regions(shares: list[dict[str, Any]]) -> list[str]:
    """What the area is made of; how much of it, where that is not all."""
    told = [
        f"{one['name']} ({one['code']})" + (f" {one['share']:.1%}" if one["share"] < WHOLE else "")
        for one in shares[:REGIONS_TOLD]
    ]
    return [*told, f"and {len(shares) - REGIONS_TOLD} more"] if len(shares) > REGIONS_TOLD else told


def tell_taken(taken: dict[str, Any], *, dry_run: bool) -> None:
    area, audience = taken["area"], taken["audience"]
    facts = {
        "alert": None if dry_run else taken["id"],
        "state": taken["state"],
        "people": estimated(audience["people"]),
        "addresses": audience["addresses"],
        "seconds needed": taken["eta"],
        "area": f"{area['km2']:,} km2",
        "regions": _regions(area["regions"]),
        "repaired": area["repairs"],
        "neighbours": waits(taken["permissions"]),
    }
    if update := taken.get("update"):
        facts |= {"told again": estimated(update["told_again"]), "newly inside": estimated(update["newly_inside"])}
    tell_facts(facts)
    remark_similar(taken)
    if dry_run:
        tell("Nothing was done: this was a dry run.")
    elif taken["state"] == "pending":
        tell(f"Another person must approve it: alertd alerts approve {taken['id']} --seen {taken['rev']}")


def submit_document(
    client: Client, document: bytes, query: dict[str, str] | None, idempotency_key: str
) -> tuple[Any, bool]:
    """Sends an alert, in JSON or CAP. Returns the answer, and whether the service had this alert before. Raises RefusedError."""
    path, content_type = CAP if is_xml(document) else ALERT
    try:
        return client.submit(path, document, query, idempotency_key=idempotency_key, content_type=content_type)
    except UnreachableError as error:
        hint = f"  If it was taken is not known. Sent again with --idempotency-key {idempotency_key} it is taken once."
        raise UnreachableError(f"{error}\n{hint}") from None
