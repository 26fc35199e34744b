"""The name of an area in each language."""

from __future__ import annotations

import pytest
import shapely

from alertd.rendering.catalogue import area_name
from geofences.area_names import WORLD, parts_of
from geofences.polygons import area_km2

FSI, PDI = "\u2068", "\u2069"


def name_of(library, renderer, language, *codes):
    area = shapely.union_all([library.geometry(code) for code in codes])
    parts = parts_of(library, area, area_km2(area), library.overlapping(area))
    return area_name(renderer.words(language), parts)


@pytest.mark.parametrize(
    ("language", "province", "towns", "more"),
    [
        ("en", "Seville province", "Sevilla and Dos Hermanas", "3 other municipalities of Seville province"),
        ("es", "provincia de Sevilla", "Sevilla y Dos Hermanas", "3 municipios más (provincia de Sevilla)"),
        ("fr", "province de Séville", "Sevilla et Dos Hermanas", "3 autres communes (province de Séville)"),
        ("pt", "província de Sevilha", "Sevilla e Dos Hermanas", "mais 3 municípios (província de Sevilha)"),
        ("de", "Provinz Sevilla", "Sevilla und Dos Hermanas", "3 weitere Gemeinden (Provinz Sevilla)"),
        ("it", "provincia di Siviglia", "Sevilla e Dos Hermanas", "altri 3 comuni (provincia di Siviglia)"),
        ("pl", "prowincja Sewilla", "Sevilla i Dos Hermanas", "3 inne gminy (prowincja Sewilla)"),
        ("uk", "провінція Севілья", "Sevilla і Dos Hermanas", "3 інші муніципалітети (провінція Севілья)"),
        ("tr", "Sevilla ili", "Sevilla ve Dos Hermanas", "3 belediye daha (Sevilla ili)"),
        ("ar", "مقاطعة إشبيلية", f"{FSI}Sevilla{PDI} و{FSI}Dos Hermanas{PDI}", "3 بلديات أخرى (مقاطعة إشبيلية)"),
        ("hi", "सेविल प्रांत", "Sevilla और Dos Hermanas", "3 अन्य नगरपालिकाएँ (सेविल प्रांत)"),
        ("zh", "塞维利亚省", "Sevilla和Dos Hermanas", "另外3个市镇（塞维利亚省）"),
    ],
)
def test_an_area_has_a_name_in_every_language(library, renderer, language, province, towns, more):
    """A province by its name there, towns as they are listed there, and the others in the right plural."""
    assert name_of(library, renderer, language, "ES-SE") == province
    assert name_of(library, renderer, language, "41091", "41038") == towns
    assert more in name_of(library, renderer, language, "41091", "41038", "41004", "41021", "41059")


def test_groups_with_several_members_are_told_apart(library, renderer):
    """Two towns here and a country there are two phrases."""
    assert name_of(library, renderer, "en", "41091", "41038", "AD") == "Andorra; Sevilla and Dos Hermanas"
    assert name_of(library, renderer, "en", "41091", "AD") == "Andorra and Sevilla"


def test_a_name_that_says_what_it_is_needs_no_more(library, renderer):
    """The Community of Madrid is not called a province besides."""
    assert name_of(library, renderer, "en", "ES-M") == "Community of Madrid"


def test_names_of_countries_are_text(library):
    """España and Deutschland are written as they are, in every script."""
    spain = library.get("ES")
    assert [spain.name_in(tag) for tag in ("en", "es", "fr-CA", "uk", "zh", "sw")] == [
        "Spain", "España", "Espagne", "Іспанія", "西班牙", "Spain",
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "es", "fr", "pt", "de", "it", "pl", "uk", "tr", "ar", "hi", "zh"])
def test_the_world_has_a_name_in_every_language(renderer, language):
    """An area as large as the world is called by words, not by a country or a town."""
    name = area_name(renderer.words(language), (WORLD,))
    assert len(name) > 2
    assert (language == "en") == (name == "the whole world")
