"""Log events are names of one table: operators filter and raise alarms by them, so none is made up at a call."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from types import ModuleType

from alertd.common.log_events import EVENTS, EVENTS_BY_SUBJECT, LIBRARY_LOGGED
from tests.pages import ROOT

NAME = re.compile(r"^[a-z_]+\.[a-z_]+$")
MOST_WORDS = 20
#: What every line has; a member of this name would replace it.
TAKEN = {"event", "message", "level", "at", "logger"}
LOGGERS = {"get_logger", "getLogger"}


def calls(reference: ModuleType) -> Iterator[tuple[str, str | None, str, list[str]]]:
    """File, event, level and members of each log call of the program."""
    for path in reference.log_sources():
        for event, level, members in reference.log_calls(ast.parse(path.read_text(encoding="utf-8"))):
            yield str(path.relative_to(ROOT)), event, level, members


def test_every_event_is_a_name_of_the_table(reference: ModuleType):
    """Written out at its call: a name that is put together cannot be found, and one that is missing has no sentence."""
    found = list(calls(reference))
    assert len(found) > 100
    assert [(file, event) for file, event, _, _ in found if event not in EVENTS] == []


def test_every_name_of_the_table_is_logged(reference: ModuleType):
    """An alarm on a name that no call logs never rings."""
    logged = {event for _, event, _, _ in calls(reference)}
    assert sorted(EVENTS.keys() - logged - {LIBRARY_LOGGED}) == []


def test_names_are_a_subject_and_a_verb():
    assert [name for name in EVENTS if not NAME.match(name)] == []
    assert len(EVENTS) == sum(map(len, EVENTS_BY_SUBJECT.values())), "a name has one subject"


def test_sentences_are_short_and_say_what_to_do(reference: ModuleType):
    """A warning or an error says after a colon what to do; who is woken by it need not look the name up."""
    assert [name for name, text in EVENTS.items() if len(text.split()) > MOST_WORDS or not text.endswith(".")] == []
    grave = {event for _, event, level, _ in calls(reference) if level not in {"debug", "info"}} | {LIBRARY_LOGGED}
    assert sorted(name for name in grave if ": " not in EVENTS[name]) == []


def test_sentences_point_to_members_that_their_lines_have(reference: ModuleType):
    """A sentence quotes a member of the line, or an option."""
    members: dict[str, set[str]] = {LIBRARY_LOGGED: {"logger", "message"}}
    for _, event, _, words in calls(reference):
        members.setdefault(event or "", set()).update(words)
    options = set(
        re.findall(r"^#?([a-z_]+) = ", (ROOT / "ops" / "alertd.toml").read_text(encoding="utf-8"), re.MULTILINE)
    )
    unknown = {
        (name, quoted)
        for name, text in EVENTS.items()
        for quoted in re.findall("`([^`]+)`", text)
        if quoted not in members[name] and quoted.rpartition(".")[2] not in options | {"maxmemory"}
    }
    assert unknown == set()


def test_no_member_replaces_what_every_line_has(reference: ModuleType):
    assert [(file, event) for file, event, _, members in calls(reference) if TAKEN & set(members)] == []


def test_no_log_call_is_hidden_from_these_tests(reference: ModuleType):
    """A logger is called at once, or has a name that ends with `log`; the channels' members are written out."""
    hidden = []
    for path in reference.log_sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LOGGERS:
                user = parents[node]
                is_called = isinstance(user, ast.Attribute) and user.attr in reference.LEVELS
                is_named = isinstance(user, ast.Assign) and ast.unparse(user.targets[0]).endswith("log")
                if not (is_called or is_named):
                    hidden.append((path.name, node.lineno))
            if isinstance(node, ast.keyword) and node.arg == "extra" and not isinstance(node.value, ast.Dict):
                call = parents[node]
                if (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr in reference.LEVELS
                ):
                    hidden.append((path.name, node.value.lineno))
    assert hidden == []
