"""Why a message goes out: the alert itself, more of it, or its end. Decides which words a message may have.

Of an end nobody learns whom the alert was about, where, or how it ended: a name once taken back must not be told again, and
the outcome belongs to the family.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from alertd.model.kinds import CancelReason, Kind, Occasion

#: The folder of messages that say an alert has ended; the others are named after its kind.
ENDED = "ended"
MESSAGES = (*Kind, ENDED)

#: What ends an alert; the rest tells it.
ENDINGS = frozenset({Occasion.STAND_DOWN, Occasion.CLOSE, Occasion.CANCEL})

#: Which safety line goes with what, by its name in the catalogue; `one-or-many` by how many children are sought. None where nobody
#: is to be looked for any more and nothing is to be kept away from. A stand-down can be reversed, so someone may still be
#: seen; and whoever was told of a false alert may still be on their way.
SAFETY: dict[Kind, dict[Occasion, str]] = {
    Kind.MISSING_CHILD: {
        Occasion.ALERT: "one-or-many",
        Occasion.UPDATE: "one-or-many",
        Occasion.STAND_DOWN: "stand-down",
        Occasion.CANCEL: "cancel",
    },
    Kind.GENERAL: {
        Occasion.ALERT: "general",
        Occasion.UPDATE: "general",
        Occasion.STAND_DOWN: "general",
    },
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """The occasion of a version's messages. Raises `ValueError` for a cancel without reason, a reason without cancel, or an end
    without the moment of what it ends.
    """

    occasion: Occasion = Occasion.ALERT
    reason: CancelReason | None = None  # of a cancel
    alerted_at: datetime | None = None  # of an end: when people were first told, aware

    def __post_init__(self) -> None:
        if (self.occasion is Occasion.CANCEL) != (self.reason is not None):
            raise ValueError("A cancel has a reason, and nothing else has one.")
        if self.is_end and self.alerted_at is None:
            raise ValueError("Whoever is told of an end is told of which alert: of what moment it was.")

    @property
    def is_end(self) -> bool:
        return self.occasion in ENDINGS

    @property
    def code(self) -> str:
        """What has happened, as the catalogue names it: the reason of a cancel, else the occasion."""
        return (self.reason or self.occasion).value


def message_of(kind: Kind, telling: Telling) -> str:
    """Which of `MESSAGES` it is."""
    return ENDED if telling.is_end else kind.value


#: What is sent today.
THE_ALERT = Telling()
