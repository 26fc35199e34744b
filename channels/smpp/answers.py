"""What an SMS centre's statuses mean, as a table (SMPP 3.4 section 5.1.3).

Nothing in the standard says that a number is dead: what a carrier's own codes (0x400 to 0x4FF) say is a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from channels.base import Answer, Outcome, Reason, Subject
from channels.smpp.names import Status

#: Refusals that ask for less: the bind pauses.
THROTTLES: Final = frozenset({Status.THROTTLED, Status.QUEUE_FULL})

#: Refusals of our own account or settings. They pass once somebody has set them right, and say nothing of any number.
_OURS: Final = (
    Status.INVALID_COMMAND,
    Status.INVALID_BIND_STATE,
    Status.ALREADY_BOUND,
    Status.INVALID_SOURCE,
    Status.BIND_FAILED,
    Status.INVALID_PASSWORD,
    Status.INVALID_SYSTEM_ID,
    Status.INVALID_SERVICE_TYPE,
    Status.INVALID_SOURCE_TON,
    Status.INVALID_SOURCE_NPI,
    Status.INVALID_DESTINATION_TON,
    Status.INVALID_DESTINATION_NPI,
    Status.INVALID_SYSTEM_TYPE,
)
_MESSAGE: Final = (
    Status.INVALID_LENGTH,
    Status.INVALID_PRIORITY,
    Status.INVALID_REGISTERED,
    Status.INVALID_ESM_CLASS,
    Status.INVALID_SCHEDULE,
    Status.INVALID_EXPIRY,
    Status.INVALID_PARAMETERS,
    Status.PARAMETER_NOT_ALLOWED,
    Status.INVALID_PARAMETER_LENGTH,
    Status.MISSING_PARAMETER,
    Status.INVALID_PARAMETER_VALUE,
)

BY_STATUS: Final[Mapping[int, Outcome]] = {
    **dict.fromkeys(_OURS, Outcome(Answer.RETRY, Reason.CREDENTIALS)),
    **dict.fromkeys(_MESSAGE, Outcome(Answer.NEVER, Reason.BAD_MESSAGE)),
    **dict.fromkeys(THROTTLES, Outcome(Answer.RETRY, Reason.THROTTLED)),
    Status.INVALID_COMMAND_LENGTH: Outcome(Answer.RETRY, Reason.GARBAGE),  # the frame was damaged on its way
    Status.SYSTEM_ERROR: Outcome(Answer.RETRY, Reason.UNAVAILABLE),
    Status.INVALID_DESTINATION: Outcome(Answer.NEVER, Reason.BAD_ADDRESS),
    Status.RECEIVER_PERMANENT: Outcome(Answer.NEVER, Reason.BLOCKED),
    Status.RECEIVER_REJECTS: Outcome(Answer.NEVER, Reason.BLOCKED),
}

#: "Submit failed" and every unknown code: the centre refuses this message, and may accept it later.
OTHERWISE: Final = Outcome(Answer.RETRY, Reason.UNAVAILABLE, of=Subject.RECIPIENT)


def refusal(status: int, own: Mapping[int, Outcome]) -> Outcome:
    """Read a status other than OK; `own` are the carrier's own meanings, which come first."""
    return own.get(status) or BY_STATUS.get(status, OTHERWISE)
