"""The scripts: one `.lua` file each, loaded with a prelude made from the same tables Python uses.

A script sees the tables of `_tables` (`S` has the states of references, `R` the ledger's reasons, `K` a chain's suffixes of keys) and the functions of
`prelude.lua`. Time comes from the server; `skew` is 0 in production and the fake clock in tests.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alertd.model import kinds, states
from alertd.store.engine import keys

LEASE_MS = 3_000  # a worker that is silent this long has lost its work; its heart beats every second
#: Longer than this between two looks at a chain's clock is no silence of one worker: they all slept, or the store did.
GAP_MS = LEASE_MS // 2
#: Attempts whose worker went silent may still be answered by it; for so long an alert is not yet sent.
LOST_MS = 5 * LEASE_MS
#: What is handed over of an alert is told at these percentages.
MARKS = (50, 90, 100)
#: Of an alert of which nothing got its end for so long, although something is due, it is told that it stalls.
STALLED_MS = 60_000
#: Late reports are told of together, so long after the first of them.
RECEIPTS_MS = 60_000
#: Scripts that bring what is new. A server that is full refuses these alone: what is sent goes on, and what is stopped, cancelled and forgotten
#: is so; that way it gets room again.
BRINGING = frozenset({"create", "draw", "media_put", "plan", "ready"})
#: With these words a script runs on a server that is full (Valkey, "Lua API reference", script flags). Not before it is: a server that lacks its
#: replica would refuse such a one whole, what only reads, too.
_ALTHOUGH_FULL = "#!lua flags=allow-oom\n"
#: Any plain command; the key that it is about is named besides.
_PLAIN = f"{_ALTHOUGH_FULL}return redis.call(unpack(ARGV))"
#: States in which a row may still learn what its last attempt came to.
_ANSWERABLE = [state for state, steps in states.STEPS.items() if states.State.ACCEPTED in steps]
#: The names that a piece makes: those of its lines that are not indented.
_LOCAL = re.compile(r"^local (?:function )?(\w+(?:, \w+)*)", re.MULTILINE)
_WORD = re.compile(r"\w+")
_FOLDER = Path(__file__).parents[1]
#: The scripts that were asked for, by their texts and by the names that the server knows them by.
_MADE: dict[str, Script] = {}


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and the name the server knows it by."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The script of `<name>.lua` with its prelude."""
    text = _files()[name].read_text(encoding="utf-8")
    used = set(_WORD.findall(text))
    for makes, words, piece in reversed(_shared()):
        if makes & used:
            text, used = f"{piece}\n{text}", used | words
    made = Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
    _MADE[made.sha] = _MADE[made.text] = made
    return made


def in_full(command: Sequence[Any]) -> Sequence[Any]:
    """The call of a script with its text in place of the name that a server knows it by. Any other command as it is."""
    return ("EVAL", _MADE[command[1]].text, *command[2:]) if command[0] == "EVALSHA" else command


def when_full(command: Sequence[Any]) -> Sequence[Any]:
    """What a server refused because it is full, as it takes it then; what brings something new as it is. A script, given `in_full`, that was
    refused for that has written nothing.
    """
    name, *rest = command
    if name != "EVAL":
        return "EVAL", _PLAIN, 1, rest[0], *command
    return command if _MADE[rest[0]].name in BRINGING else ("EVAL", _ALTHOUGH_FULL + rest[0], *rest[1:])


@cache
def _shared() -> list[tuple[set[str], set[str], str]]:
    """What scripts share, in pieces, each with the names that it makes and all that are in it: a script is given what it uses, for the server makes all of it
    anew at each call.
    """
    pieces = [*_tables(), *_files()["prelude"].read_text(encoding="utf-8").split("\n\n")]
    return [(set(_WORD.findall(" ".join(_LOCAL.findall(piece)))), set(_WORD.findall(piece)), piece) for piece in pieces]


@cache
def _files() -> dict[str, Path]:
    """Each script by its name; it lies beside the module that runs it."""
    return {file.stem: file for file in _FOLDER.rglob("*.lua")}


def _tables() -> list[str]:
    becomes = {str(state): states.State[word.upper()] for state, word in states.QUEUED_BECOMES.items()}
    return [
        _table("S", {state.name.lower(): int(state) for state in states.State}),
        _table("R", {reason.name.lower(): int(reason) for reason in states.LedgerReason}),
        _table("K", keys.CHAIN_SUFFIXES),
        _table("KNOWN", dict.fromkeys(map(str, states.KNOWN), True)),
        _table("UNDECIDED", dict.fromkeys(map(str, states.UNDECIDED), True)),
        _table("ASKABLE", dict.fromkeys(map(str, states.ASKABLE), True)),
        _table("OPEN", {str(state): True for state in states.OPEN_STATES}),
        _table("QUEUED_BECOMES", {name: int(state) for name, state in becomes.items()}),
        f"local ATTEMPTS, DELAYED, DOUBT = {states.ATTEMPTS_MASK}, {states.FLAG_DELAYED}, {states.FLAG_DOUBT}",
        f"local UNSENT = {states.FLAG_UNSENT}",
        f"local LEASE_MS, GAP_MS, LOST_MS = {LEASE_MS}, {GAP_MS}, {LOST_MS}",
        f"local MARKS, STALLED_MS, RECEIPTS_MS = {{{', '.join(map(str, MARKS))}}}, {STALLED_MS}, {RECEIPTS_MS}",
        "local ANSWERABLE = {" + ", ".join(f"[{int(s)}] = true" for s in _ANSWERABLE) + "}",
        _table("ON_SCREEN", dict.fromkeys(map(str, kinds.ON_SCREEN), True)),
        "local HELD_FOR = {" + ", ".join(f"[{int(r)}] = true" for r in sorted(states.HELD_FOR)) + "}",
        f"local OWN_REASONS = {int(states.OWN_REASONS)}",
        "local WORD = {" + ", ".join(f"[{int(s)}] = '{s.word}'" for s in states.State) + "}",
    ]


def _table(name: str, values: Mapping[str, str | int | bool]) -> str:
    def lua(value: str | int | bool) -> str:
        return str(value).lower() if isinstance(value, bool) else repr(value)

    return f"local {name} = {{" + ", ".join(f"['{key}'] = {lua(value)}" for key, value in sorted(values.items())) + "}"
