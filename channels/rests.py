"""Pauses single servers of a channel that sends to several. The failures of one server never pause another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from channels.base import WITHHELD, Answer, Outcome, Reason, Subject

#: So many in a row that a server did not take are enough.
ENOUGH = 10
#: For so long it is left alone then, twice as long each time. At most 5 s, so that a server that returns is found within 15 s.
SHORTEST_S, LONGEST_S = 1.0, 5.0
#: A chunk without new messages may try a server this long after one with new messages may.
NEW_FIRST_S = 1.0
#: A server that asks for more is tried again after a minute: what it said may be wrong, and one alert must not wait an hour for it.
LONGEST_ASKED_S = 60.0
#: Servers in trouble that are remembered, those that failed last: made-up names do not make us forget one that all wait for.
MOST = 256
#: What speaks of the server, and not of the message or of us.
ITS_OWN = frozenset({Reason.CONNECTION, Reason.TIMEOUT, Reason.UNAVAILABLE, Reason.THROTTLED})
UNTAKEN = frozenset({Answer.RETRY, Answer.UNKNOWN})

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Trouble:
    failed: int = 0  # in a row
    rest_s: float = 0.0  # the last, of our own accord
    until_s: float = 0.0
    reason: Reason = Reason.NONE
    tried: bool = False  # somebody was let through when its rest was over


class Rests:
    """Of one process."""

    def __init__(self, clock: Callable[[], float], try_s: float) -> None:
        """`clock` answers seconds, `try_s` is how long one that is tried again may take."""
        self._clock = clock
        self._try_s = try_s
        self._troubles: dict[str, _Trouble] = {}  # by the server's name

    def refusal(self, server: str, *, is_new: bool = True) -> Outcome | None:
        """Returns None if messages may be sent to the server now; otherwise an outcome that says when to ask again.

        When a rest is over, the first asker tries the server. A chunk without new messages lets others ask first.
        """
        trouble, now_s = self._troubles.get(server), self._clock()
        if trouble is None or trouble.until_s == 0:
            return None
        left_s = trouble.until_s + (0.0 if is_new else NEW_FIRST_S) - now_s
        if left_s > 0:
            return WITHHELD._replace(reason=trouble.reason, retry_after_s=SHORTEST_S if trouble.tried else left_s)
        trouble.until_s, trouble.tried = now_s + self._try_s, True
        return None

    def note_outcomes(self, server: str, outcomes: Sequence[Outcome], are_new: Sequence[bool]) -> None:
        """Records what came of a call. `are_new` says which messages were never tried: only they, and a connection that cannot be made, count
        as failures of the server.
        """
        said = [(one, new) for one, new in zip(outcomes, are_new, strict=True) if one.answer is not Answer.WITHHELD]
        trouble = self._troubles.get(server)
        if not said:
            # Nothing was asked: what it asked for stands, and of a try that was none the next may try.
            if trouble and trouble.tried:
                trouble.until_s = 0.0
            return
        failed = [(one, new) for one, new in said if one.answer in UNTAKEN and one.reason in ITS_OWN]
        counted = [one for one, new in failed if new or one.subject is Subject.CARRIER]
        asked_s = sorted(one.retry_after_s or 0.0 for one in counted if one.reason is Reason.THROTTLED)
        # Most of many: a limit, and the wait that the server asks for, may be one recipient's.
        is_over = len(asked_s) >= ENOUGH and len(asked_s) > len(said) // 2
        if len(failed) < len(said) and not is_over:
            self._troubles.pop(server, None)
        elif counted:
            self._failed(server, counted, asked_s[len(asked_s) // 2] if is_over else 0.0)
        elif trouble and trouble.tried:  # its probe says nothing: it rests on
            trouble.until_s, trouble.tried = self._clock() + trouble.rest_s, False

    def _failed(self, server: str, failed: Sequence[Outcome], asked_s: float) -> None:
        trouble = self._troubles.pop(server, None) or _Trouble()
        if len(self._troubles) >= MOST:
            del self._troubles[next(iter(self._troubles))]
        self._troubles[server] = trouble
        trouble.failed, trouble.until_s, trouble.tried = trouble.failed + len(failed), 0.0, False
        if trouble.failed < ENOUGH:
            return
        trouble.rest_s = min(LONGEST_S, 2 * trouble.rest_s or SHORTEST_S)
        seconds = max(min(asked_s, LONGEST_ASKED_S), trouble.rest_s)
        trouble.reason, trouble.until_s = failed[-1].reason, self._clock() + seconds
        _log.warning("%s is left alone for %.0f s: %s", server, seconds, trouble.reason.name.lower())
