"""The log: never a person, whoever writes it."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from alertd.common.log_events import EVENTS
from alertd.common.logs import OneLine, Throttle, add_message

NUMBER = "+34600111222"


async def test_a_task_that_nobody_waited_for_tells_no_person(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio puts the exception's text into its own words; of that only what happened and where is told."""

    async def fail() -> None:
        raise ValueError(f"no such number: {NUMBER}")

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    (record,) = caplog.records
    line = OneLine().format(record)
    assert NUMBER not in line
    told = json.loads(line)
    assert (told["event"], told["message"]) == ("library.logged", "Task exception was never retrieved")
    assert told["error"] == "ValueError"
    assert told["places"][-1].endswith(" fail")


async def test_a_callback_that_fails_tells_nothing_that_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    """In debug mode, and with Python before 3.12, asyncio tells a callback's arguments."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.call_soon(int, f"tel:{NUMBER}")
    while not caplog.records:  # noqa: ASYNC110  the loop's own next round
        await asyncio.sleep(0)
    loop.set_debug(False)
    (record,) = caplog.records
    line = OneLine().format(record)
    assert NUMBER not in line
    assert json.loads(line)["message"] == "Exception in callback int"


def test_a_channels_event_has_its_sentence_and_its_members() -> None:
    """Which server it is, for one, and nothing else of the record."""
    record = logging.getLogger("channels.server_pauses").makeRecord(
        "channels.server_pauses", logging.WARNING, "", 0, "server.paused", (), None,
        extra={"server": "https://push.example", "seconds": 4},
    )  # fmt: skip
    line = json.loads(OneLine().format(record))
    del line["at"]
    assert line == {
        "event": "server.paused", "message": EVENTS["server.paused"], "server": "https://push.example", "seconds": 4,
        "logger": "channels.server_pauses", "level": "warning",
    }  # fmt: skip


def test_a_member_that_json_cannot_hold_is_its_class_alone() -> None:
    """Its text may hold an address, and the line is written all the same."""
    record = logging.makeLogRecord({"name": "channels.x", "msg": "server.paused", "server": ValueError(NUMBER)})
    assert json.loads(OneLine().format(record))["server"] == "ValueError"


def test_another_librarys_line_keeps_its_text_without_what_it_was_given() -> None:
    """Arguments and members of a library are unknown here, and may be a person's."""
    record = logging.getLogger("hpack").makeRecord(
        "hpack.hpack", logging.ERROR, "", 0, "%s rests", (NUMBER,), None, extra={"number": NUMBER}
    )
    line = OneLine().format(record)
    assert NUMBER not in line
    assert (json.loads(line)["event"], json.loads(line)["message"]) == ("library.logged", "%s rests")


def test_every_known_event_gets_its_sentence_and_an_unknown_one_none() -> None:
    """A name that is missing in the table costs the sentence, and never the line."""
    known: dict[str, Any] = {"carrier": "relay", "event": "carrier.login_failed"}
    assert add_message(None, "warning", dict(known)) == known | {"message": EVENTS["carrier.login_failed"]}
    for unknown in ({"event": "carrier.vanished"}, {"event": 7}, {}):
        assert add_message(None, "warning", dict(unknown)) == unknown


#: One event of ours by each of the two logs, one of a library, and one that the table does not know.
WRITTEN = """
import logging
import structlog
from alertd.common.logs import set_up

set_up()
structlog.get_logger().warning("carrier.login_failed", carrier="relay")
logging.getLogger("channels.webpush").error("server.token_refused", extra={"server": "https://push.example"})
logging.getLogger("library").warning("it rests")
structlog.get_logger().warning("carrier.vanished", carrier="relay")
"""


def test_every_line_has_a_name_and_ours_have_a_sentence() -> None:
    """As an operator reads them on standard error."""
    done = subprocess.run([sys.executable, "-c", WRITTEN], capture_output=True, check=True, timeout=60)
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(one["event"], one.get("message")) for one in told] == [
        ("carrier.login_failed", EVENTS["carrier.login_failed"]),
        ("server.token_refused", EVENTS["server.token_refused"]),
        ("library.logged", "it rests"),
        ("carrier.vanished", None),
    ]


#: A model that says more than it may, a thread that fails, and an object that cannot be let go.
UNCAUGHT = f"""
import threading
from pydantic import BaseModel
from alertd.common.logs import set_up

class Child(BaseModel):
    age: int

class Kept:
    def __del__(self):
        raise ValueError("{NUMBER}")

def fail():
    raise ValueError("{NUMBER}")

set_up()
Child.model_construct(age="{NUMBER}").model_dump_json()
thread = threading.Thread(target=fail)
thread.start()
thread.join()
Kept()
"""


def test_what_nobody_could_catch_tells_no_person() -> None:
    """Python's own hooks write its text on the same stream, in lines that are no JSON."""
    done = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, check=True, timeout=60)
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert NUMBER not in str(told)
    assert [one.get("warning") or one["error"] for one in told] == ["UserWarning", "ValueError", "ValueError"]


#: What is told when nobody takes it, by us and by a library, and what comes after.
UNHEARD = """
import logging
import structlog
from alertd.common.logs import set_up

set_up()
for _ in range(2):
    structlog.get_logger().warning("a carrier rests")
    logging.getLogger("library").warning("it rests")
print("the next message is sent")
"""


def test_a_log_that_nobody_takes_stops_nobody() -> None:
    """On a full disk, or where the program that reads it has ended, a line is lost, and nothing else."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", UNHEARD], stdout=subprocess.PIPE, stderr=full, check=False, timeout=60
        )
    assert done.stdout == b"the next message is sent\n"


def test_a_log_that_nobody_reads_is_not_waited_for() -> None:
    """The program that reads it hangs, and what is between the two is full."""
    unread, into = os.pipe()
    os.set_blocking(into, False)
    with suppress(BlockingIOError):
        while True:
            os.write(into, b"-" * 4096)
    os.set_blocking(into, True)
    done = subprocess.run([sys.executable, "-c", UNHEARD], stdout=subprocess.PIPE, stderr=into, check=False, timeout=60)
    os.close(unread)
    os.close(into)
    assert done.stdout == b"the next message is sent\n"


def test_a_store_that_is_away_is_logged_once_a_second():
    """Whatever meets it: steps and requests count together. The next line has the number of the lines that were left out."""
    now = 0.0
    throttle, lines = Throttle(lambda: now), list[dict[str, Any]]()

    def log(**event: Any) -> None:
        with suppress(structlog.DropEvent):
            lines.append(dict(throttle(None, "warning", event)))

    for tenth in range(31):
        now = tenth / 10
        log(event="store.found_unavailable", step="stops")
        log(event="request.failed", problem="store-unavailable")
    assert [one.get("more") for one in lines] == [None, 19, 19, 19]
    for _ in range(2):
        log(event="request.failed", problem="internal-error")
        log(event="step.failed", step="stops")
    assert len(lines) == 8, "nothing else is left out"
