"""Files of people: each row of a spreadsheet is the registration that its columns say, and no row is taken for another."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertd.commands.base.people_files import CsvError, csv_lines, ndjson_lines, registration_of

cells = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda t: t == t.strip() != "")


def read(text: str) -> list[tuple[int, dict]]:
    return [(number, json.loads(line)) for number, line in csv_lines(text.encode().splitlines(keepends=True))]


def test_row_becomes_a_registration():
    """Every column has its member, several values are parted, and empty cells say nothing."""
    row = {
        "id": "a", "languages": "es | en", "kinds": "missing-child;general", "time_zone": "", "tester": "yes",
        "push": "tok:en", "sms": "+34600112233; +34600112244", "mail": " a@b.example ", "home.lon": "-5.98", "home.lat": "37.39",
        "home.accuracy_m": "50", "school.region": "41091", "consent.at": "2026-01-10T12:00:00Z", "consent.purposes": "alerts",
    }  # fmt: skip
    assert registration_of(row) == {
        "id": "a",
        "languages": ["es", "en"],
        "kinds": ["missing-child", "general"],
        "tester": True,
        "places": {"home": {"point": [-5.98, 37.39], "accuracy_m": 50.0}, "school": {"region": "41091"}},
        "addresses": [
            {"channel": "push", "token": "tok:en"},
            {"channel": "sms", "number": "+34600112233"},
            {"channel": "sms", "number": "+34600112244"},
            {"channel": "mail", "mailbox": "a@b.example"},
        ],
        "consent": {"at": "2026-01-10T12:00:00Z", "purposes": ["alerts"]},
    }


def test_a_row_says_what_there_are_columns_for():
    """An empty cell takes away what was there; what has no column is not spoken of."""
    header = "id,languages,home.lon,home.lat,consent.at,consent.source,sms,mail"
    ((_, found),) = read(f"{header}\na,es,,,2026-01-10T12:00:00Z,web,,a@b.example\n")
    assert found["only"] == ["addresses/mail", "addresses/sms", "consent", "languages", "places/home"]
    assert "places" not in found


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"home.lon": "east", "home.lat": "37.39"}, {"places": {"home": {"point": ["east", 37.39]}}}),
        ({"home.lat": "37,39"}, {"places": {"home": {"point": [None, "37,39"]}}}),
        ({"tester": "perhaps"}, {"tester": "perhaps"}),
    ],
)
def test_what_cannot_be_read_is_passed_on(row: dict[str, str], expected: dict):
    """Nothing is guessed or dropped: the service refuses such a cell with its place."""
    assert registration_of(row) == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_header_tells_the_delimiter(delimiter: str):
    """Comma, semicolon and tab are understood, with and without a byte order mark."""
    text = f"id{delimiter}languages\nx{delimiter}es\n"
    assert read(text) == read("\ufeff" + text) == [(2, {"id": "x", "languages": ["es"], "only": ["languages"]})]


def test_lines_keep_the_numbers_of_the_file():
    """Empty lines are passed over and counted, and a cell may run over several lines."""
    assert [number for number, _ in read('id,consent.source\na,x\n\n,\nb,"p\nq"\nc,y\n')] == [2, 6, 7]
    assert list(ndjson_lines([b"\n", b' {"id": "a"}\r\n', b"  \n", b"{}"])) == [(2, b'{"id": "a"}'), (4, b"{}")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a column `id` is needed"),
        ("languages\nes\n", "a column `id` is needed"),
        ("id,langauges\n", "did you mean languages?"),
        ("id,home.lng\n", "did you mean home.lon?"),
        ("id,Home.lon\n", "did you mean home.lon?"),
        ("id,consent.when\n", "there is no column 'consent.when'"),
        ("id,sms,sms\n", "the column 'sms' is there twice"),
        ("id,languages\nx,es,en\n", "line 2 has 3 cells under 2 columns"),
        ('id,consent.source\na,x\n\nb,"y\nc,z\nd,z\n', "line 4 is no CSV: unexpected end of data"),
        ('id,consent.source\na,x\nb,"y\nc,z\nd,"z"\n', "line 3 is no CSV: ',' expected after"),
        ('id,consent.source\nb,"y\n' + "c,z\n" * 50_000, "line 2 is no CSV: field larger than field limit"),
        ('id,"consent.source\na,x\n', "line 1 is no CSV: unexpected end of data"),
    ],
)
def test_file_that_would_be_misread_is_refused(text: str, why: str):
    """A column nobody would read, a cell under none, or a quote that takes the rows after it into its cell, stops the import with its name
    and place.
    """
    with pytest.raises(CsvError, match=re.escape(why)):
        read(text)


def test_lines_of_an_old_mac_are_told_as_what_they_are():
    """All of such a file is one line, which is no header."""
    with pytest.raises(CsvError, match="line 1 is no CSV: new-line character"):
        list(csv_lines([b"id,languages\rx,es\r"]))


def test_other_encodings_are_refused_with_their_line():
    """A file in Latin-1 is not taken for UTF-8."""
    with pytest.raises(CsvError, match="line 2 is not in UTF-8"):
        list(csv_lines([b"id,consent.source\n", "x,ñ\n".encode("latin-1")]))


@given(st.lists(cells, min_size=1, max_size=5))
def test_any_text_survives(values: list[str]):
    """What stands in a cell is what arrives, whatever the characters."""
    quoted = ["".join(('"', value.replace('"', '""'), '"')) for value in values]
    lines = read("id,time_zone\n" + "".join(f"n{i},{cell}\n" for i, cell in enumerate(quoted)))
    assert [found["time_zone"] for _, found in lines] == values
