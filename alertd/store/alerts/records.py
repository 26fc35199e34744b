"""One version of an alert as the store has it. `record_fields` encodes and decodes it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import structlog

from alertd.common.ids import chain_of, version_id
from alertd.model.alert import Alert
from alertd.model.kinds import Notify, Occasion, Verdict
from alertd.model.states import ALERT_STEPS, AlertState
from alertd.store.engine import keys
from alertd.store.engine.codec import Box, SealError


def version_key(alert_id: str) -> str:
    """Returns the store's key of the record (a Redis hash) of an alert or of one of its later versions."""
    return keys.of_chain(chain_of(alert_id), "version", alert_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertAuthor:
    """The person who wrote a version, and the API key that was used."""

    subject: str
    key: str = ""  # id of the key
    hands: str = ""  # everyone who has, or can have, the API key: one a line, in the form in which people are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class LastStep:
    """The last step (such as submit, return or cancel) that a person took with a version."""

    by: str = ""  # the subject of the person
    reason: str = ""  # the person's own words
    code: str = ""  # code of the reason of a cancel or a purge
    since: int = 0  # when the version entered its state (UNIX ms); set only if the document was read too, or the version is pending


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A second person's later review of an alert that its author approved alone."""

    at: int
    by: str  # the subject of the person
    verdict: Verdict
    note: str = ""  # the person's own words; '' after the case is purged


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenGlass:
    """The approval of an alert by its own author because no second person could be reached (break glass), and its later review."""

    at: int  # time of the approval (ms); 0: not approved yet
    why: str  # reason that the author gave; '' after the case is purged
    review: Review | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalFacts:
    """Who approved a version, and how."""

    by: str = ""  # the signature of the approver; '' before the approval
    rev: int = 0  # the revision that the approver saw; 0 if unknown
    key: str = ""  # for an alert that starts later: id of the API key that approved it
    is_alone: bool = False  # no second person approved or reviewed the alert
    glass: BrokenGlass | None = None  # None: its author did not approve it alone (break glass)


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUp:
    """How a later version differs from the alert itself: it announces a follow-up (such as an update or an end) to recipients of earlier
    versions.
    """

    occasion: Occasion
    follows: tuple[Occasion, ...]  # this version goes to the recipients of earlier versions with these occasions
    alerted: int  # when the alert was first sent (UNIX ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(FollowUp):
    """The properties of an update: a version that is sent in place of the earlier versions of its alert."""

    notify: Notify  # which recipients of earlier versions are notified again
    renotify_count: int = 0  # number of people notified again, counted at the submission
    new_recipients: int = 0  # number of people in its area not notified before, counted at the submission
    based_on: str = ""  # `Times.changes` of the alert when the update was written
    #: Whether the update only adds an area that a neighbour permitted: the delays of the rings do not begin again then.
    continues: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Times of a version. UNIX ms, 0 for not yet."""

    created: int
    starts: int = 0  # start that the author asked for; 0: at once when it is approved
    start: int = 0  # when its sending could begin (its gate opened); times in the ledger count from here
    first_send: int = 0
    last_send: int = 0
    #: Time from which the delays of the rings (parts of the target with their own delay) count. Set for an update that does not change the
    #: target, and for the alert after such an update.
    rings_from: int = 0
    changes: str = ""  # times of its changes since the approval: ms, separated by spaces
    restricted: int = 0  # when identity and photos were removed from it


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProgress:
    """How far the planner is with a version: position in the audience, ledger rows and batches made so far."""

    cursor: int = 0
    rows: int = 0
    batches: int = 0
    is_complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFacts:
    """Facts about the target of a version, found at its submission. In the alert itself, a neighbour's permission adds to
    `regions`, and an approved update replaces `regions` and `countries`.
    """

    seen: int  # number of people in the area
    regions: str = ""  # numbers of the regions whose people are notified, written by `runs_of`
    countries: str = ""  # countries in which its area lies, as ISO 3166-1 codes
    outline: str = ""  # digest of the outline of the whole requested target; not used after the approval


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """What other organisations were asked, or ask, about a version: permissions to alert in their jurisdiction, and requests to stand down."""

    permissions: str = ""  # the permissions asked for and the answers, written by `permission.written`
    answered_by: str = ""  # the subjects of the people who answered, by organisation
    reasons: str = ""  # the reasons for these answers, in these people's words
    stand_down_asked: str = ""  # requests to stand down, written by `permission.written_requests`
    #: Areas in other organisations' jurisdictions, packed by `pack_area`: `ground:<org>` is the area that this organisation is asked to
    #: permit, `granted` is all that was permitted. Filled only if the record was read with its document.
    areas: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """What all versions of one alert (its chain) have in common: whether it is paused, its lives after restores, its clock, the keys of its
    authors and approvers, and its public page.
    """

    paused: bool = False
    lives: str = field(
        default="", compare=False
    )  # the alert's lives after restores from a backup, in the form of `ids.version_id`
    #: By how many ms the alert's clock, which sets the times of its versions, is ahead of the server's clock because that was set back.
    ahead: int = field(default=0, compare=False)
    #: Ids of the API keys of the authors and approvers of all the alert's versions. An id of another organisation's key is preceded by that
    #: organisation and a colon.
    sent_by: tuple[str, ...] = field(default=(), compare=False)
    public_id: str = field(
        default="", compare=False
    )  # name of the alert's public page; "" for an alert of an earlier release


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
    external_id: str
    case: str  # hash of its organisation and case number; for an alert without a case, the id of its first version
    rev: int
    expires: int
    people: int = 0  # number of people in the frozen audience
    texts: int = 0  # revision of the organisation's own texts at the submission; 0 for none
    author: AlertAuthor
    last_step: LastStep = LastStep()
    approval: ApprovalFacts = ApprovalFacts()
    follow_up: FollowUp | None = None  # None: this version is the alert itself
    times: Times
    plan: PlanProgress = PlanProgress()
    target: TargetFacts
    neighbours: Neighbours = Neighbours()
    chain: ChainState = ChainState()
    document: bytes  # the alert as JSON, decrypted; b'' if it was not read or is purged
    box: Box | None = field(default=None, compare=False, repr=False)  # the key of its case, if it was read

    @cached_property
    def alert(self) -> Alert:
        """Returns the parsed document. Parses it once, because that takes as long as a call to the store. Raises pydantic.ValidationError,
        also if the document is empty (read without it, or purged).
        """
        return Alert.model_validate_json(self.document)

    @property
    def update(self) -> Update | None:
        """Returns the properties of an update, None for every other version."""
        return self.follow_up if isinstance(self.follow_up, Update) else None

    @property
    def occasion(self) -> Occasion:
        """Returns why the version is sent: the occasion of its follow-up, or ALERT for the alert itself."""
        return self.follow_up.occasion if self.follow_up else Occasion.ALERT

    def version(self, n: int) -> str:
        """Returns the id of the nth version of this alert."""
        return version_id(chain_of(self.id), n, self.chain.lives)

    def counts_on(self, alert: Alert) -> int:
        """Returns the time (ms) from which the delays of the rings count if an update replaces this alert by `alert`. Returns 0 if the
        update changes the target: they then count from the update's approval.
        """
        return (self.times.rings_from or self.times.start) if alert.target == self.alert.target else 0


class PlanHead(NamedTuple):
    """The fields of a version that the planner reads first: what there is to plan, and how far it got."""

    id: str
    state: str
    loudness: str
    people: int
    cursor: int
    planned: bool


def runs_of(numbers: Iterable[int]) -> str:
    """Returns the numbers, ascending, as text, with consecutive ones as `first-last` ("1-3 7"). So the 8,000 municipalities of a country
    take a few words instead of 44 kB.
    """
    ordered = np.sort(np.fromiter(numbers, np.int64))
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1)
    return " ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs if len(run))


def numbers_of(runs: str) -> list[int]:
    """Returns the numbers in a text that `runs_of` made, in order."""
    bounds = [[int(number) for number in run.split("-")] for run in runs.split()]
    return [number for run in bounds for number in range(run[0], run[-1] + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """The conditions under which a follow-up may be stored. `follow.lua` checks them."""

    sources: Iterable[AlertState]  # states that the alert may be in
    last: int  # number of versions that the alert must have
    rev: int | None  # revision that the alert must have; None for any
    alive: bool = False  # the alert must not be expired
    word: str = ""  # type of the event to write if the alert keeps its state


def sources_of(new: AlertState) -> str:
    """Returns the states from which an alert may step to `new`, in the form of `listed`."""
    return listed(old for old, steps in ALERT_STEPS.items() if new in steps)


def listed(states: Iterable[AlertState]) -> str:
    """Returns the states as one text for the scripts, with a comma before and after each."""
    return "," + ",".join(states) + ","


_T = TypeVar("_T")


async def unless_damaged(alert_id: str, reading: Awaitable[_T]) -> _T | None:
    """Returns the result of `reading`, an alert's data. Returns None if it is damaged, and logs the alert's id, so that one bad record
    cannot hide other alerts.
    """
    try:
        return await reading
    except (SealError, ValueError) as error:
        structlog.get_logger().error("alert.read_failed", alert=alert_id, error=type(error).__name__)
        return None
