"""Answers are told so that people can read them, programs can cut them and a terminal is not steered by them."""

from __future__ import annotations

import io
import json

import pytest

from alertd.commands.base.options import address_of
from alertd.commands.base.output import estimated, harmless, people_of, shown, tell_facts, tell_json, tell_table
from alertd.config.sections import ApiSection
from alertd.config.settings import Settings


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ""), (True, "yes"), (False, "no"), (0, "0"), (1234567, "1,234,567"), ("<20", "<20"), (0.5, "0.5"),
        (["es", "en"], "es, en"), ({"push": 12, "sms": "<20", "mail": None}, "push 12, sms <20"),
        ([{"n": 0}, {"n": 1}], "n 0; n 1"),
    ],
)  # fmt: skip
def test_values_are_told_in_words(value: object, words: str):
    """Counts have separators, yes and no are words, and what is not there is not told."""
    assert shown(value) == words


def test_a_count_before_an_approval_is_called_an_estimate():
    """An estimate is never printed as if it were exact, nor an exact count as an estimate."""
    assert (estimated(1200), estimated("<100")) == ("about 1,200", "fewer than 100")
    assert people_of({"exact": False, "people": 480}) == "about 480"
    assert [people_of({"exact": True, "people": count}) for count in (475, "<20")] == ["475", "<20"]


def test_terminal_is_not_steered():
    """Escapes that someone put into a name arrive as nothing."""
    assert harmless("\x1b[2J\x07Lucía\u202e لوسيا\n") == "[2JLucía لوسيا\n"
    assert harmless("10:18\N{NO-BREAK SPACE}UTC, 1\N{NARROW NO-BREAK SPACE}000") == "10:18 UTC, 1 000"


def test_rows_are_lines(capsys: pytest.CaptureFixture[str]):
    """Off a terminal nothing is wrapped or filled up, and brackets are text."""
    tell_table(("code", "name"), [("41091", "[red]Sevilla[/red] " + "x" * 300), ("1", "")])
    tell_facts({"id": "a", "places": {}, "n": 0})
    assert capsys.readouterr().out.splitlines() == [
        "code   name", "41091  [red]Sevilla[/red] " + "x" * 300, "1", "id  a", "n   0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:9000"), ("::", "http://127.0.0.1:9000"), ("::1", "http://[::1]:9000"), ("a.example", "http://a.example:9000")],
)  # fmt: skip
def test_service_is_found_where_its_settings_say(host: str, url: str):
    """A service that listens everywhere is found here."""
    assert address_of(Settings(api=ApiSection(host=host, port=9000))) == url


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", '"Lucía\\u009b2J\\u202eلوسيا"'),
        ("latin-1", '"Luc\\u00eda\\u009b2J\\u202e\\u0644\\u0648\\u0633\\u064a\\u0627"'),
    ],
)
def test_json_steers_no_terminal_and_loses_no_letter(monkeypatch: pytest.MonkeyPatch, encoding: str, said: str):
    """What a terminal would take for a command is escaped, in an output that has few letters all others, too; it reads the same."""
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding=encoding, errors="replace"))
    name = "Lucía\x9b2J\u202eلوسيا"
    tell_json(name)
    assert written.getvalue().decode(encoding) == said + "\n"
    assert json.loads(written.getvalue().decode(encoding)) == name
