"""Foreign codes for regions of the library, such as CAP geocodes and the codes of national registers.

A folder of region files may have one `aliases.csv`. Its columns are the scheme, the code, 1 or 0, and the codes of
regions, separated by spaces. 1 means that the regions are exactly that place; 0 means that they contain it or are close
to it. A code that differs from the library's only in its spelling needs no row (FIPS 06037 is US-06037).
"""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from geofences.errors import LibraryError

ALIASES = "aliases.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """The library's regions that a foreign code stands for."""

    scheme: str
    value: str  # the code that was found: the requested one, or that of a wider place
    codes: tuple[str, ...]  # regions of the library
    exact: bool  # whether the regions are exactly that place; else they contain it or are close to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """The form of one system of codes."""

    form: str  # regular expression
    wider: tuple[int, ...] = ()  # lengths of beginnings that are the codes of wider places, the narrowest first
    country: str = ""  # of a national register; the library's codes equal the register's, or have this country in front


# The known schemes, by their names in CAP and in registers. In a national register, the first digits of a code are the province's.
SCHEMES: Mapping[str, Scheme] = {
    "ISO3166-1": Scheme(form=r"[A-Z]{2,3}|\d{3}"),
    "ISO3166-2": Scheme(form=r"[A-Z]{2}-[A-Z0-9]{1,3}", wider=(2,)),
    "NUTS": Scheme(form=r"[A-Z]{2}[A-Z0-9]{0,3}", wider=(4, 3, 2)),
    "EMMA_ID": Scheme(form=r"[A-Z]{2}[A-Z0-9]{3,6}"),
    "FIPS": Scheme(form=r"\d{2}(\d{3})?", wider=(2,), country="US"),
    "INE": Scheme(form=r"\d{2}(\d{3})?", wider=(2,), country="ES"),
    "INSEE": Scheme(form=r"\d[0-9AB](\d{3})?", wider=(2,), country="FR"),
    "ISTAT": Scheme(form=r"\d{3}(\d{3})?", wider=(3,), country="IT"),
    "BFS": Scheme(form=r"\d{1,4}", country="CH"),
    "AGS": Scheme(form=r"\d{2}(\d{3}(\d{3})?)?", wider=(5, 2), country="DE"),
    "SGC": Scheme(form=r"\d{2}(\d{2}(\d{3})?)?", wider=(4, 2)),
    "HASC": Scheme(form=r"[A-Z]{2}(\.[A-Z0-9]{2})*", wider=(5, 2)),
    "FIPS10-4": Scheme(form=r"[A-Z]{2}\d{0,2}", wider=(2,)),
}


def _same_area(value: str) -> tuple[str, str]:
    """Converts a code of SAME or FIPS6 (NWS) and returns scheme and code. Such a code has a digit for the part of the
    county (0: all of it), then the FIPS code. County 000 means the whole state, 000000 the whole country.
    """
    if value == "000000":
        return "ISO3166-1", "US"
    return "FIPS", value[1:3] if value.endswith("000") else value[1:]


# Other names of the schemes, in lower case without punctuation. A function rewrites codes that have another form.
_CALLED: Mapping[str, str | Callable[[str], tuple[str, str]]] = {
    "iso31661": "ISO3166-1",
    "iso3166": "ISO3166-1",
    "iso31662": "ISO3166-2",
    "nuts": "NUTS",
    "nuts0": "NUTS",
    "nuts1": "NUTS",
    "nuts2": "NUTS",
    "nuts3": "NUTS",
    "emmaid": "EMMA_ID",
    "fips": "FIPS",
    "fips5": "FIPS",
    "same": _same_area,
    "fips6": _same_area,
    "ine": "INE",
    "insee": "INSEE",
    "istat": "ISTAT",
    "bfs": "BFS",
    "ags": "AGS",
    "sgc": "SGC",
    "profilecapcplocation03": "SGC",
    "profilecapcplocation": "SGC",
    "hasc": "HASC",
    "fips104": "FIPS10-4",
}


@dataclass(frozen=True, slots=True)
class Own:
    """Country and parent of a region in the library."""

    country: str
    parent: str | None


class Aliases:
    """The foreign codes for the regions of one library. Immutable."""

    def __init__(self, rows: Iterable[Alias], own: Mapping[str, Own]) -> None:
        """`rows`: the listed foreign codes; rows with a region that the library lacks are ignored. `own`: the library's regions, by code."""
        self._own = own
        self._rows = {(row.scheme, row.value): row for row in rows if all(code in own for code in row.codes)}
        self._provinces = _provinces(own)

    def resolve(self, scheme: str, value: str) -> Alias | None:
        """Returns the regions that a foreign code stands for. If the code is unknown, returns those of the wider place that contains it,
        marked as not exact. Returns None if that is unknown too.

        A scheme may be given by any of its names: `ISO 3166-2`, `NUTS3`, `EMMA_ID`, `SAME`, `FIPS6`, `profile:CAP-CP:Location:0.3`.
        """
        called = _CALLED.get(re.sub(r"[^a-z0-9]", "", scheme.casefold()))
        value, whole = value.strip().upper().replace("_", "-"), True
        if callable(called):
            if not re.fullmatch(r"\d{6}", value):
                return None
            whole = value.startswith("0")  # else a part of the county, which is not known
            called, value = called(value)
        if called is None or not re.fullmatch(SCHEMES[called].form, value):
            return None
        if found := self._known(called, value):
            return found if whole else dataclasses.replace(found, exact=False)
        for length in SCHEMES[called].wider:
            if length < len(value) and (found := self._known(called, value[:length])):
                return dataclasses.replace(found, exact=False)
        return None

    def all_of(self, value: str) -> list[Alias]:
        """Returns one alias for each scheme that knows this code; does not look for wider places."""
        value = value.strip().upper()
        fitting = (scheme for scheme, form in SCHEMES.items() if re.fullmatch(form.form, value))
        return [alias for scheme in fitting if (alias := self._known(scheme, value))]

    def of(self, code: str) -> list[Alias]:
        """Returns the listed foreign codes that stand for exactly this region."""
        return [row for row in self._rows.values() if row.codes == (code,) and row.exact]

    def _known(self, scheme: str, value: str) -> Alias | None:
        """Returns the listed alias, or one for a region of the library with this code, or None."""
        if row := self._rows.get((scheme, value)):
            return row
        code = self._own_code(scheme, value)
        return Alias(scheme=scheme, value=value, codes=(code,), exact=True) if code else None

    def _own_code(self, scheme: str, value: str) -> str | None:
        """Returns the library's own code that equals this one in another spelling, or None."""
        if scheme.startswith("ISO3166"):
            return value if value in self._own else None
        country = SCHEMES[scheme].country
        if not country:
            return None
        if value in self._own and self._own[value].country == country:
            return value
        if (code := f"{country}-{value}") in self._own:  # also US-72001, which is in Puerto Rico
            return code
        return self._provinces.get((country, value)) if len(value) in SCHEMES[scheme].wider else None


def _provinces(own: Mapping[str, Own]) -> dict[tuple[str, str], str]:
    """Returns the code of the province for each (country, first two or three digits): the common parent of all regions whose codes begin
    with these digits.

    Leaves out digits that belong to several parents, such as commons of several provinces. Ignores a region whose parent's code begins with
    the same digits, since that parent is a county and not a province.
    """
    found: dict[tuple[str, str], set[str]] = {}
    for code, region in own.items():
        front = f"{region.country}-"
        digits = code.removeprefix(front)
        if region.parent and digits.isdigit():
            for first in (digits[:2], digits[:3]):
                if not region.parent.removeprefix(front).startswith(first):
                    found.setdefault((region.country, first), set()).add(region.parent)
    return {name: parents.pop() for name, parents in found.items() if len(parents) == 1}


def load_aliases(folder: Path) -> list[Alias]:
    """Returns the rows of a folder's list of aliases, [] if it has none. Raises LibraryError if the list is damaged."""
    path = folder / ALIASES
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            return [
                Alias(scheme=scheme, value=value, exact=bool(int(exact)), codes=tuple(codes.split()))
                for scheme, value, exact, codes in csv.reader(lines)
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise LibraryError(f"{path.name} cannot be read as a list of codes: {error}") from error


def write(folder: Path, rows: Iterable[Alias]) -> None:
    """Writes a folder's list of aliases, sorted by scheme and code."""
    table = sorted((row.scheme, row.value, int(row.exact), " ".join(row.codes)) for row in rows)
    with (folder / ALIASES).open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines, lineterminator="\n").writerows(table)
