"""The crash contract, with real processes: whatever is killed whenever, nobody is lost and whoever is told twice is marked."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import shapely

from alertd.runtime.sample_people import people
from geofences.regions import Library
from geofences.targets import Target, resolve
from geofences.tiles import locate, position
from tests.acceptance.conftest import CHANNELS, Served
from tests.acceptance.slow_sending import begun, settled, slowed

pytestmark = pytest.mark.once

PEOPLE = 3_000
SLOWER_S = 0.5  # and that it is not over before a busy machine has looked
#: Longer than a carrier of the sandbox outlives a look at what it got: what came in between was not answered, and is sent again.
UNANSWERED_S = 3.0


@pytest.fixture(scope="module")
def wanted() -> dict[str, set[str]]:
    """By channel, every address of the sample people in Spain and off its coast, by brute force."""
    sample = list(people(PEOPLE))
    tile, x, y = locate([person.lon for person in sample], [person.lat for person in sample])
    inside = shapely.intersects_xy(resolve(Target(regions=("ES",)), Library.load()).geometry, *position(tile, x, y))
    chosen = [person for person, is_in in zip(sample, inside, strict=True) if is_in]
    return {channel: {getattr(person, channel) for person in chosen} - {None} for channel in CHANNELS}


class Identity(threading.Thread):
    """Scrapes the fleet's metrics all the while, and checks the identity at every scrape."""

    def __init__(self, served: Served) -> None:
        super().__init__()
        self.served, self.done, self.broken, self.scrapes = served, threading.Event(), [], 0

    def run(self) -> None:
        while not self.done.wait(0.05):
            for channel, states in self.served.fleet().items():
                targeted = states.pop("targeted")
                if targeted != sum(states.values()):
                    self.broken.append((channel, targeted, states))
            self.scrapes += 1

    def end(self) -> None:
        self.done.set()
        self.join()
        assert self.scrapes > 0
        assert self.broken == []


def everyone_told(served: Served, alert_id: str, wanted: dict[str, set[str]]) -> None:
    """Wait for the end. Nobody else was told, nobody is missing but who is listed as unknown, doubles are all marked."""
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    for channel, counts in served.progress(alert_id)["channels"].items():
        got = served.recorded(channel)
        assert got.keys() <= wanted[channel]
        assert len(wanted[channel] - got.keys()) <= counts["unknown"]
        assert sum(count > 1 for count in got.values()) <= counts["doubled"]
        assert (
            counts["targeted"]
            == len(wanted[channel])
            == sum(counts[word] for word in ("accepted", "delivered", "unknown"))
        )
    assert max(served.recorded("sms").values(), default=1) == 1  # its carrier's policy is to hold, not to repeat


def test_worker_killed(installation: Callable[..., Served], alert: dict[str, Any], wanted: Any):
    """`kill -9` of the worker, which plans and sends, at three random instants of an alert; of other instants, see `ops/bench/crash`."""
    served, chance = installation(PEOPLE), random.Random(0)
    slowed(served)
    identity = Identity(served)
    identity.start()
    alert_id = served.approved(alert)
    for _ in range(3):
        before = settled(served, alert_id)
        served.wait_for(lambda before=before: settled(served, alert_id) != before)  # the next one is at work
        identity.done.wait(chance.uniform(0, 0.3))
        for pid in served.workers():
            os.kill(pid, signal.SIGKILL)
    everyone_told(served, alert_id, wanted)
    identity.end()
    assert served.stop() == 0


def test_everything_killed(installation: Callable[..., Served], alert: dict[str, Any], wanted: Any):
    """`kill -9` of the parent takes all of it down; started again on its data, the alert goes on to everyone."""
    served = installation(PEOPLE)
    slowed(served, UNANSWERED_S)
    alert_id = served.approved({**alert, "channels": ["push"]})
    served.wait_for(lambda: begun(served, alert_id))
    before = served.recorded("push")
    served.process.kill()
    served.ended()
    served.start()
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    after = served.recorded("push")
    assert before.keys() | after.keys() == wanted["push"]
    assert len(before.keys() & after.keys()) <= served.progress(alert_id)["channels"]["push"]["doubled"]


def test_people_on_call_are_told_whatever_is_killed(installation: Callable[..., Served], alert: dict[str, Any]):
    """An alert was taken in, and everything dies at once and again a moment later: they are told once it is there again, whatever the dying carrier made of it."""
    served = installation(100)
    people = [{"name": "Desk", "addresses": [{"channel": "sms", "number": "+34600000001"}]}]
    rota = {"time_zone": "Europe/Madrid", "steps": [{"people": people}]}
    assert served.call("PUT", "/v1/oncall", rota)[0] == 200
    ana = served.person("ana@centre.example")
    status, taken = served.call("POST", "/v1/alerts", {**alert, "target": {"regions": ["ES"]}}, ana)
    assert status == 202, taken
    for _ in range(2):
        served.process.kill()
        served.ended()
        served.start()

    def taken_by() -> set[str]:
        calls = served.call("GET", "/v1/oncall/alerts")[1]["calls"]
        return {page["name"] for call in calls for page in call["pages"] if page["taken"]}

    served.wait_for(lambda: taken_by() == {"Desk"})  # once or twice, and not never


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_stopped_in_order(installation: Callable[..., Served], alert: dict[str, Any], wanted: Any, how: signal.Signals):
    """SIGTERM in mid-alert drains, and a terminal that is closed: exit code 0, and after a new start nobody is told twice and no row is in doubt."""
    was = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may be run by nohup, which alertd heeds
    served = installation(PEOPLE)
    signal.signal(signal.SIGHUP, was)
    slowed(served, SLOWER_S)
    alert_id = served.approved({**alert, "channels": ["push"]})
    served.wait_for(lambda: begun(served, alert_id))
    before = served.recorded("push")
    served.process.send_signal(how)
    assert served.ended() == 0
    served.start()
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    channels = served.progress(alert_id)["channels"]
    assert channels["push"]["doubled"] == 0
    assert channels["push"]["accepted"] == len(wanted["push"])
    assert len(before) < len(wanted["push"])


def test_workers_restarted_one_by_one(installation: Callable[..., Served], alert: dict[str, Any], wanted: Any):
    """A rolling restart in mid-alert, worker by worker: each drains, another takes its place, nobody is lost, told twice or in doubt."""
    served = installation(PEOPLE, ALERTD_WORKER__PROCESSES="2", ALERTD_WORKER__LANES="2")
    slowed(served, SLOWER_S)
    alert_id = served.approved({**alert, "channels": ["push"]})
    served.wait_for(lambda: begun(served, alert_id))
    for pid in served.workers():
        os.kill(pid, signal.SIGTERM)
        served.wait_for(lambda pid=pid: pid not in (now := served.workers()) and len(now) == 2)
    assert served.progress(alert_id)["state"] == "sending"
    served.wait_for(lambda: served.progress(alert_id)["state"] == "sent")
    counts = served.progress(alert_id)["channels"]["push"]
    assert (counts["accepted"], counts["doubled"], counts["unknown"]) == (len(wanted["push"]), 0, 0)
    assert served.recorded("push") == dict.fromkeys(wanted["push"], 1)


@pytest.mark.alone
def test_cancel_in_flight(installation: Callable[..., Served], alert: dict[str, Any]):
    """After the cancel's answer and a second, no carrier gets anything more, and the alert ends with its rows settled."""
    served = installation(PEOPLE)
    slowed(served)
    alert_id = served.approved({**alert, "channels": ["push"]})
    served.wait_for(lambda: begun(served, alert_id))
    status, answer = served.call("POST", f"/v1/alerts/{alert_id}/cancel", {"reason": "Found", "notify": "none"})
    assert (status, answer["state"]) == (200, "cancelled")
    threading.Event().wait(1.0)  # the promise is about this second
    told = served.recorded("push")
    served.wait_for(lambda: not served.progress(alert_id)["channels"]["push"]["queued"])
    served.wait_for(lambda: not served.progress(alert_id)["channels"]["push"]["in_flight"])
    assert served.recorded("push") == told
    counts = served.progress(alert_id)["channels"]["push"]
    assert counts["cancelled"] > 0
    assert counts["accepted"] + counts["unknown"] >= len(told)
