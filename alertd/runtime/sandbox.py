"""`alertd serve --sandbox`: local carriers in a process of their own, and sample people."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import islice

import structlog

from alertd.config.settings import Settings
from alertd.model.registration import Registration
from alertd.runtime.processes import appeared, kept_running
from alertd.runtime.sample_people import Person, people
from alertd.service.container import Container
from alertd.service.people.registration_intake import Entry
from channels.lanes import raise_if_cancelled

SAMPLE_BATCH = 1_000


@asynccontextmanager
async def sandbox_of(settings: Settings, environment: Mapping[str, str]) -> AsyncIterator[dict[str, object]]:
    """Runs the sandbox in a child process until the end of the block. Yields the carriers' settings that connect to it."""
    directory = settings.store.directory.resolve() / "sandbox"
    directory.mkdir(parents=True, exist_ok=True)
    ready = directory / "sandbox.json"
    ready.unlink(missing_ok=True)
    async with kept_running(["sandbox", "--quiet", "--directory", str(directory)], [environment]):
        await appeared(ready)
        yield sandbox_carriers(json.loads(await asyncio.to_thread(ready.read_text, encoding="utf-8")))


def sandbox_carriers(ends: dict[str, dict[str, object]]) -> dict[str, object]:
    """Returns the carriers' settings that connect to the sandbox, by carrier name. `ends`: the endpoints in `sandbox.json`."""
    push, sms, mail = ends["push"], ends["sms"], ends["mail"]
    return {
        "sandbox-push": {
            "kind": "fcm", "rate": 0, "ramp_s": 0,  # it has no quota
            "connections": 64,  # messages under way at once, all on one: it answers at once
            **{name: push[name] for name in ("credentials", "endpoint", "ca_file")},
        },
        "sandbox-webpush": {"kind": "webpush", "connections": 64, **ends["webpush"]},
        "sandbox-sms": {
            "kind": "twilio", "password": sms["secret"],
            **{name: sms[name] for name in ("account", "sender", "endpoint", "ca_file")},
        },
        "sandbox-mail": {
            "kind": "smtp", "sender": "Alerts <alerts@alertd.example>",
            **{name: mail[name] for name in ("host", "port", "ca_file")},
        },
    }  # fmt: skip


async def load_sample_people(parts: Container, count: int) -> None:
    """Registers the first `count` sample people, unless the store has as many people already."""
    have = await parts.people.count()
    if not have:
        await parts.place_labels.bring_up()  # so that all labels come from this library
    left = people(count if have < count else 0)
    loaded = 0
    while batch := [_entry(person) for person in islice(left, SAMPLE_BATCH)]:
        await parts.registry.put_many(batch)
        raise_if_cancelled()
        if loaded % (10 * SAMPLE_BATCH) == 0:
            structlog.get_logger().info("sample_people.load_advanced", loaded=loaded, of=count)
        loaded += len(batch)


def _entry(person: Person) -> Entry:
    """Returns the registration of a sample person."""
    return Entry(person.id, Registration.model_validate_json(json.dumps(person.document())))
