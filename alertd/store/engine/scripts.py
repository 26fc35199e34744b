"""The Lua scripts of the store, one `.lua` file each. Each is sent with the parts of a prelude that it uses.

The prelude consists of tables made from Python constants (`_tables`: `S` has the states of references, `R` the ledger's reasons, `K` a
chain's suffixes of keys) and of the functions in `prelude.lua`. Scripts read the server's time; `skew` (ms) is added to it: 0 in
production, the fake clock in tests.
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

LEASE_MS = 3_000  # ms; a worker renews its leases every second and loses them after this silence
#: If no worker read an alert's clock for longer than this (ms), not one worker was silent but all workers, or the store.
GAP_MS = LEASE_MS // 2
#: A worker that went silent may still report its attempts for this long (ms). Until then the alert does not become
#: sent.
LOST_MS = 5 * LEASE_MS
#: An event reports the progress of an alert when each of these percentages of its messages has been handled.
MARKS = (50, 90, 100)
#: An event reports that an alert stalls if no message was handled for this long (ms) although some are due.
STALLED_MS = 60_000
#: One event announces an alert's late reports together, this long (ms) after the first of them.
RECEIPTS_MS = 60_000
#: Scripts that add new data. A full server refuses only these. Sending, stopping, cancelling and deleting continue,
#: which frees memory again.
BRINGING = frozenset({"create", "draw", "media_put", "plan", "ready"})
#: First line of a script that a server runs although its memory is full (Valkey, "Lua API reference", script flags). Used only once a
#: server is full: a server that lacks its replica would refuse such a script as a whole, even if the script only reads.
_ALTHOUGH_FULL = "#!lua flags=allow-oom\n"
#: Script that runs the plain command in its ARGV. The command's key is also passed in KEYS.
_PLAIN = f"{_ALTHOUGH_FULL}return redis.call(unpack(ARGV))"
#: Row states in which the outcome of the last attempt may still be reported.
_ANSWERABLE = [state for state, steps in states.STEPS.items() if states.State.ACCEPTED in steps]
#: Matches the names that a piece of Lua defines: those of its `local` lines that are not indented.
_LOCAL = re.compile(r"^local (?:function )?(\w+(?:, \w+)*)", re.MULTILINE)
_WORD = re.compile(r"\w+")
_FOLDER = Path(__file__).parents[1]
#: The scripts that were requested, by text and by SHA-1.
_MADE: dict[str, Script] = {}


@dataclass(frozen=True, slots=True)
class Script:
    """A script's file name, its text with the prelude, and the SHA-1 by which the server knows it."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Returns the script in `<name>.lua`, with the parts of the prelude that it uses."""
    text = _files()[name].read_text(encoding="utf-8")
    used = set(_WORD.findall(text))
    for makes, words, piece in reversed(_shared()):
        if makes & used:
            text, used = f"{piece}\n{text}", used | words
    made = Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
    _MADE[made.sha] = _MADE[made.text] = made
    return made


def in_full(command: Sequence[Any]) -> Sequence[Any]:
    """Returns an EVALSHA command as EVAL, with the script's text in place of its SHA-1. Returns any other command unchanged."""
    return ("EVAL", _MADE[command[1]].text, *command[2:]) if command[0] == "EVALSHA" else command


def when_full(command: Sequence[Any]) -> Sequence[Any]:
    """Returns a command that a full server refused, in a form that it runs (`_ALTHOUGH_FULL`); the call of a script in BRINGING unchanged,
    because it adds data. A call of a script must be in the form of `in_full`. A refused script has written nothing.
    """
    name, *rest = command
    if name != "EVAL":
        return "EVAL", _PLAIN, 1, rest[0], *command
    return command if _MADE[rest[0]].name in BRINGING else ("EVAL", _ALTHOUGH_FULL + rest[0], *rest[1:])


@cache
def _shared() -> list[tuple[set[str], set[str], str]]:
    """Returns the pieces of the prelude, each with the names that it defines, all words in it, and its text. A script gets only the pieces
    that it uses, because the server evaluates all of them at each call.
    """
    pieces = [*_tables(), *_files()["prelude"].read_text(encoding="utf-8").split("\n\n")]
    return [(set(_WORD.findall(" ".join(_LOCAL.findall(piece)))), set(_WORD.findall(piece)), piece) for piece in pieces]


@cache
def _files() -> dict[str, Path]:
    """Returns the path of each `.lua` file by script name. A script lies in the folder of the module that runs it."""
    return {file.stem: file for file in _FOLDER.rglob("*.lua")}


def _tables() -> list[str]:
    """Returns the first pieces of the prelude: Lua lines that define tables and numbers from Python constants."""
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
    """Returns a Lua line that defines a table of this name."""

    def lua(value: str | int | bool) -> str:
        """Returns a Python value as Lua writes it."""
        return str(value).lower() if isinstance(value, bool) else repr(value)

    return f"local {name} = {{" + ", ".join(f"['{key}'] = {lua(value)}" for key, value in sorted(values.items())) + "}"
