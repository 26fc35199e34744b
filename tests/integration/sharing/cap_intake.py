"""CAP messages as neighbours send them."""

from __future__ import annotations

import re
from datetime import timedelta

from alertd.model.cap.reader import parse_message
from alertd.model.cap.values import reference_text
from alertd.service.container import Container
from alertd.store.alerts.records import AlertRecord
from tests.integration.acts import ANA, BEA
from tests.unit.alertd.model.cap_documents import SENT, named


def after(document: str, *earlier: str) -> str:
    """The document as one that names earlier ones."""
    references = " ".join(reference_text(parse_message(one.encode()).reference) for one in earlier)
    return re.sub("<references>.*</references>", f"<references>{references}</references>", document)


def update(identifier: str, *earlier: str, minutes: int = 0) -> str:
    """An Update in words of its own, sent so many minutes after the first of all."""
    document = named(identifier).replace(">Alert<", ">Update<").replace("No beba agua del grifo", identifier)
    sent = (SENT + timedelta(minutes=minutes)).isoformat()
    return after(document, *earlier).replace(f"<sent>{SENT.isoformat()}<", f"<sent>{sent}<")


async def taken(parts: Container, document: str) -> AlertRecord:
    """What becomes of a document of Ana's."""
    return (await parts.cap_intake.take(document.encode(), ANA))[0].record


async def told(parts: Container, *documents: str) -> list[AlertRecord]:
    """Each of them, approved by Bea as it came."""
    return [await parts.approval.approve((await taken(parts, one)).id, BEA) for one in documents]
