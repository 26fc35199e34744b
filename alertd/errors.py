"""What can be wrong with a request, as values and exceptions every layer may raise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a document: where it is (JSON pointer, RFC 6901) and what is wrong, never quoting the value."""

    pointer: str
    detail: str
