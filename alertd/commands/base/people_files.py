"""Reads files of people as registrations: NDJSON unchanged, and CSV whose columns are named after the members.

Passes a cell that cannot be parsed on unchanged, so that the service refuses it and names its place. A CSV changes only
the parts that it has columns for. Existing subscribers keep the others, such as browsers and quiet hours, which have no
columns. Columns:

    id  languages  kinds  time_zone  tester  groups  format
    push  sms  mail                                     addresses
    <place>.lon  <place>.lat  <place>.accuracy_m  <place>.at  <place>.region
    consent.at  consent.source  consent.version  consent.purposes  consent.withdrawn_at

`languages`, `kinds`, `groups`, `consent.purposes` and the addresses may hold several values, separated by `;` or `|`.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from typing import Any

DELIMITERS = (",", ";", "\t")
PLACE_NAME = re.compile("[a-z0-9_-]{1,32}")  # as the service takes it
SEVERAL = re.compile(r"[;|]")
ADDRESSES = {"push": "token", "sms": "number", "mail": "mailbox"}

Line = tuple[int, bytes]  # its number in the file, counted from 1, and the registration in JSON


class CsvError(ValueError):
    """The CSV cannot be read, or not further. The message says why, and at which line if it is a line."""


def ndjson_lines(lines: Iterable[bytes]) -> Iterator[Line]:
    """Yields the number in the file, from 1, and the text of each line that is not blank."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line.strip()


def csv_lines(lines: Iterable[bytes]) -> Iterator[Line]:
    """Yields the rows of a CSV in UTF-8 as registrations, each with the number of its last line and with `only`, the
    list of parts that the CSV has columns for. Finds the delimiter in the header, and skips empty rows. Raises
    CsvError.
    """
    texts, number = _decoded(lines), 0
    header = next(texts, "")
    delimiter = max(DELIMITERS, key=header.count)
    try:  # strict: otherwise, a quote without an end would silently swallow the rows after it
        columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter, strict=True), [])]
        _check(columns)
        only = sorted({_part(column) for column in columns} - {"id"})
        number, rows = 1, csv.reader(texts, delimiter=delimiter, strict=True)
        for row in rows:
            number = rows.line_num + 1  # + 1 for the header
            if any(cell.strip() for cell in row):
                if len(row) > len(columns):
                    raise CsvError(f"line {number} has {len(row)} cells under {len(columns)} columns")
                registration = registration_of(dict(zip(columns, row, strict=False))) | {"only": only}
                yield number, json.dumps(registration, ensure_ascii=False).encode()
    except csv.Error as error:
        raise CsvError(f"line {number + 1} is no CSV: {error}") from None  # the first line of the row


def registration_of(row: dict[str, str]) -> dict[str, Any]:
    """Returns the registration of a row as a JSON object. `row`: the cells by column name. Leaves out empty cells."""
    result: dict[str, Any] = {}
    for column, cell in row.items():
        if text := cell.strip():
            _put(result, column, text)
    for place in result.get("places", {}).values():
        if {"lon", "lat"} & place.keys():
            place["point"] = [place.pop("lon", None), place.pop("lat", None)]
    return result


def _put(result: dict[str, Any], column: str, text: str) -> None:
    """Adds the values of one cell to the registration `result`. Coordinates become `lon` and `lat` of the place."""
    head, _, member = column.partition(".")
    if column in ADDRESSES:
        listed = result.setdefault("addresses", [])
        listed += [{"channel": column, ADDRESSES[column]: one} for one in _several(text)]
    elif not member:
        result[column] = MEMBERS[column](text)
    elif head == "consent":
        result.setdefault("consent", {})[member] = CONSENT[member](text)
    else:
        result.setdefault("places", {}).setdefault(head, {})[member] = PLACE[member](text)


def _part(column: str) -> str:
    """Returns the part of a registration to which a column belongs, as the API names it in `only`: `places/home` for
    the column `home.lon`.
    """
    head, _, member = column.partition(".")
    if not member:
        return f"addresses/{column}" if column in ADDRESSES else column
    return head if head == "consent" else f"places/{head}"


def _several(text: str) -> list[str]:
    return [part.strip() for part in SEVERAL.split(text) if part.strip()]


def _number(text: str) -> float | str:
    """Returns the number in a cell; the text unchanged if it is no number, so that the service refuses it."""
    try:
        return float(text)
    except ValueError:
        return text


def _yes_or_no(text: str) -> bool | str:
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower(), text)


#: For each column, or its name after the dot: the function that parses its cells.
MEMBERS: dict[str, Callable[[str], Any]] = {
    "id": str, "languages": _several, "kinds": _several, "time_zone": str, "tester": _yes_or_no, "groups": _several,
    "format": str,
}  # fmt: skip
CONSENT: dict[str, Callable[[str], Any]] = {
    "at": str, "source": str, "version": str, "purposes": _several, "withdrawn_at": str
}  # fmt: skip
PLACE: dict[str, Callable[[str], Any]] = {
    "lon": _number, "lat": _number, "accuracy_m": _number, "at": str, "region": str
}  # fmt: skip


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    """Yields the lines as text, without a byte order mark. Raises CsvError for a line that is not in UTF-8."""
    for number, line in enumerate(lines, start=1):
        try:
            yield line.removeprefix(BOM_UTF8).decode() if number == 1 else line.decode()
        except UnicodeDecodeError:
            raise CsvError(f"line {number} is not in UTF-8") from None


def _check(columns: list[str]) -> None:
    """Raises CsvError if a column is unknown or occurs twice, or if the column `id` is missing."""
    examples = [*MEMBERS, *ADDRESSES, *(f"consent.{m}" for m in CONSENT), *(f"home.{m}" for m in PLACE)]
    for column in columns:
        head, _, member = column.partition(".")
        table = CONSENT if head == "consent" else PLACE
        if not (column in MEMBERS or column in ADDRESSES or (PLACE_NAME.fullmatch(head) and member in table)):
            near = difflib.get_close_matches(column, examples, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(examples)}"
            raise CsvError(f"there is no column {column!r}{hint}")
    doubled = next((column for column in columns if columns.count(column) > 1), None)
    if doubled is not None:
        raise CsvError(f"the column {doubled!r} is there twice")
    if "id" not in columns:
        raise CsvError("a column `id` is needed: it names each subscriber")
