"""Foreign codes come to regions of the library, or to what holds them, and never to another country's."""

from __future__ import annotations

import pytest
import shapely

from geofences import aliases
from geofences.aliases import Alias, Aliases, Own
from geofences.errors import LibraryError, UnknownRegion
from geofences.regions import SHIPPED


@pytest.mark.parametrize(
    ("scheme", "value", "codes"),
    [
        ("ISO 3166-2", "ES-SE", {"ES-SE"}),
        ("ISO3166-2", "AU_SA", {"AU-SA"}),
        ("ISO3166-2", "ES-AN", {"ES-AL", "ES-CA", "ES-CO", "ES-GR", "ES-H", "ES-J", "ES-MA", "ES-SE"}),
        ("ISO3166-1", "ESP", {"ES"}),
        ("ISO3166-1", "724", {"ES"}),
        ("NUTS3", "ES618", {"ES-SE"}),
        ("NUTS", "DE2", {"DE-BY"}),
        ("NUTS", "FRI15", {"FR-64"}),
        ("NUTS", "FRM0", {"FR-2A", "FR-2B"}),
        ("NUTS", "FRH", {"FR-22", "FR-29", "FR-35", "FR-56"}),
        ("NUTS", "NL34", {"NL-ZE"}),
        ("NUTS", "FRY", {"FR-GF", "FR-GP", "FR-MQ", "FR-RE", "FR-YT"}),
        ("NUTS", "FRY30", {"FR-GF"}),
        ("NUTS", "NO073", {"NO-20"}),
        ("NUTS", "NO0B", {"NO-21"}),
        ("NUTS", "EL", {"GR"}),
        ("NUTS", "UK", {"GB"}),
        ("SAME", "006037", {"US-06037"}),
        ("SAME", "006000", {"US-CA"}),
        ("SAME", "000000", {"US"}),
        ("FIPS6", "041003", {"US-41003"}),
        ("SAME", "072115", {"US-72115"}),
        ("SAME", "072000", {"PR"}),
        ("FIPS", "72001", {"US-72001"}),
        ("SAME", "060010", {"US-60010"}),
        ("SAME", "066000", {"GU"}),
        ("SAME", "069000", {"MP"}),
        ("SAME", "078030", {"US-78030"}),
        ("INE", "41091", {"41091"}),
        ("INE", "41", {"ES-SE"}),
        ("BFS", "261", {"CH-261"}),
        ("profile:CAP-CP:Location:0.3", "48", {"CA-AB"}),
        ("EMMA_ID", "IT001", {"IT-CS", "IT-CZ", "IT-KR", "IT-RC", "IT-VV"}),
        ("FIPS10-4", "AU", {"AT"}),
    ],
)
def test_a_foreign_code_is_these_regions(library, scheme, value, codes):
    """What CAP and registers call a place, in their own ways of writing it, is known to be that place."""
    alias = library.resolve(scheme, value)
    assert (set(alias.codes), alias.exact) == (codes, True)


@pytest.mark.parametrize(
    ("scheme", "value", "holds"),
    [
        ("NUTS", "DE212", {"DE-BY"}),
        ("NUTS", "EL303", {"GR"}),
        ("NUTS", "UKI31", {"GB"}),
        ("SAME", "006999", {"US-CA"}),
        ("SAME", "106037", {"US-06037"}),
        ("SAME", "072999", {"PR"}),
        ("INE", "41999", {"ES-SE"}),
        ("ISO3166-2", "ES-ZZ", {"ES"}),
        ("profile:CAP-CP:Location:0.3", "4811061", {"CA-AB"}),
    ],
)
def test_of_a_code_that_is_not_known_what_holds_it_is(library, scheme, value, holds):
    """A district or a part of a county comes to the region around it, and it is said that this is not the same."""
    alias = library.resolve(scheme, value)
    assert (set(alias.codes), alias.exact) == (holds, False)


@pytest.mark.parametrize(
    ("scheme", "value"),
    [
        ("EMMA_ID", "ES999"),
        ("SAME", "6037"),
        ("INE", "99"),
        ("INE", "53"),  # commons of fifteen provinces
        ("INE", "53999"),
        ("BFS", "21"),  # Adlikon in Zürich, merged since; 2102 and others that begin so are in Fribourg
        ("BFS", "103"),
        ("BFS", "41091"),
        ("NUTS", "ZZ1"),
        ("zip", "41001"),
        ("INE", "'; --"),
    ],
)
def test_what_is_no_code_comes_to_nothing(library, scheme, value):
    """An unknown scheme or form, and a number that is another country's, is never guessed at."""
    assert library.resolve(scheme, value) is None


def test_every_municipio_of_puerto_rico_is_known(library):
    """Its municipios have the odd FIPS codes from 72001 to 72153."""
    found = {code: library.resolve("SAME", f"0{code}") for code in range(72001, 72154, 2)}
    assert {alias.codes for alias in found.values()} == {(f"US-{code}",) for code in found}
    assert all(alias.exact for alias in found.values())


def test_the_first_digits_are_those_of_the_state_and_of_no_county():
    """Bavaria is 09, whichever was imported first: its towns, which are part of counties, or these."""
    counties = {"DE-09161": Own("DE", "DE-BY"), "DE-09162": Own("DE", "DE-BY")}
    towns = {f"{code}000": Own("DE", code) for code in counties}
    for own in (towns | counties, counties | towns):
        assert Aliases([], own).resolve("AGS", "09").codes == ("DE-BY",)


def test_a_foreign_code_is_targeted_by_its_scheme(library):
    """NUTS:ES618 covers exactly Sevilla; one that is only about right is refused, and what it is about is offered."""
    assert library.geometry("NUTS:ES618") is library.geometry("ES-SE")
    assert library.codes("NUTS:ES61") == library.resolve("NUTS", "ES61").codes
    assert library.geometry("ISO3166-2:ES-AN").area == pytest.approx(
        sum(library.geometry(code).area for code in library.codes("ISO3166-2:ES-AN")), rel=1e-3
    )
    with pytest.raises(UnknownRegion) as caught:
        library.geometry("NUTS:DE212")
    assert caught.value.nearest == ("DE-BY",)
    with pytest.raises(UnknownRegion):
        library.geometry("NUTS:nowhere")


def test_every_code_of_the_list_is_known_and_of_its_form(library):
    """Each row names regions that are there, in a scheme that is known, in the form of that scheme."""
    rows = aliases.load_aliases(SHIPPED)
    assert len(rows) > 10_000
    for row in rows:
        assert row.codes
        assert library.resolve(row.scheme, row.value) == row


def test_no_district_reaches_across_an_ocean(library):
    """The regions of one code of NUTS 3 lie side by side, whichever post codes were not known: people of Guyane are not told with Bayonne's."""
    districts = [row.codes for row in aliases.load_aliases(SHIPPED) if row.scheme == "NUTS" and len(row.value) == 5]
    for codes in filter(lambda codes: len(codes) > 1, districts):
        for code in codes:
            others = shapely.union_all([library.geometry(other) for other in codes if other != code])
            assert shapely.dwithin(library.geometry(code), others, 0.25), codes


def test_a_region_knows_its_foreign_codes(library):
    """A region's page can say what others call it."""
    assert {(alias.scheme, alias.value) for alias in library.aliases.of("ES-SE")} >= {("NUTS", "ES618")}


def test_rows_of_regions_that_are_not_there_are_left_out():
    """A list that is newer than the regions does no harm."""
    row = Alias(scheme="NUTS", value="ES618", codes=("ES-SE", "gone"), exact=True)
    assert Aliases([row], {"ES-SE": Own("ES", None)}).resolve("NUTS", "ES618") is None


def test_a_list_is_read_as_it_was_written(tmp_path):
    """Writing and reading change nothing; a damaged list is named; none is none."""
    rows = [
        Alias(scheme="NUTS", value="ES61", codes=("ES-CA", "ES-SE"), exact=False),
        Alias(scheme="NUTS", value="ES618", codes=("ES-SE",), exact=True),
    ]
    assert aliases.load_aliases(tmp_path) == []
    aliases.write(tmp_path, rows)
    assert aliases.load_aliases(tmp_path) == rows
    (tmp_path / aliases.ALIASES).write_text("NUTS,ES61\n")
    with pytest.raises(LibraryError, match=r"aliases\.csv cannot be read"):
        aliases.load_aliases(tmp_path)
