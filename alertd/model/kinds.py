"""The kinds of alert and the coded facts, as tables: what each level means, and which words a fact may be coded with.

Loudness follows the level alone, never the CAP severity. Codes are stored and translated elsewhere: they are never
renamed and never reused.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from channels.base import Loudness


class Kind(enum.StrEnum):
    """What an alert is about."""

    # in the order of their wire numbers
    MISSING_CHILD = "missing-child"
    GENERAL = "general"


class Level(enum.StrEnum):
    """How grave an alert is; each kind has its own three, the gravest first."""

    CHILD_ALERT = "child-alert"
    ENDANGERED = "endangered"
    APPEAL = "appeal"
    WARNING = "warning"
    ADVICE = "advice"
    INFORMATION = "information"


class Channel(enum.StrEnum):
    """How people are reached."""

    # in the order of their wire numbers
    PUSH = "push"
    WEBPUSH = "webpush"
    SMS = "sms"
    MAIL = "mail"


#: Channels that put a message on a screen, where a later one takes its place and an app may say that it is there.
ON_SCREEN = (Channel.PUSH, Channel.WEBPUSH)


class PlaceKind(enum.StrEnum):
    """What a place is to a subscriber: where they are `now`, or where they belong."""

    # in the order of their wire numbers
    NOW = "now"
    HOME = "home"
    WORK = "work"
    SCHOOL = "school"
    OTHER = "other"


class Occasion(enum.StrEnum):
    """Why a version of an alert is told: it is the alert, or what follows one."""

    ALERT = "alert"
    UPDATE = "update"  # the alert again, with what is known now
    STAND_DOWN = "stand-down"  # no longer active; it may come back
    CLOSE = "close"
    CANCEL = "cancel"  # it should not have been, by its reason


class Notify(enum.StrEnum):
    """Who is told of an update again. Whoever is newly inside is told of the alert, but by `none`."""

    FULL = "full"  # whoever was told, on the channels they were told on, as loud as the alert is
    SILENT = "silent"  # whoever was told by push, in its place on the phone and without a sound
    NONE = "none"  # nobody: it changes what is shown, and what those are told who were still to be told
    NEWLY = "newly"  # nobody: a neighbour permitted its ground. No person asks for it


class PermissionState(enum.StrEnum):
    """Where a neighbouring organisation's permission stands, for the part of an alert that lies in its jurisdiction."""

    UNASKED = "unasked"  # the alert awaits its second person; then it is asked
    ASKED = "asked"
    GRANTED = "granted"
    REFUSED = "refused"
    LAPSED = "lapsed"  # nobody answered while it was asked for


class Verdict(enum.StrEnum):
    """What another person thinks of an alert that its author approved alone."""

    JUSTIFIED = "justified"
    UNJUSTIFIED = "unjustified"


class CancelReason(enum.StrEnum):
    """Why an alert is cancelled, as people are told."""

    WITHDRAWN = "withdrawn"
    SENT_IN_ERROR = "sent-in-error"
    WRONG_INFORMATION = "wrong-information"
    DRILL = "drill"  # a test or an exercise that went out as if it were real


class PurgeReason(enum.StrEnum):
    """Why a case is purged. A code, for words might name somebody, and outlive what they are about."""

    RETENTION = "retention"  # the time it may be kept for is over
    REQUEST = "request"  # the family, or whoever it is about, asked for it
    ORDER = "order"  # a court, or an authority
    ERROR = "error"  # it should never have been here


class LiftReason(enum.StrEnum):
    """Why an address may be used again. A code, for words might name it."""

    REQUEST = "request"  # its owner asked to be told again, by another way than START
    REASSIGNED = "reassigned"  # it is somebody else's by now, who asked to be told
    ERROR = "error"  # it should never have been on the list


class Protection(enum.StrEnum):
    """Why a child may be in danger through the alert itself: it tells as little as can be, and a protection officer approves it."""

    PROTECTED_IDENTITY = "protected-identity"  # by law or by a court
    THREATENED = "threatened"  # who reads it may harm the child
    IN_CARE = "in-care"  # lives in an institution or with another family
    ASYLUM = "asylum"  # seeks protection from a state
    VICTIM = "victim"  # of an offence that the alert would make known
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
    """What the case of a missing child meets. An alert may name others, too; organisations ask for these."""

    MINOR = "minor"
    HIGH_RISK = "high-risk"  # of death or serious harm
    USEFUL_INFORMATION = "useful-information"  # there is something that people can look for
    ABDUCTION = "abduction"  # confirmed, or reasonably believed
    CONSENT = "consent"  # of whoever has custody, to the publication
    REGISTERED = "registered"  # as missing, with the police of the country


class Sex(enum.StrEnum):
    """As the public would describe the child; left out where it is not known or not to be told."""

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
    """What a level stands for where the sender does not say otherwise."""

    loudness: Loudness
    urgency: Urgency
    severity: Severity
    certainty: Certainty
    response: ResponseType
    category: Category
    event: str  # in English, at most 35 characters: what CAP consumers show


#: Only the gravest level of a kind breaks through a silenced phone. An alarm at night for less makes people leave, and
#: then the next child is not told to them.
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
