"""Whatever a gateway answers, loses and takes up late: what it shows once all is quiet is true, or it is known to owe a take-down."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from alertd.model.cap.messages import MsgType
from alertd.model.distribution import (
    DOUBT_MS,
    MOST_ENTRIES,
    Entry,
    MessageState,
    Now,
    Track,
    Verdict,
    begun,
    decided,
    put_back,
    settled,
)

pytestmark = pytest.mark.once

START, NEVER = 1_800_000_000_000, 10**14
RUNS = 400


@dataclass
class Course:
    """An alert, and a gateway that takes a message up once, by its name, at once or as late as may be."""

    chance: random.Random
    acknowledges: bool
    now: int = START
    track: Track = field(default_factory=Track)
    name: str = "X"
    restricted: int = 0
    is_told: bool = True
    may_miss_stop: bool = False  # nothing is taken any more
    shows: dict[str, str] = field(default_factory=dict)  # by identifier, what the alert was called
    known: set[str] = field(default_factory=set)
    late: list[tuple[int, Entry, list[str]]] = field(default_factory=list)
    acks: list[tuple[int, str]] = field(default_factory=list)

    def act(self, what: str) -> None:
        if what in {"change", "restrict"} and self.is_told and not (what == "restrict" and self.restricted):
            self.name = f"X.{self.now}"
            self.restricted = self.now if what == "restrict" else self.restricted
        if what in {"end", "return"}:
            self.is_told = what == "return"

    def step(self, by_ms: int, *, calm: bool) -> None:
        """Time passes, what was late comes, and what is due is sent."""
        self.now += by_ms
        for due, entry, names in [one for one in self.late if one[0] <= self.now]:
            self.late.remove((due, entry, names))
            self._takes(entry, names)
            self._acks_later(entry)
        for due, name in [one for one in self.acks if one[0] <= self.now]:
            self.acks.remove((due, name))
            self._settle(name, Verdict(state=MessageState.ACKNOWLEDGED, maybe=True, ack="ack"))
        at = Now(
            identifier=self.name if self.is_told else "X.cancelled", sender="s", sent=self.now, expires=NEVER, shown=self.is_told,
            restricted=self.restricted, down=not self.is_told, at=self.now,
        )  # fmt: skip
        self.track, entry = decided(self.track, at, fits=True)
        if entry is not None and entry.due <= self.now:
            self._post(entry, calm=calm)

    def _post(self, entry: Entry, *, calm: bool) -> None:
        names = [one.identifier for one in self.track.arrived] if entry.type is not MsgType.ALERT else []
        self.track = begun(self.track, entry.identifier, self.now)
        answer = (
            "absent"
            if self.may_miss_stop
            else "taken"
            if calm
            else self.chance.choice(["taken", "taken", "silence", "silence", "error", "absent"])
        )
        due = self.now + self.chance.randrange(5_000, 30_000)
        verdict = Verdict(state=MessageState.QUEUED, maybe=entry.maybe or answer == "silence", due=due)
        if answer == "silence" and self.chance.random() < 0.6:
            self.late.append((self.now + self.chance.randrange(DOUBT_MS - 5_000), entry, names))
        elif answer == "error" and entry.type is not MsgType.CANCEL:
            verdict = Verdict(state=MessageState.REFUSED, maybe=entry.maybe, answered=200, ack="error")
        elif answer == "taken":
            verdict = self._taken(entry, names)
        self._settle(entry.identifier, verdict)

    def _taken(self, entry: Entry, names: list[str]) -> Verdict:
        if not self._takes(entry, names) and self.chance.random() < 0.3:  # there is nothing to cancel
            return Verdict(state=MessageState.REFUSED, maybe=entry.maybe, answered=200, ack="error")
        if self.acknowledges and self.chance.random() < 0.5:
            return Verdict(state=MessageState.ACKNOWLEDGED, maybe=True, answered=200, ack="ack")
        self._acks_later(entry)
        return Verdict(state=MessageState.ACCEPTED, maybe=True, answered=202)

    def _takes(self, entry: Entry, names: list[str]) -> bool:
        """False for a Cancel that took nothing down."""
        if entry.identifier in self.known:
            return entry.type is not MsgType.CANCEL
        self.known.add(entry.identifier)
        had = [self.shows.pop(name) for name in names if name in self.shows]
        if entry.type is not MsgType.CANCEL:
            self.shows[entry.identifier] = entry.of
        return bool(had) or entry.type is not MsgType.CANCEL

    def _acks_later(self, entry: Entry) -> None:
        if self.acknowledges and self.chance.random() < 0.7:
            self.acks.append((self.now + self.chance.randrange(90_000), entry.identifier))

    def _settle(self, name: str, verdict: Verdict) -> None:
        self.track = settled(
            self.track, name, verdict, self.now, acknowledges=self.acknowledges, restricted=self.restricted
        )


@pytest.mark.parametrize("acknowledges", [True, False])
@pytest.mark.parametrize(
    "acts", [["change", "end"], ["change", "restrict"], ["end", "return"], ["change", "restrict", "end", "return"]]
)
def test_what_a_gateway_shows_in_the_end_is_true_or_known(acts: list[str], *, acknowledges: bool):
    """No alert that is over, and no name that was taken out of one, is shown where nobody knows of it."""
    for seed in range(RUNS):
        course = Course(random.Random(seed), acknowledges)
        for _ in range(40):
            course.step(course.chance.randrange(500, 20_000), calm=False)
            if course.chance.random() < 0.12:
                course.act(course.chance.choice(acts))
        for _ in range(60):
            course.step(10_000, calm=True)
        names = [of for of in course.shows.values() if int(of.partition(".")[2] or 0) < course.restricted]
        wrong = names if course.is_told else list(course.shows)
        assert not wrong or course.track.owed, f"seed {seed}: {course.track.entries}"
        assert not course.late


def test_a_doubt_of_before_the_clock_was_set_back_puts_off_no_repetition():
    """A Cancel is sent once more as soon as any, though what it takes back was posted at an hour that is still to come."""
    now, back_ms = 1_000, 3_600_000
    alert = Entry(
        identifier="a",
        sender="s",
        sent=1,
        type=MsgType.ALERT,
        of="a",
        expires=1,
        maybe=True,
        tries=1,
        last=now + back_ms,
    )
    cancel = Entry(identifier="a.1", sender="s", sent=1, type=MsgType.CANCEL, of="a.1", expires=1, tries=1, first=now)
    taken = Verdict(state=MessageState.ACCEPTED, maybe=True, answered=202)
    track = settled(
        Track(entries=(alert, cancel)), "a.1", taken, now, acknowledges=False, restricted=0, back_ms=back_ms
    )
    assert [one.due - now - back_ms for one in track.entries[2:]] == [DOUBT_MS]


@pytest.mark.parametrize(("tries", "then"), [(0, 2), (1, 2), (3, 3)])
def test_what_was_to_be_posted_when_a_copy_was_made_may_have_been_more_than_once_since(tries: int, then: int):
    """So a late word of it is of a message that was sent, and of one of its tries alone."""
    waits = Entry(identifier="a", sender="s", sent=1, type=MsgType.ALERT, of="a", expires=1, tries=tries)
    [one] = put_back(Track(entries=(waits,))).entries
    assert (one.tries, one.maybe) == (then, True)


def test_what_arrived_is_remembered_through_any_number_of_changes():
    """A gateway that took the first and nothing after it is to be told the end: of that one."""
    course = Course(random.Random(0), acknowledges=False)
    course.step(1_000, calm=True)
    [first] = course.track.arrived
    course.may_miss_stop = True
    for _ in range(MOST_ENTRIES + 10):
        course.act("change")
        course.step(60_000, calm=True)
    assert course.track.arrived == (first,)
    assert len(course.track.entries) == MOST_ENTRIES


def test_the_end_is_told_whatever_arrived_before():
    """Though nothing of that may be forgotten: the oldest is, for what came later takes its place."""
    course = Course(random.Random(0), acknowledges=False)
    for _ in range(MOST_ENTRIES + 10):
        course.act("change")
        course.step(60_000, calm=True)
    assert len(course.track.arrived) == MOST_ENTRIES
    course.act("end")
    course.step(60_000, calm=True)
    assert course.track.entries[-1].type is MsgType.CANCEL
    assert not course.shows or len(course.shows) <= 11  # what the track had room for is taken back
