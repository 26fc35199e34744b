"""The audit over a real store: what is in it, that it holds, and that nothing of it can be changed unseen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from alertd.service.container import Container
from alertd.service.records.audit import BEGUN, DONE, Noted
from alertd.store.engine import keys
from alertd.store.engine.connection import Connection
from tests.integration.acts import ANA, BEA, register, submitted

Fields = dict[bytes, bytes]


async def written(parts: Container, count: int = 6) -> None:
    """So many entries, half of them outcomes."""
    for _ in range(count // 2):
        number = await parts.audit.begin(ANA, "alert.create", "01ABC")
        await parts.audit.end(ANA, "alert.create", DONE, Noted(object="01ABC"), of=number)


async def rewritten(db: Connection, change: Callable[[int, Fields], Fields | None]) -> None:
    """The stream as somebody with their hands in the store would leave it; None takes an entry away."""
    name = keys.org_audit("default")
    found = await db.execute("XRANGE", name, "-", "+")
    await db.execute("DEL", name)
    for raw, flat in found:
        number = int(raw.partition(b"-")[0])
        fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        changed = change(number, dict(fields))
        if changed is not None:
            await db.execute("XADD", name, number, *(part for pair in changed.items() for part in pair))


async def test_entries_are_numbered_timed_and_hold(parts: Container):
    """In the order they were written, by the store's clock, which never goes back, from several writers at once."""
    numbers = await asyncio.gather(*(parts.audit.begin(ANA, "target.preview", f"{i}") for i in range(40)))
    parts.db.skew_ms = -3_600_000
    await parts.audit.begin(BEA, "alert.approve", "01ABC")
    page = await parts.audit.page("default", before=None, limit=100)
    assert [one.number for one in page] == list(range(41, 0, -1))
    assert [page[41 - number].object for number in numbers] == [f"{i}" for i in range(40)], "each has its own number"
    assert [one.at for one in page] == sorted((one.at for one in page), reverse=True)
    assert (page[0].act, page[0].outcome, page[0].by, page[0].object) == ("alert.approve", BEGUN, BEA.subject, "01ABC")
    verdict = await parts.audit.verify("default", None)
    assert (verdict.entries, verdict.head, verdict.broken) == (41, page[0].link, None)
    assert (await parts.audit.verify("nobody", None)).entries == 0


@pytest.mark.parametrize("field", [b"at", b"link", b"said"])
async def test_one_byte_changed_is_found(parts: Container, field: bytes):
    """Wherever it is, in the entry that has it."""
    await written(parts)

    def flip(number: int, fields: Fields) -> Fields:
        if number == 3:
            raw = bytearray(fields[field])
            raw[-1] ^= 1
            fields[field] = bytes(raw)
        return fields

    await rewritten(parts.db, flip)
    verdict = await parts.audit.verify("default", None)
    assert verdict.broken == 3, verdict


@pytest.mark.parametrize("taken", [1, 4, 6])
async def test_an_entry_taken_away_is_found(parts: Container, taken: int):
    """The first, one in the middle, and the last; what is written afterwards does not hide it."""
    await written(parts)
    await parts.db.execute("XDEL", keys.org_audit("default"), taken)
    assert (await parts.audit.verify("default", None)).broken == taken
    await written(parts)
    assert (await parts.audit.verify("default", None)).broken == taken


async def test_entries_that_change_places_are_found(parts: Container):
    """Each is bound to its number."""
    await written(parts)
    found: dict[int, Fields] = {}
    await rewritten(parts.db, found.setdefault)
    await rewritten(parts.db, lambda number, _: found[{2: 4, 4: 2}.get(number, number)])
    assert (await parts.audit.verify("default", None)).broken == 2


async def test_a_chain_cut_short_does_not_fit_what_was_noted(parts: Container):
    """Who rebuilds the whole stream can leave its end out, or write another; a link that was written down tells."""
    await written(parts)
    head = (await parts.audit.page("default", before=None, limit=1))[0]
    assert (await parts.audit.verify("default", (head.number, head.link))).broken is None
    await rewritten(parts.db, lambda number, fields: fields if number < 5 else None)
    assert (await parts.audit.verify("default", None)).broken is None
    assert (await parts.audit.verify("default", (head.number, head.link))).broken == 5
    await written(parts)
    assert (await parts.audit.verify("default", (head.number, head.link))).broken == 6


async def test_nobody_and_no_case_is_in_the_store_in_clear(parts: Container, sample: dict[str, Any]):
    """What an entry says is sealed; values of a case are names under its key, so that a purge leaves the chain whole."""
    await register(parts, 20)
    record = (await submitted(parts, sample)).record
    number = await parts.audit.begin(ANA, "alert.create", "")
    await parts.audit.end(ANA, "alert.create", DONE, Noted(record=record), of=number)
    raw = repr(await parts.db.execute("XRANGE", keys.org_audit("default"), "-", "+"))
    assert ANA.subject not in raw
    assert record.id not in raw
    entry = (await parts.audit.page("default", before=None, limit=1))[0]
    assert entry.case == await parts.alerts.of_case(
        record.case, {"case": record.case.encode(), "document": record.document}
    )
    assert entry.facts == {"state": "pending", "rev": 1, "people": "<100"}
    await parts.db.execute("DEL", keys.case(record.case))
    assert await parts.alerts.of_case(record.case, {"document": record.document}) == {}
    assert (await parts.audit.verify("default", None)).broken is None


async def test_what_does_not_open_is_shown_and_told(parts: Container):
    """An entry of another store's keys reads as an act without a name, and the chain names it."""
    await written(parts, 4)

    def foreign(number: int, fields: Fields) -> Fields:
        return {**fields, b"said": b"foreign"} if number == 3 else fields

    await rewritten(parts.db, foreign)
    assert (await parts.audit.page("default", before=3 + 1, limit=1))[0].act == ""
    assert (await parts.audit.verify("default", None)).broken == 3
