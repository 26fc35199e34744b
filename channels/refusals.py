"""The words with which a carrier refused a message, for the answer of a carrier test."""

from __future__ import annotations

from channels.base import Outcome
from channels.login import clean, words_of_reply

#: A reply in words, or the status and the body of an HTTP answer.
Said = str | tuple[int, bytes]


class Refusal(Outcome):
    """An outcome with the carrier's words. It equals the outcome without them. The words may hold an address."""

    said: Said = ""


def saying(outcome: Outcome, said: Said) -> Outcome:
    """The outcome with the carrier's words."""
    refusal = Refusal(*outcome)
    refusal.said = said
    return refusal


def words_of(outcome: Outcome, *secrets: str) -> str:
    """The carrier's words on one line, "" where none are known, without mailboxes, numbers and the given secrets."""
    said = outcome.said if isinstance(outcome, Refusal) else ""
    return clean(said, *secrets) if isinstance(said, str) else clean(words_of_reply(*said), *secrets)
