"""Pauses single servers of a channel that sends to several servers. The failures of one server never pause another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from channels.base import WITHHELD, Answer, Outcome, Reason, Subject

#: Number of consecutive failures after which a server is paused.
ENOUGH = 10
#: Seconds of the first and the longest pause. The pause doubles each time, up to 5 s, so that alertd notices within 15
#: s that a server works again.
SHORTEST_S, LONGEST_S = 1.0, 5.0
#: Seconds after a pause during which only a chunk with new messages may try the server.
NEW_FIRST_S = 1.0
#: Maximum pause in seconds that a server can ask for. The server's value may be wrong, and an alert must not wait an
#: hour because of it.
LONGEST_ASKED_S = 60.0
#: Maximum number of failing servers to remember. Beyond it, the one that failed longest ago is forgotten, so invented
#: host names cannot use up the memory.
MOST = 256
#: Reasons that concern the server, and not the message or alertd.
ITS_OWN = frozenset({Reason.CONNECTION, Reason.TIMEOUT, Reason.UNAVAILABLE, Reason.THROTTLED})
UNTAKEN = frozenset({Answer.RETRY, Answer.UNKNOWN})

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Trouble:
    failed: int = 0  # consecutive failures
    rest_s: float = 0.0  # seconds of the last pause by the doubling rule alone
    until_s: float = 0.0  # end of the pause, in seconds of the clock; 0: no pause
    reason: Reason = Reason.NONE
    tried: bool = False  # one chunk was let through after the pause


class ServerPauses:
    """The paused servers of one channel in one process."""

    def __init__(self, clock: Callable[[], float], try_s: float) -> None:
        """`clock` returns seconds. `try_s`: how many seconds a trial send to a paused server may take."""
        self._clock = clock
        self._try_s = try_s
        self._troubles: dict[str, _Trouble] = {}  # by server name

    def refusal(self, server: str, *, is_new: bool = True) -> Outcome | None:
        """Returns None if messages may be sent to the server now. During a pause, returns WITHHELD with the reason of
        the pause and the seconds to wait.

        After a pause, only the first chunk may try the server, and the others wait for its outcomes. A chunk without
        new messages waits `NEW_FIRST_S` longer.
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
        """Records the outcomes of one chunk, and pauses the server after `ENOUGH` consecutive failures. Any message
        that did not fail ends the pause. `are_new`: which messages were never tried. Only the failures of new messages,
        and of connections, count.
        """
        said = [(one, new) for one, new in zip(outcomes, are_new, strict=True) if one.answer is not Answer.WITHHELD]
        trouble = self._troubles.get(server)
        if not said:
            # Nothing was sent: a pause stays as it was. If this chunk was a trial, the next chunk may try.
            if trouble and trouble.tried:
                trouble.until_s = 0.0
            return
        failed = [(one, new) for one, new in said if one.answer in UNTAKEN and one.reason in ITS_OWN]
        counted = [one for one, new in failed if new or one.subject is Subject.CARRIER]
        asked_s = sorted(one.retry_after_s or 0.0 for one in counted if one.reason is Reason.THROTTLED)
        # Throttling pauses the server if at least `ENOUGH` messages, and more than half of the chunk, were throttled. A
        # single one, with the wait that the server asks for, may concern only its recipient.
        is_over = len(asked_s) >= ENOUGH and len(asked_s) > len(said) // 2
        if len(failed) < len(said) and not is_over:
            self._troubles.pop(server, None)
        elif counted:
            self._failed(server, counted, asked_s[len(asked_s) // 2] if is_over else 0.0)
        elif trouble and trouble.tried:  # the trial is inconclusive: the pause starts again
            trouble.until_s, trouble.tried = self._clock() + trouble.rest_s, False

    def _failed(self, server: str, failed: Sequence[Outcome], asked_s: float) -> None:
        """Counts failures, and pauses the server if there are `ENOUGH`. `asked_s`: seconds that the server asks for."""
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
        reason = trouble.reason.name.lower()
        _log.warning("server.paused", extra={"server": server, "seconds": round(seconds), "reason": reason})
