"""How carriers that speak HTTP misbehave when they are told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from channels.sandbox.http_wire import RESET, Answer, Half, Late, Reply
from channels.sandbox.script import Rule

HTML = Reply(200, b"<html><body>Please sign in</body></html>", kind=b"text/html")

# Besides refusing: `html` answers a page, `stall` nothing for `delay_s` and then cuts, `slow` accepts and answers after
# `delay_s`, `reset` takes the message and cuts, `half` cuts in the middle of its answer. What is cut is the connection over HTTP/1.1,
# and over HTTP/2 the message's own stream.
FAULTS = frozenset({"html", "stall", "slow", "reset", "half"})


def misbehaved(rule: Rule, refusals: Mapping[str, tuple[int, bytes]], accept: Callable[[], Reply]) -> Answer:
    """The answer to a message. `refusals` are a carrier's own words, each with status and body; `accept` records the message."""
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
