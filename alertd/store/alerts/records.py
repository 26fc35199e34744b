"""An alert's version as the store has it, and how its fields are written: what people wrote is sealed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from alertd.common.ids import chain_of, version_id
from alertd.model.alert import Alert
from alertd.model.states import ALERT_STEPS, AlertState
from alertd.store.engine import keys
from alertd.store.engine.codec import Box, Ring
from alertd.store.engine.sealed_values import OF_STAFF


def version_key(alert_id: str) -> str:
    """Returns the key of an alert's version."""
    return keys.of_chain(chain_of(alert_id), "version", alert_id)


@dataclass(frozen=True, kw_only=True)
class AlertRecord:
    """One version of an alert as the store has it. Times are UNIX milliseconds, 0 for not yet."""

    id: str
    state: AlertState
    org: str
    kind: str
    level: str
    status: str
    loudness: str
    author: str  # the subject of the person who wrote it
    external_id: str
    case: str  # hash of its organisation and case number, or the chain for an alert without a case
    created: int
    expires: int
    rev: int
    seen: int  # people in the area when it was submitted
    people: int = 0  # people in the frozen audience
    approver: str = ""
    approved_rev: int = 0  # the revision that the approver looked at; 0 where nobody knows it any more
    approver_key: str = ""  # of what is to start later: the key it was approved with
    starts: int = 0  # when it is to start; 0 for as soon as it is approved
    start: int = 0  # ledger times count from here
    first_send: int = 0
    last_send: int = 0
    cursor: int = 0
    rows: int = 0
    batches: int = 0
    planned: bool = False
    reason: str = ""
    hands: str = ""  # everyone who has, or can have, the key it was written with: as people are compared, one a line
    by: str = ""  # the subject of the person who took the last step that a person takes
    since: int = 0  # when it came into its state; known of what was read whole, or is pending
    occasion: str = ""  # why it is told: '' for the alert itself
    code: str = ""  # of a cancel: its reason, as people are told
    alerted: int = 0  # of what follows an alert: when that was first told
    sent_alone: int = 0  # 1 where nobody but the author answers for the alert: no second person approved or reviewed it
    follows: str = ""  # of what follows an alert: the occasions whose told are told, '' for nobody's
    restricted: int = 0  # when the facts and photos were taken out of it
    notify: str = ""  # of an update: who is told of it again; '' for whatever is none
    again: int = 0  # of an update: people who would be told of it again, as at the submission
    newly: int = 0  # and those in its area who had not been told
    rings_from: int = 0  # when the delays of its rings count from: of an update that leaves the target as it was, and of the alert once it was updated
    goes_on: int = 0  # 1 where a neighbour permitted its ground: nothing of what told the alert before begins anew
    changes: str = ""  # when it was changed since its approval: ms, one after the other
    upon: str = ""  # of an update: the changes of the alert that it was written on
    key: str = ""  # id of the key it was written with
    broken: int = 0  # when its author approved it alone; 0 for never
    why: str = ""  # and why
    reviewed: int = 0  # when another looked at that
    reviewer: str = ""  # the subject of that person
    verdict: str = ""  # what they think of it
    note: str = ""  # in their words
    paused: bool = False  # its chain waits
    lives: str = field(default="", compare=False)  # of its chain, as `ids.version_id` has them
    #: By so much its chain's clock, which its times are by, is ahead of the server's, where that was set back.
    ahead: int = field(default=0, compare=False)
    #: Ids of the keys that its chain is sent by; one of another organisation has its name and a colon before it.
    sent_by: tuple[str, ...] = field(default=(), compare=False)
    texts: int = (
        0  # revision of the organisation's own texts that it is told with, 0 for none; as it was when it was submitted
    )
    regions: str = ""  # numbers of the regions whose people are told, as at the submission: as `runs_of` writes them
    countries: str = ""  # that its area lies in, as ISO 3166-1 codes
    outline: str = (
        ""  # of its whole target, by its digest, as it was when it was submitted; of no use once it is approved
    )
    permissions: str = ""  # what neighbours are asked for, and answered: as `permissions.written` has it
    permitted_by: str = ""  # the subjects of those who answered, by organisation
    permission_why: str = ""  # and why, in their words
    stand_down_asked: str = ""  # which organisations ask to stand it down: as `stand_down_requests.written` has it
    #: Ground, packed as an area is: `ground:<org>` of what each neighbour is asked for, `granted` of all that was permitted. Of what was read whole.
    grounds: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    document: bytes  # JSON, opened
    box: Box | None = field(
        default=None, compare=False, repr=False
    )  # the key of its case as it was then, where it was asked for

    @cached_property
    def alert(self) -> Alert:
        """What its document says, read once: that takes as long as a call to the store. Raises pydantic.ValidationError, as where there is none."""
        return Alert.model_validate_json(self.document)

    def version(self, n: int) -> str:
        """The id of the nth version of its chain."""
        return version_id(chain_of(self.id), n, self.lives)

    def counts_on(self, alert: Alert) -> int:
        """When the delays of the rings count from where an update says `alert`; 0 for its approval, where it changes the target."""
        return (self.rings_from or self.start) if alert.target == self.alert.target else 0


class PlanHead(NamedTuple):
    """What is to be known of an alert before it is planned."""

    id: str
    state: str
    loudness: str
    people: int
    cursor: int
    planned: bool

    @property
    def begun(self) -> bool:
        """Whether it may have something to send."""
        return self.planned or self.cursor > 0


#: The fields of it, as the store has them.
PLAN_HEAD = ("state", "loudness", "people", "cursor", "planned")


def plan_head(alert_id: str, fields: Sequence[bytes | None]) -> PlanHead | Exception | None:
    """From the values of `PLAN_HEAD`; None where there is no alert, and what is wrong with them where something is."""
    state, loudness, people, cursor, planned = fields
    if state is None:
        return None
    try:
        return PlanHead(
            alert_id, state.decode(), (loudness or b"").decode(), int(people or 0), int(cursor or 0), planned == b"1"
        )
    except ValueError as error:
        return error


def runs_of(numbers: Iterable[int]) -> str:
    """Numbers in order, those that follow one another as `first-last`: a country's 8,000 municipalities are a few words, not 44 kB."""
    ordered = np.sort(np.fromiter(numbers, np.int64))
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1)
    return " ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs if len(run))


def numbers_of(runs: str) -> list[int]:
    """What `runs_of` was given, in order."""
    bounds = [[int(number) for number in run.split("-")] for run in runs.split()]
    return [number for run in bounds for number in range(run[0], run[-1] + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """Where a chain must stand for what follows an alert."""

    sources: Iterable[AlertState]  # states that the alert may be in
    last: int  # how many versions it has
    rev: int | None  # revision of the alert; None for any
    alive: bool = False  # its end must be to come
    word: str = ""  # what its event is called where its state stays


def sources_of(new: AlertState) -> str:
    """The states from which the table allows a step to `new`, as the scripts want them."""
    return listed(old for old, steps in ALERT_STEPS.items() if new in steps)


def listed(states: Iterable[AlertState]) -> str:
    """As the scripts want them: a comma before and after each."""
    return "," + ",".join(states) + ","


NUMBERS = (
    "created",
    "expires",
    "rev",
    "seen",
    "people",
    "start",
    "first_send",
    "last_send",
    "cursor",
    "rows",
    "batches",
    "texts",
    "alerted",
    "restricted",
    "again",
    "newly",
    "goes_on",
    "rings_from",
    "broken",
    "reviewed",
    "starts",
    "approved_rev",
    "sent_alone",
)
TEXTS = (
    "org",
    "kind",
    "level",
    "status",
    "loudness",
    "case",
    "regions",
    "countries",
    "key",
    "occasion",
    "code",
    "follows",
    "changes",
    "upon",
    "notify",
    "verdict",
    "permissions",
    "approver_key",
    "outline",
)
#: Sealed under the case's key, and gone with it: what people wrote.
OF_CASE = ("external_id", "reason", "why", "note", "permission_why", "stand_down_asked")
#: Fields that hold ground: of one organisation, by its id after this, and of all that was permitted.
GROUND, GRANTED = "ground:", "granted"
_PLAIN = frozenset({*NUMBERS, *TEXTS})


@dataclass(frozen=True, slots=True)
class Seals:
    """Seals and opens the texts of one alert; without the case's key, those of the case are empty."""

    alert_id: str
    staff: Ring
    case: Box | None

    def seal(self, name: str, text: str) -> bytes:
        """A field as it is kept: codes and numbers as they are."""
        if name in _PLAIN:
            return text.encode()
        box = self._box(name)
        return box.seal(text.encode(), self._name(name)) if box and text else b""

    def flat(self, fields: Mapping[str, str]) -> list[str | bytes | int]:
        """Fields as a script takes them, one after the other: name, value."""
        return [part for name, text in fields.items() for part in (name, self.seal(name, text))]

    def open(self, name: str, sealed: bytes) -> str:
        box = self._box(name)
        return box.open(sealed, self._name(name)).decode() if box and sealed else ""

    def sealed(self, document: bytes) -> bytes:
        assert self.case is not None
        return self.case.seal(document, self.alert_id)

    def document(self, sealed: bytes) -> bytes:
        return self.case.open(sealed, self.alert_id) if self.case else b""

    def _box(self, name: str) -> Box | Ring | None:
        return self.staff if name in OF_STAFF else self.case

    def _name(self, name: str) -> str:
        return f"{self.alert_id} {name}"


_PLAIN_SAID = ("expires", "seen", "texts", "starts", "restricted", "again", "newly", "rings_from", "sent_alone", *TEXTS)
_SEALED_SAID = (*OF_CASE, *OF_STAFF)


def encode_content(record: AlertRecord, seals: Seals, *, anew: bool = True) -> list[str | bytes | int]:
    """The fields of what an alert says, its document and what people wrote sealed. Of one that is written `anew`, those that are empty
    are left out, half of them, for they read the same; over an older one they must be written.
    """
    fields: dict[str, str | bytes | int] = {
        name: value for name in (*_PLAIN_SAID, *_SEALED_SAID) if (value := getattr(record, name)) or not anew
    }
    fields |= {name: seals.seal(name, getattr(record, name)) for name in _SEALED_SAID if name in fields}
    fields |= record.grounds
    fields["doc"] = seals.sealed(record.document)
    return [part for field in fields.items() for part in field]


def changed(record: AlertRecord) -> list[str | bytes | int]:
    """The fields of an alert that may change while it is told, but its document."""
    return ["expires", record.expires, "restricted", record.restricted, "changes", record.changes]


#: The fields of a chain that a version's record has.
OF_CHAIN = ("paused", "ahead", "keys", "lives")


def record_of(fields: Mapping[str, bytes], seals: Seals, of_chain: Sequence[bytes | None]) -> AlertRecord:
    """From the store's fields, and those of its chain, `OF_CHAIN`; those that are not there are empty."""
    paused, ahead, sent_by, lives = of_chain
    values: dict[str, Any] = {number: int(fields.get(number, 0)) for number in NUMBERS}
    values |= {text: fields.get(text, b"").decode() for text in TEXTS}
    values |= {name: seals.open(name, fields.get(name, b"")) for name in (*OF_CASE, *OF_STAFF)}
    return AlertRecord(
        id=seals.alert_id,
        state=AlertState(fields["state"].decode()),
        planned=fields.get("planned") == b"1",
        since=int(fields.get(f"{fields['state'].decode()}_at", 0)),
        paused=paused == b"1",
        ahead=int(ahead or 0),
        lives=(lives or b"").decode(),
        sent_by=tuple((sent_by or b"").decode().split()),
        grounds={name: ground for name, ground in fields.items() if name == GRANTED or name.startswith(GROUND)},
        document=seals.document(fields["doc"]) if "doc" in fields else b"",
        box=seals.case,
        **values,
    )
