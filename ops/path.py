"""Lists the path of one alert: every file and function of alertd, channels and geofences that it passes, step by step.

    ./ops/path           a list for each step: the files, with their functions in the order of the first call
    ./ops/path --json    one JSON line; `files` and `functions` are distinct over all steps, `steps` has the same for each

It runs an API, a worker, an embedded store and the sandbox's push carrier in one process, with two subscribers. One person submits an
alert to both, another approves it, both through the API. `sys.setprofile` sees each call, in threads too.

A function counts by the task in which it runs. Tasks, callbacks and threads belong to the task that started them:
  submit   the API's connections, from the submission to its answer
  approve  the API's connections, from the approval to its answer
  plan     the worker's rounds `look` and `plan`, from the approval's answer on
  send     the worker's feeder, from the approval's answer until the carrier has both messages
  settle   the feeder and the worker's round `finish`, from then until the alert is sent and both answers are in the ledger
Nothing else counts: start and set-up, the registration of subscribers, calls that only watch, and all other loops (heartbeat,
sweeper, expiry, logins, webhooks, metrics, everything that `repeated` runs).

A lambda, a comprehension or a generator expression is a part of the function around it. Code that Python generates, as for a
dataclass, and the bodies of modules and classes are no functions.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import aiohttp
import uvloop
from demo import CENTRE, CITY, Client, alert, person

from alertd.common.logs import set_up
from alertd.config.settings import Settings
from alertd.model.registration import Registration
from alertd.runtime.api_site import api_site, reserved, url_of
from alertd.runtime.installation import parts_of, store_of
from alertd.runtime.sandbox import sandbox_carriers
from alertd.runtime.worker import worker_of
from alertd.service.people.registration_intake import Entry
from channels.sandbox import Sandbox
from channels.sandbox.script import Rule

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = tuple(f"{ROOT / name}{os.sep}" for name in ("alertd", "channels", "geofences"))
#: By step: the functions that start the counted tasks.
STEPS = {
    "submit": {"api"}, "approve": {"api"}, "plan": {"alerts", "plan"}, "send": {"feed"}, "settle": {"feed", "finish"},
}  # fmt: skip
#: Delay of the carrier's answer: work before the answer is `send`, work after it is `settle`. It is too
#: short for the worker to ask the gate again.
ANSWER_S = 0.1
TOKENS = ("path-1", "path-2")
LOOK_EVERY_S, WITHIN_S = 0.005, 60.0

Function = tuple[str, str]  # file and name

#: The step of the running code: a name in STEPS, or "". The audience's threads have no context, and only the API uses them.
started_by: ContextVar[str] = ContextVar("started_by", default="api")


@dataclass
class Recorder:
    """Number of calls of each function, by step, in order of the first call."""

    calls: dict[str, Counter[Function]] = field(default_factory=lambda: {step: Counter() for step in STEPS})
    steps: tuple[str, ...] = ()  # the active steps
    _functions: dict[CodeType, Function | None] = field(default_factory=dict)
    _starts: dict[CodeType, int] = field(default_factory=dict)

    def see(self, frame: FrameType, event: str, _argument: object) -> None:
        """The callback of `sys.setprofile`."""
        code = frame.f_code
        if event != "call" or (function := self._function(code)) is None:
            return
        # A resumed coroutine is "called" again; only its first call is at its first instruction.
        if self._starts.setdefault(code, frame.f_lasti) == frame.f_lasti:
            for step in self.steps:
                if started_by.get() in STEPS[step]:
                    self.calls[step][function] += 1

    def _function(self, code: CodeType) -> Function | None:
        if code not in self._functions:
            self._functions[code] = _function_of(code)
        return self._functions[code]


def _function_of(code: CodeType) -> Function | None:
    """Returns None for third-party code, and for the body of a module or class."""
    if not code.co_filename.startswith(PACKAGES) or not code.co_flags & inspect.CO_OPTIMIZED:
        return None
    return str(Path(code.co_filename).relative_to(ROOT)), code.co_qualname.partition(".<locals>.<")[0]


def _new_task(loop: asyncio.AbstractEventLoop, coro: Any, **named: Any) -> asyncio.Task[Any]:
    """Makes a task of `loop`. A round of the worker, the feeder and the jobs of `repeated` start their own steps."""
    match coro.__qualname__:
        case "repeat":
            step = coro.cr_frame.f_locals["step"]
            starter = step.args[0] if isinstance(step, partial) else ""
        case "Feeder.feed":
            starter = "feed"
        case _:
            return asyncio.Task(coro, loop=loop, **named)
    context = copy_context()
    context.run(started_by.set, starter)
    return asyncio.Task(coro, loop=loop, **{**named, "context": context})


async def follow(recorder: Recorder, folder: Path) -> None:
    """Sends one alert to the subscribers, and records the calls of each step."""
    started_by.set("")
    asyncio.get_running_loop().set_task_factory(_new_task)
    (folder / "carriers").mkdir()
    sandbox = Sandbox(folder / "carriers")
    await sandbox.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sandbox.stop)
        settings = Settings.model_validate({
            "store": {"directory": folder / "alertd", "sandbox": True},
            "carriers": {"sandbox-push": sandbox_carriers(sandbox.endpoints)["sandbox-push"]},
        })  # fmt: skip
        store = await stack.enter_async_context(store_of(settings))
        parts = await stack.enter_async_context(parts_of(settings, store))
        worker = worker_of(await stack.enter_async_context(parts_of(settings, store, sends=True)))
        await parts.registry.put_many([_subscriber(token) for token in TOKENS])
        await stack.enter_async_context(parts.regions.watched())
        await stack.enter_async_context(parts.reaches.run(lambda: parts.regions.library))
        await parts.reaches.current(
            parts.regions.library
        )  # builds the map of all subscribers, as at the start of a service
        address = stack.enter_context(reserved("127.0.0.1", 0, "no option"))
        before = started_by.set("api")
        await stack.enter_async_context(api_site(parts, store, [], address))
        started_by.reset(before)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        key = await parts.access.first(settings.alerts.organisation)
        assert key is not None
        people = await _people(session, url_of(address), key)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(worker.run())
        try:
            async with asyncio.timeout(WITHIN_S):
                await _send_alert(recorder, sandbox, *people)
        finally:
            worker.stop()


def _subscriber(token: str) -> Entry:
    document = {
        "languages": ["es"],
        "kinds": ["missing-child"],
        "places": {"home": {"point": CENTRE}},
        "addresses": [{"channel": "push", "token": token}],
        "consent": {"at": "2026-01-10T12:00:00Z", "source": "app"},
    }
    return Entry(token, Registration.model_validate_json(json.dumps(document)))


async def _people(session: aiohttp.ClientSession, url: str, key: str) -> tuple[Client, Client]:
    """An author and an approver."""
    admin = Client(session, url, key)
    ana = await person(admin, session, url, "ana@centre.example", "alerts:write", "alerts:read")
    return ana, await person(admin, session, url, "bea@centre.example", "alerts:approve", "alerts:read")


async def _send_alert(recorder: Recorder, sandbox: Sandbox, ana: Client, bea: Client) -> None:
    """Raises TimeoutError if the alert does not get through."""
    sandbox.push.script.set(Rule("", "slow", delay_s=ANSWER_S))

    async def works() -> bool:
        return bool((await bea.call("GET", "/v1/carriers"))["carriers"][0]["state"] == "works")

    async def is_handed_over() -> bool:
        return sandbox.push.recorded.total == len(TOKENS)

    async def is_sent() -> bool:
        return bool((await bea.call("GET", f"{path}/progress"))["state"] == "sent")

    await _until(works)  # as in a running installation, the worker logs in before the alert
    document = {**alert(), "target": {"regions": [CITY]}, "channels": ["push"]}

    recorder.steps = ("submit",)
    taken = await ana.call("POST", "/v1/alerts", document)
    path = f"/v1/alerts/{taken['id']}"
    recorder.steps = ("approve", "plan", "send")  # the worker may start before the answer arrives
    await bea.call("POST", f"{path}/approve", {"rev": taken["rev"]})
    recorder.steps = ("plan", "send")
    await _until(is_handed_over)
    recorder.steps = ("plan", "settle")
    await _until(is_sent)
    recorder.steps = ()


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    while not await is_so():  # noqa: ASYNC110  the worker says nothing to this script
        await asyncio.sleep(LOOK_EVERY_S)


def counts_of(functions: Collection[Function]) -> dict[str, int]:
    """Returns the number of files and of their functions."""
    return {"files": len({file for file, _ in functions}), "functions": len(functions)}


def tell(recorder: Recorder) -> None:
    """Prints the list of each step, and the sums."""
    for step, calls in recorder.calls.items():
        counts = counts_of(calls)
        print(f"{step}: {counts['files']} files, {counts['functions']} functions")
        files: dict[str, list[str]] = {}
        for (file, name), times in calls.items():
            files.setdefault(file, []).append(name if times == 1 else f"{name} ({times})")
        for file, names in files.items():
            print(f"  {file}: {', '.join(names)}")
    counts = counts_of(set().union(*recorder.calls.values()))
    print(f"In all: {counts['files']} files, {counts['functions']} functions")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="ops/path", description="Shows the files and functions that one alert passes."
    )
    parser.add_argument("--json", action="store_true", help="one JSON line")
    arguments = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("ALERTD_")]:
        del os.environ[name]  # uses the default settings
    set_up("warning")
    recorder = Recorder()
    threading.setprofile(recorder.see)
    sys.setprofile(recorder.see)
    with tempfile.TemporaryDirectory(prefix="alertd-path-") as folder:
        uvloop.run(follow(recorder, Path(folder)))
    sys.setprofile(None)
    if not arguments.json:
        tell(recorder)
        return 0
    steps = {
        step: {**counts_of(calls), "opened": list(dict.fromkeys(file for file, _ in calls))}
        for step, calls in recorder.calls.items()
    }
    print(json.dumps({**counts_of(set().union(*recorder.calls.values())), "steps": steps}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
