"""The kinds of alert, their levels and the coded facts, as tables.

Loudness follows from the level only, never from the CAP severity. Codes are stored, and translated elsewhere: never
rename or reuse one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from channels.base import Loudness


class Kind(enum.StrEnum):
    """The subject of an alert."""

    # in the order of their wire numbers
    MISSING_CHILD = "missing-child"
    GENERAL = "general"


class Level(enum.StrEnum):
    """The gravity of an alert. Each kind has three levels of its own, listed from the gravest."""

    CHILD_ALERT = "child-alert"
    ENDANGERED = "endangered"
    APPEAL = "appeal"
    WARNING = "warning"
    ADVICE = "advice"
    INFORMATION = "information"


class Channel(enum.StrEnum):
    """A way to reach people."""

    # in the order of their wire numbers
    PUSH = "push"
    WEBPUSH = "webpush"
    SMS = "sms"
    MAIL = "mail"


#: Channels that show a message on a screen. There an update replaces it, and an app may acknowledge it.
ON_SCREEN = (Channel.PUSH, Channel.WEBPUSH)


class PlaceKind(enum.StrEnum):
    """The relation of a place to a subscriber: the current position (`now`), or a place they belong to."""

    # in the order of their wire numbers
    NOW = "now"
    HOME = "home"
    WORK = "work"
    SCHOOL = "school"
    OTHER = "other"


class Occasion(enum.StrEnum):
    """The reason for sending a version of an alert: the alert itself, or a follow-up."""

    ALERT = "alert"
    UPDATE = "update"  # the alert with its current content
    STAND_DOWN = "stand-down"  # no longer active; it may be reopened
    CLOSE = "close"
    CANCEL = "cancel"  # the alert should not have been sent; a reason is given


class Notify(enum.StrEnum):
    """How an update notifies existing recipients.

    People who are newly in the area get the alert, except with `none`.
    """

    FULL = "full"  # all recipients, on their channels, as loud as the alert
    SILENT = "silent"  # recipients by push, in place on the phone and without a sound
    NONE = "none"  # no recipients; changes what is published, and the messages that are still unsent
    NEWLY = "newly"  # no existing recipients: a neighbour permitted its part. Clients cannot request it


class PermissionState(enum.StrEnum):
    """State of a neighbouring organisation's permission for the part of an alert in its jurisdiction."""

    UNASKED = "unasked"  # the alert awaits its approver; after the approval, the neighbour is asked
    ASKED = "asked"
    GRANTED = "granted"
    REFUSED = "refused"
    LAPSED = "lapsed"  # not answered in time


class Verdict(enum.StrEnum):
    """A reviewer's opinion of an alert that its author approved alone."""

    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"


class CancelReason(enum.StrEnum):
    """The reason of a cancellation, as shown to recipients."""

    WITHDRAWN = "withdrawn"
    SENT_IN_ERROR = "sent-in-error"
    WRONG_INFORMATION = "wrong-information"
    DRILL = "drill"  # a test or an exercise that went out as if it were real


class PurgeReason(enum.StrEnum):
    """The reason for purging a case. A code, because free text could name a person and outlive the case."""

    RETENTION = "retention"  # the retention period is over
    REQUEST = "request"  # requested by the family or by the person concerned
    ORDER = "order"  # ordered by a court or an authority
    ERROR = "error"  # it should never have been here


class LiftReason(enum.StrEnum):
    """The reason for removing an address from the suppression list.

    A code, because free text could contain the address.
    """

    REQUEST = "request"  # the owner asked for messages again, by another way than START
    REASSIGNED = "reassigned"  # the address has a new owner, who asked for messages
    ERROR = "error"  # it should never have been on the list


class Protection(enum.StrEnum):
    """A danger that the alert itself may cause to a child. Such an alert says little and needs a protection officer."""

    PROTECTED_IDENTITY = "protected-identity"  # by law or by a court
    THREATENED = "threatened"  # a reader of the alert may harm the child
    IN_CARE = "in-care"  # lives in an institution or with another family
    ASYLUM = "asylum"  # seeks protection from a state
    VICTIM = "victim"  # of an offence that the alert would reveal
    WITNESS = "witness"


class Category(enum.StrEnum):
    """CAP 1.2, section 3.2.2, category."""

    GEO = "Geo"
    MET = "Met"
    SAFETY = "Safety"
    SECURITY = "Security"
    RESCUE = "Rescue"
    FIRE = "Fire"
    HEALTH = "Health"
    ENV = "Env"
    TRANSPORT = "Transport"
    INFRA = "Infra"
    CBRNE = "CBRNE"
    OTHER = "Other"


class Urgency(enum.StrEnum):
    """CAP 1.2, section 3.2.2, urgency."""

    IMMEDIATE = "Immediate"
    EXPECTED = "Expected"
    FUTURE = "Future"
    PAST = "Past"
    UNKNOWN = "Unknown"


class Severity(enum.StrEnum):
    """CAP 1.2, section 3.2.2, severity."""

    EXTREME = "Extreme"
    SEVERE = "Severe"
    MODERATE = "Moderate"
    MINOR = "Minor"
    UNKNOWN = "Unknown"


class Certainty(enum.StrEnum):
    """CAP 1.2, section 3.2.2, certainty."""

    OBSERVED = "Observed"
    LIKELY = "Likely"
    POSSIBLE = "Possible"
    UNLIKELY = "Unlikely"
    UNKNOWN = "Unknown"


class ResponseType(enum.StrEnum):
    """CAP 1.2, section 3.2.2, responseType."""

    SHELTER = "Shelter"
    EVACUATE = "Evacuate"
    PREPARE = "Prepare"
    EXECUTE = "Execute"
    AVOID = "Avoid"
    MONITOR = "Monitor"
    ASSESS = "Assess"
    ALL_CLEAR = "AllClear"
    NONE = "None"


class Criterion(enum.StrEnum):
    """A criterion that the case of a missing child meets. Organisations require these; an alert may list others too."""

    MINOR = "minor"
    HIGH_RISK = "high-risk"  # of death or serious harm
    USEFUL_INFORMATION = "useful-information"  # there is something that people can look for
    ABDUCTION = "abduction"  # confirmed, or reasonably believed
    CONSENT = "consent"  # the holder of custody consented to the publication
    REGISTERED = "registered"  # as missing, with the police of the country


class Sex(enum.StrEnum):
    """The child's sex as the public would describe it. Left out if unknown or not to be published."""

    FEMALE = "female"
    MALE = "male"
    OTHER = "other"


class Hair(enum.StrEnum):
    """The colour of the hair; `none` is a bald head."""

    BLACK = "black"
    DARK_BROWN = "dark-brown"
    BROWN = "brown"
    LIGHT_BROWN = "light-brown"
    BLOND = "blond"
    RED = "red"
    GREY = "grey"
    WHITE = "white"
    DYED = "dyed"
    NONE = "none"


class Eyes(enum.StrEnum):
    """The colour of the eyes."""

    BLACK = "black"
    BROWN = "brown"
    HAZEL = "hazel"
    GREEN = "green"
    BLUE = "blue"
    GREY = "grey"


@dataclass(frozen=True, kw_only=True, slots=True)
class LevelFacts:
    """Defaults of a level, for values that the author did not set."""

    loudness: Loudness
    urgency: Urgency
    severity: Severity
    certainty: Certainty
    response: ResponseType
    category: Category
    event: str  # in English, at most 35 characters: what CAP consumers show


#: The levels of each kind, with their defaults. Only the gravest level of a kind overrides a silenced phone. Waking
#: people for less makes them opt out, and then they miss the alert about the next child.
KINDS: dict[Kind, dict[Level, LevelFacts]] = {
    Kind.MISSING_CHILD: {
        Level.CHILD_ALERT: LevelFacts(
            loudness=Loudness.LOUD,
            urgency=Urgency.IMMEDIATE,
            severity=Severity.SEVERE,
            certainty=Certainty.OBSERVED,
            response=ResponseType.MONITOR,
            category=Category.RESCUE,
            event="Child alert",
        ),
        Level.ENDANGERED: LevelFacts(
            loudness=Loudness.NORMAL,
            urgency=Urgency.IMMEDIATE,
            severity=Severity.MODERATE,
            certainty=Certainty.OBSERVED,
            response=ResponseType.MONITOR,
            category=Category.RESCUE,
            event="Endangered missing child",
        ),
        Level.APPEAL: LevelFacts(
            loudness=Loudness.SILENT,
            urgency=Urgency.EXPECTED,
            severity=Severity.MINOR,
            certainty=Certainty.OBSERVED,
            response=ResponseType.MONITOR,
            category=Category.RESCUE,
            event="Missing child appeal",
        ),
    },
    Kind.GENERAL: {
        Level.WARNING: LevelFacts(
            loudness=Loudness.LOUD,
            urgency=Urgency.IMMEDIATE,
            severity=Severity.SEVERE,
            certainty=Certainty.LIKELY,
            response=ResponseType.EXECUTE,
            category=Category.SAFETY,
            event="Warning",
        ),
        Level.ADVICE: LevelFacts(
            loudness=Loudness.NORMAL,
            urgency=Urgency.EXPECTED,
            severity=Severity.MODERATE,
            certainty=Certainty.LIKELY,
            response=ResponseType.PREPARE,
            category=Category.SAFETY,
            event="Advice",
        ),
        Level.INFORMATION: LevelFacts(
            loudness=Loudness.SILENT,
            urgency=Urgency.FUTURE,
            severity=Severity.MINOR,
            certainty=Certainty.LIKELY,
            response=ResponseType.MONITOR,
            category=Category.SAFETY,
            event="Information",
        ),
    },
}
