"""What the service refused, in words: the one place where a problem (RFC 9457) becomes text."""

from __future__ import annotations

import http
import json
import shlex
import urllib.error
from collections.abc import Mapping
from typing import Any

#: What is told in words of its own, or is no news; the other members of a problem are told by their names.
_SAID = frozenset({"type", "title", "status", "detail", "instance", "errors", "what_to_do", "request_id"})


def explained(status: int, problem: Mapping[str, Any]) -> str:
    """A problem (RFC 9457) as lines for people: title, detail, each fault with its place, what to do."""
    if not slug(problem):
        return f"the service answered {status}, which is not alertd's way; ALERTD_URL names its address"
    lines = [f"{problem.get('title')} ({slug(problem)}): {problem.get('detail')}"]
    lines += [f"  {place(fault)}: {fault.get('detail', '')}" for fault in problem.get("errors", ())]
    lines += [
        f"  {name}: {value}" for name, value in problem.items() if name not in _SAID and isinstance(value, str | int)
    ]
    if remedy := _remedy(problem):
        lines.append(f"  What to do: {remedy}")
    if status == http.HTTPStatus.UNAUTHORIZED:
        lines.append(
            "  Put your key into ALERTD_KEY. The first `alertd serve` says where the first one is; of a lost one see `alertd keys recover`."
        )
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR and problem.get("request_id"):
        lines.append(f"  Request: {problem['request_id']}")
    return "\n".join(lines)


def _remedy(problem: Mapping[str, Any]) -> str | None:
    """What the service says that is to be done, or how it is done here."""
    if slug(problem) == "audience-changed" and "now" in problem:
        return f"Look at it again, then approve it with --people {shlex.quote(str(problem['now']))}."
    return problem.get("what_to_do")


def place(fault: Mapping[str, Any]) -> str:
    """Where a fault is: a JSON pointer, or the name of a parameter; of XML with its line."""
    named = str(fault.get("parameter") or fault.get("pointer") or "the whole")
    return f"line {fault['line']}, {named}" if "line" in fault else named


def slug(problem: Mapping[str, Any]) -> str:
    """Which of the catalogue's problems it is; empty if it is none."""
    return str(problem.get("type", "")).rpartition("/")[2]


def read_refusal(refusal: urllib.error.HTTPError) -> tuple[int, dict[str, Any], float | None]:
    """Status, problem (empty if it is none) and the seconds of Retry-After."""
    with refusal:
        raw = refusal.read()
    try:
        problem = json.loads(raw)
    except ValueError:
        problem = None
    after = refusal.headers.get("Retry-After", "")
    return refusal.code, problem if isinstance(problem, dict) else {}, float(after) if after.isdecimal() else None
