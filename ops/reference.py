"""Writes the reference pages in ops/docs/reference from the program itself: options, commands, calls, problem types, states, metrics, log events.

.venv/bin/python ops/reference.py           writes the pages
.venv/bin/python ops/reference.py --check   writes nothing, and ends with 1 if a page is out of date
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from typer.core import TyperGroup

from alertd import cli
from alertd.api.application import OPERATIONS
from alertd.api.docs.openapi import groups
from alertd.common.errors import CATALOGUE
from alertd.common.log_events import EVENTS_BY_SUBJECT, LIBRARY_LOGGED
from alertd.metrics import Metrics, fleet_text
from alertd.model.states import ALERT_STEPS, STEPS, AlertState, LedgerReason, State
from alertd.service.carriers.states import CarrierState
from channels.base import Reason

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "ops" / "docs" / "reference"
NOTE = "`ops/reference.py` writes this page. Do not edit it.\n"

ALERT_STATES = {
    AlertState.DRAFT: "stored, not submitted",
    AlertState.PENDING: "waits for a second person",
    AlertState.RETURNED: "the second person gave it back to its author",
    AlertState.REJECTED: "the second person refused it; it is never sent",
    AlertState.APPROVED: "the audience is frozen; sending starts",
    AlertState.SCHEDULED: "approved; it starts later",
    AlertState.SENDING: "messages are on their way",
    AlertState.SENT: "no message is left to send",
    AlertState.STOOD_DOWN: "hidden; it can be reopened",
    AlertState.CLOSED: "over: a person ended it",
    AlertState.CANCELLED: "over: the alert was wrong",
    AlertState.SUPERSEDED: "a later version replaced it",
    AlertState.EXPIRED: "over: its expiry passed",
    AlertState.PURGED: "the key of its case was destroyed",
}
LEDGER_STATES = {
    State.QUEUED: "waits for a worker",
    State.IN_FLIGHT: "a worker is sending it",
    State.ACCEPTED: "the carrier took it",
    State.DELIVERED: "a report says that it arrived",
    State.FAILED: "the carrier refused it, or a report says that it did not arrive",
    State.EXPIRED: "the alert ended before it was sent",
    State.CANCELLED: "the alert was cancelled, closed or replaced before it was sent",
    State.SUPPRESSED: "not sent on purpose: opted out, no address, or not needed",
    State.UNKNOWN: "sent without an answer of the carrier: it may have arrived",
}
LEDGER_REASONS = {
    LedgerReason.ADDRESS_REMOVED: "the address was removed between planning and sending",
    LedgerReason.OPTED_OUT: "the person left all alerts or those of this kind, or withdrew the consent",
    LedgerReason.ATTEMPTS: "it may have arrived, and alertd does not retry any more",
    LedgerReason.GATE_CLOSED: "the alert was cancelled, closed or expired while the message waited",
    LedgerReason.WORKER_LOST: "the worker stopped answering during the attempt",
    LedgerReason.LEFT_BLANK: "alertd cannot make the message for this address",
    LedgerReason.UNREADABLE: "the subscriber's record is damaged, or of another version",
    LedgerReason.SEEN: "delivered, and opened",
    LedgerReason.RESENT: "an operator queued it again",
    LedgerReason.SUPERSEDED: "an update replaces it",
    LedgerReason.PUT_BACK: "the store was restored from a backup: the later result is lost",
    LedgerReason.LEFT: "delivered, and its reader unsubscribed",
    LedgerReason.ACKNOWLEDGED: "the phone acknowledged the push, so no SMS is needed",
    LedgerReason.OVER_BUDGET: "waits for the SMS budget",
    LedgerReason.QUIET_HOURS: "waits for the end of quiet hours, or the alert ended meanwhile",
}


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(one) for one in line) + " |" for line in lines) + "\n"


def names(items: Iterable[str]) -> str:
    return ", ".join(f"`{item}`" for item in items)


# Configuration


def options_of(text: str) -> Iterator[tuple[str, str, list[tuple[str, str, str]]]]:
    """Each table of the sample file: its name, its comment, and its options (name, value, comment)."""
    name, about, rows, above = "", "", list[tuple[str, str, str]](), list[str]()
    for line in text.splitlines():
        if found := re.match(r"^#?\[([\w.]+)\]\s*(?:#\s*(.*))?$", line):
            yield name, about, rows
            name, about, rows, above = found[1], " ".join([*above, found[2] or ""]).strip(), [], []
        elif found := re.match(r"^(#?)([a-z_]+) = (.*)$", line):
            value, comment = split_value(found[3])
            if not rows and above and not comment:
                comment, above = " ".join(above), []
            elif not rows and above and not about:
                about, above = " ".join(above), []
            if not (above or comment):
                comment = "see above"
            rows.append((found[2], f"unset, such as `{value}`" if found[1] and name[:8] != "carriers" else f"`{value}`",
                         " ".join([*above, comment]).strip()))  # fmt: skip
            above = []
        elif found := re.match(r"^#\s+(.*)$", line):
            above.append(found[1])
        elif not line.strip() and not rows and above:
            about, above = " ".join([about, *above]).strip(), []
    yield name, about, rows


def split_value(text: str) -> tuple[str, str]:
    """A value of TOML, and the comment behind it."""
    for place in [found.start() for found in re.finditer(r"#", text)] + [len(text)]:
        try:
            tomllib.loads(f"x = {text[:place]}")
        except tomllib.TOMLDecodeError:
            continue
        return text[:place].strip(), text[place:].lstrip("# ").strip()
    raise ValueError(text)


def configuration() -> str:
    text = (ROOT / "ops" / "alertd.toml").read_text(encoding="utf-8")
    parts = [
        "# Configuration options\n",
        NOTE,
        (
            "[alertd.toml](../../alertd.toml) has the same options in a file that works. A variable overrides the file: `ALERTD_API__PORT=9000` is `port` of `[api]`."
            " Add `_file` to the name of a secret to read it from a file. alertd refuses an unknown option, and names the nearest one.\n"
        ),
    ]
    for name, about, rows in options_of(text):
        if not rows:
            continue
        parts.append(f"## {name or 'Top level'}\n")
        if about and name:
            parts.append(f"{about}\n")
        value = "example" if name.startswith("carriers") else "default"
        parts.append(table(["option", value, "meaning"], [(f"`{one}`", shown, why) for one, shown, why in rows]))
    return "\n".join(parts)


# Commands

COMMON = {
    "`--config`": "the TOML file of the configuration, see [Configuration options](configuration.md)",
    "`--url`": "the address of the service; by default that of the configuration",
    "`--key-file`": "a file with your key; without it, the variable `ALERTD_KEY`",
    "`--json`": "print JSON; every command has it, except those that run until you stop them, and `completion`",
    "`--help`": "show the arguments and options",
}
NAMED = {name.strip("`") for name in COMMON}


def commands_of(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(command, TyperGroup):
        yield words, command
        return
    context = typer.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None and not found.hidden:
            yield from commands_of(found, f"{words} {name}".strip())


def command_line() -> str:
    parts = ["# Command line\n", NOTE, "[Use the command line](../start/command-line.md) shows examples.\n"]
    parts += ["## Options of every command\n", table(["option", "meaning"], COMMON.items())]
    for words, command in commands_of(typer.main.get_command(cli.app), "alertd"):
        parts.append(f"## {words}\n")
        parts.append(" ".join((command.help or "").split("\f")[0].split()) + "\n")
        rows = []
        for one in command.params:
            if one.name == "help" or getattr(one, "hidden", False):
                continue
            if "".join(one.opts[:1]) in NAMED:
                continue
            shown = (
                names([*one.opts, *one.secondary_opts]) if one.param_type_name == "option" else f"`{one.name.upper()}`"
            )
            rows.append((shown, "yes" if one.required else "", getattr(one, "help", None) or ""))
        if rows:
            parts.append(table(["argument or option", "required", "meaning"], rows))
    return "\n".join(parts)


# The API


def api() -> str:
    parts = [
        "# API\n",
        NOTE,
        (
            "`/docs` of a running alertd describes each call with its fields, examples and answers. `/openapi.json` is the same for programs. [Use the API](../use/index.md) shows the calls in order."
            " Every call may also answer the [problems](problems.md) of its form: authentication, an unknown id, an old version, size and the store.\n"
        ),
    ]
    by_id = {one.id: one for one in OPERATIONS}
    for name, group in groups().items():
        parts += [f"## {name}\n", group["description"] + "\n"]
        rows = []
        for one in map(by_id.__getitem__, group["operations"]):
            path = re.sub(r"\{(\w+):.*?\}(?=/|$|\.)", r"{\1}", one.path)
            scopes = [scope for scope in (one.scope, one.or_scope) if scope]
            rows.append((f"`{one.method} {path}`", one.summary, " or ".join(f"`{scope}`" for scope in scopes) or "no key",
                         names(sorted(one.problems))))  # fmt: skip
        if rows:
            parts.append(table(["call", "purpose", "scope", "problems"], rows))
    return "\n".join(parts)


def problems() -> str:
    rows = [(f"`{slug}`", str(one.status), one.title, one.remedy) for slug, one in sorted(CATALOGUE.items())]
    return "\n".join(
        [
            "# Problem types\n",
            NOTE,
            (
                "alertd answers a refusal as `application/problem+json` (RFC 9457). `type` is `/problems/` and the slug. Match the slug, never the text: slugs do not change."
                " `errors` lists each fault with a JSON pointer.\n"
            ),
            table(["slug", "status", "title", "remedy"], rows),
        ]
    )


# States


def states() -> str:
    def follow(steps: Any, one: Any, word: Callable[[Any], str]) -> str:
        return names(sorted(word(other) for other in steps[one])) or "none"

    alert = [
        (f"`{one.value}`", ALERT_STATES[one], follow(ALERT_STEPS, one, lambda other: other.value)) for one in AlertState
    ]
    ledger = [(f"`{one.word}`", LEDGER_STATES[one], follow(STEPS, one, lambda other: other.word)) for one in State]
    reasons = [(f"`{one.name.lower()}`", LEDGER_REASONS[one]) for one in LedgerReason]
    return "\n".join(
        [
            "# States of alerts and messages\n",
            NOTE,
            "## Alerts\n",
            table(["state", "meaning", "can become"], alert),
            "## Messages in the ledger\n",
            table(["state", "meaning", "can become"], ledger),
            "## Reasons in the ledger\n",
            f"Reasons of carriers: {names(one.name.lower() for one in Reason)}. Reasons of alertd:\n",
            table(["reason", "meaning"], reasons),
        ]
    )


# Metrics and logs


def metrics() -> str:
    own = [one for one in vars(Metrics()).values() if isinstance(one, MetricWrapperBase)]
    rows = {}
    for one in own:
        for each in one.collect():
            name = each.name + ("_total" if each.type == "counter" else "")
            rows[name] = (each.type, "`/metrics`", names(one._labelnames), each.documentation)  # noqa: SLF001
    whole = fleet_text(
        {}, {}, {}, {"fcm": CarrierState("push", "works", rests=False)}, {"push": True}, {"master": 0},
        subscribers=0, pending_oldest_s=0.0, webhooks_off=0, reviews_pending=0, takedowns_open=0, takedowns_refused=0,
    ).whole.decode()  # fmt: skip
    for each in text_string_to_metric_families(whole):
        rows[each.name] = (each.type, "`/metrics/fleet`", names(sorted(each.samples[0].labels)), each.documentation)
    lines = [(f"`{name}`", *row) for name, row in sorted(rows.items())]
    return "\n".join(
        [
            "# Metrics\n",
            NOTE,
            "`/metrics` shows a process and its workers, and `/metrics/fleet` shows all processes: [Scrape the metrics](../use/metrics.md).\n",
            table(["metric", "type", "path", "labels", "meaning"], lines),
        ]
    )


LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def log_calls(tree: ast.AST) -> Iterator[tuple[str | None, str, list[str]]]:
    """Event, level and members of each call of a log. The event is None if it is no literal."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.func.attr not in LEVELS:
            continue
        if not ast.unparse(node.func.value).rpartition(".")[2].strip("_()").endswith(("log", "logger")):
            continue
        first = node.args[0] if node.args else None
        options = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
        level = {"exception": "error"}.get(node.func.attr, node.func.attr)
        members = list[str]()
        for word in node.keywords:
            if word.arg == "extra" and isinstance(word.value, ast.Dict):
                members += [str(key.value) for key in word.value.keys if isinstance(key, ast.Constant)]
            elif word.arg == "exc_info":
                members += ["error", "places"]
            elif word.arg:
                members.append(word.arg)
        if node.func.attr == "exception":
            members += ["error", "places"]
        for option in options:
            event = option.value if isinstance(option, ast.Constant) else None
            yield event if isinstance(event, str) else None, level, members


def log_sources() -> Iterator[Path]:
    """The modules whose log calls name events of the table."""
    for folder in ("alertd", "channels", "geofences"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def log_events() -> str:
    levels, members = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for path in log_sources():
        for event, level, words in log_calls(ast.parse(path.read_text(encoding="utf-8"))):
            if event is not None:
                levels[event].add(level)
                members[event] |= set(words)
    levels[LIBRARY_LOGGED], members[LIBRARY_LOGGED] = {"warning", "error"}, {"logger", "error", "places"}
    parts = [
        "# Log events\n",
        NOTE,
        (
            "alertd writes one JSON object a line to stderr. Each has `event`, `level` and `at`, and `message` with the meaning below."
            ' Filter and raise alarms by `event`: names do not change, and sentences may. The part before the dot is the subject: `"event": "carrier.` finds the lines about carriers.'
            " The members below may be missing if they do not apply; a line of a request also has `request_id`."
            " No line holds a name, number, token or mailbox.\n"
        ),
    ]
    for subject, events in EVENTS_BY_SUBJECT.items():
        rows = [
            (f"`{one}`", ", ".join(sorted(levels[one])), text, names(sorted(members[one])))
            for one, text in events.items()
        ]
        parts += [f"## {subject}\n", table(["event", "level", "meaning", "members"], rows)]
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "configuration": configuration,
    "cli": command_line,
    "api": api,
    "problems": problems,
    "states": states,
    "metrics": metrics,
    "log-events": log_events,
}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or say which are out of date."""
    old = []
    for name, page in PAGES.items():
        path = FOLDER / f"{name}.md"
        text = page().rstrip() + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        old.append(path.relative_to(ROOT))
        if "--check" not in arguments:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in old:
        print("out of date:" if "--check" in arguments else "written:", path)
    return 1 if old and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
