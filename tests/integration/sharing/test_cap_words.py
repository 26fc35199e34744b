"""What a CAP document says, whoever reads it out: nothing that is for one reader, and of a drill that it is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alertd.model.cap.messages import Info
from alertd.model.cap.reader import parse_message
from alertd.service.container import Container
from tests.integration.acts import register, submitted
from tests.unit.alertd.samples import GENERAL


async def told(parts: Container, document: dict[str, Any], **changes: Any) -> Info:
    """What it says in Spanish."""
    await register(parts, 20)
    record = (await submitted(parts, document, **changes)).record
    infos = parse_message(await parts.cap_out.document(await parts.alerts.get(record.id))).infos
    return next(one for one in infos if one.language == "es")


@pytest.mark.parametrize("status", ["Exercise", "Test"])
async def test_an_exercise_says_so_in_its_words(parts: Container, status: str):
    """A reader that shows headline and text, and no status, sends nobody out of a school."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    info = {"es": {"headline": "Evacúen el centro", "description": "Salgan ya."}}
    said = await told(parts, {**GENERAL, "expires": tomorrow}, status=status, info=info)
    mark = parts.renderer.words("es").words["mark"]["general"][status] + " – "
    assert (said.headline, said.description) == (f"{mark}Evacúen el centro", f"{mark}Salgan ya.")


async def test_of_a_child_it_says_what_a_mail_does_and_to_nobody(parts: Container, sample: dict[str, Any]):
    """Not why somebody got it, nor a link that is somebody's own."""
    said = await told(parts, sample)
    assert said.description is not None
    assert "Lucía P." in said.description
    for word in ("Recibe este mensaje", "Dejar de recibir", "/u/"):
        assert word not in said.description
