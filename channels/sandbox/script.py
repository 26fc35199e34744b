"""The rules for the behaviour of a sandbox carrier, and the record of its messages. All sandbox carriers use both."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from channels.sandbox.http_wire import RESET, Answer, Half, Late, Reply


class Rule(msgspec.Struct, forbid_unknown_fields=True):
    """A rule: addresses that start with `prefix` get the behaviour `do` instead of being accepted."""

    prefix: str  # "@" and a domain match all mailboxes of the domain
    do: str  # a behaviour; each carrier's module lists its own
    times: int | None = None  # how many more messages it applies to; None: all
    retry_after_s: int | None = None  # value of Retry-After in a refusal over HTTP
    delay_s: float = 60.0  # for behaviours with a delay

    def of_domain(self, address: str) -> bool:
        """Returns whether the prefix is a domain and the address is a mailbox of it."""
        return self.prefix.startswith("@") and address.endswith(self.prefix)


class Script:
    """The rules of one carrier. The first match counts."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._rules: list[Rule] = []

    def set(self, *rules: Rule) -> None:
        """Replaces all rules. Raises `ValueError` for a behaviour that this carrier does not have."""
        for rule in rules:
            if rule.do not in self._known:
                raise ValueError(f"{rule.do!r} is not one of {', '.join(sorted(self._known))}")
        self._rules = list(rules)

    def match(self, address: str) -> Rule | None:
        """Returns the first rule for an address and counts its use, or returns None."""
        for rule in self._rules:
            if (address.startswith(rule.prefix) or rule.of_domain(address)) and rule.times != 0:
                if rule.times is not None:
                    rule.times -= 1
                return rule
        return None


@dataclass(frozen=True, slots=True)
class Repeat:
    """An address that got the same version more than once."""

    count: int
    last_s: float


class Recorded:
    """Records which address got which version, how often and when (UNIX seconds). A million addresses fit in memory."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], dict[str, float]] = {}
        self._repeats: dict[tuple[str, str, str], Repeat] = {}
        self.total = 0

    def add(self, chain: str, version: str, address: str) -> None:
        now_s = time.time()
        self.total += 1
        first = self._first.setdefault((chain, version), {})
        if address not in first:
            first[address] = now_s
            return
        key = (chain, version, address)
        before = self._repeats.get(key)
        self._repeats[key] = Repeat((before.count if before else 1) + 1, now_s)

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]

    def count(self, address: str) -> int:
        """Returns how many messages this address got, of all versions."""
        return sum(count for _, _, one, count, _, _ in self if one == address)

    def counts(self) -> dict[str, int]:
        """Returns the numbers of messages, of addresses by version, and of addresses that got a version repeatedly."""
        addresses = sum(len(first) for first in self._first.values())
        return {"total": self.total, "addresses": addresses, "doubled": len(self._repeats)}

    def __iter__(self) -> Iterator[tuple[str, str, str, int, float, float]]:
        """Yields chain, version, address, count, first and last time."""
        for (chain, version), first in list(self._first.items()):
            for address, first_s in list(first.items()):
                repeat = self._repeats.get((chain, version, address)) or Repeat(1, first_s)
                yield chain, version, address, repeat.count, first_s, repeat.last_s

    def ndjson(self) -> Iterator[bytes]:
        """Yields the record as NDJSON, in pieces of up to 500 lines."""
        names = ("chain", "version", "address", "count", "first_s", "last_s")
        piece: list[str] = []
        for row in self:
            piece.append(json.dumps(dict(zip(names, row, strict=True))))
            if len(piece) == 500:
                yield ("\n".join(piece) + "\n").encode()
                piece.clear()
        if piece:
            yield ("\n".join(piece) + "\n").encode()


HTML = Reply(200, b"<html><body>Please sign in</body></html>", kind=b"text/html")

# Behaviours of all HTTP carriers besides refusals: `html` answers with a page; `stall` records nothing and disconnects
# after `delay_s`; `slow` records the message and answers after `delay_s`; `reset` records it and disconnects; `half`
# records it and disconnects in the middle of the answer. Over HTTP/1.1 the connection ends, over HTTP/2 only the
# stream.
FAULTS = frozenset({"html", "stall", "slow", "reset", "half"})


def misbehaved(rule: Rule, refusals: Mapping[str, tuple[int, bytes]], accept: Callable[[], Reply]) -> Answer:
    """Returns the answer to a message to which a rule applies. `refusals` are the carrier's own answers (status and
    body), by behaviour. `accept` records the message and returns the regular answer.
    """
    if rule.do in refusals:
        wait = b"" if rule.retry_after_s is None else b"Retry-After: %d\r\n" % rule.retry_after_s
        return Reply(*refusals[rule.do], headers=wait)
    match rule.do:
        case "html":
            return HTML
        case "stall":
            return Late(None, rule.delay_s)
        case "slow":
            return Late(accept(), rule.delay_s)
        case "half":
            return Half(accept())
    accept()
    return RESET
