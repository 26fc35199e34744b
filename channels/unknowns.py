"""When to stop writing to a carrier whose answers leave open whether it has the message."""

from __future__ import annotations

from channels.base import Answer, Outcome, Subject

#: After so many unknown answers since the last clear one, a process writes no more than one message of a chunk.
ENOUGH = 10


class Unknowns:
    """Counts the unknown answers of one carrier, over all chunks of this process, since it last accepted or refused a recipient.

    A message with an unknown answer may never be sent again. So a page that a proxy sends in the carrier's place must not use up every message.
    """

    def __init__(self) -> None:
        self._count = 0

    @property
    def are_enough(self) -> bool:
        return self._count >= ENOUGH

    def hear(self, outcome: Outcome) -> None:
        """Records an answer as soon as it comes."""
        if outcome.answer is Answer.UNKNOWN:
            self._count += 1
        elif outcome.subject is Subject.RECIPIENT:
            self._count = 0
