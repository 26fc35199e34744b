"""Finds the places that people type on public pages, by name among the regions of the library. alertd stores only the
region.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from markupsafe import Markup

from alertd.public import forms
from alertd.rendering.catalogue import Catalogue
from alertd.service.areas.regions import Regions
from geofences.area_names import full_name
from geofences.names import fold
from geofences.regions import Library, Region

#: Maximum number of places that a page offers to choose from.
MOST_OFFERED = 12
#: Characters; a longer text is no name of a place.
LONGEST = 200


class Places:
    """Finds and names places. Never offers regions that organisations drew, because their outlines may be secret."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions

    async def chosen(self, code: str, text: str) -> list[str]:
        """Returns [`code`] if it is the code of a region, else the codes of the regions that `text` may mean, the
        likeliest first. Returns only one code if only one region has exactly this name, and none for a text that cannot
        be a name.

        Leaves out every region that has narrower ones, also as `code`: a small alert in a part of it would not count
        for it.
        """
        library = self._regions.library.without_drawn
        if code in library:
            return [] if library.children(code) else [code]
        if len(text) > LONGEST or not any(map(str.isalpha, text)):  # a postcode is neither a name nor a code
            return []
        found = await asyncio.to_thread(_smallest, library, text)
        same = [region for region in found if fold(text) in _names(region)]
        return [region.code for region in (same if len(same) == 1 else found)[:MOST_OFFERED]]

    def label(self, words: Catalogue, code: str) -> str:
        """Returns the name of a place with the names of the regions that it is part of, so that two towns of the same name
        differ. Returns the code if the library no longer has it.
        """
        library = self._regions.library
        names = full_name(library, code, words.language) if code in library else (code,)
        return words.joined([words.isolate(name) for name in names])

    def country(self, code: str) -> str:
        """Returns the ISO 3166-1 code of a region's country; "" if it has none or the library no
        longer has the region.
        """
        library = self._regions.library
        return library.get(code).country if code in library else ""

    def choices(self, words: Catalogue, codes: Sequence[str]) -> Markup:
        """Returns a radio button for each code, the first one checked. Its label is the region's full name."""
        rows = [
            forms.choice("radio", "region", code, self.label(words, code), checked=number == 0)
            for number, code in enumerate(codes)
        ]
        return Markup('<fieldset><legend class="quiet">{}</legend>\n{}</fieldset>\n').format(
            words.words["subscribe"]["place"], Markup().join(rows)
        )


def _smallest(library: Library, text: str) -> list[Region]:
    """Returns the regions without narrower ones whose names contain the text, the likeliest first. If there are none,
    returns those whose names match it with a typing error. A match with a code alone does not count.
    """
    found = [region for region in library.find(text=text) if not library.children(region.code)]
    named = [region for region in found if any(fold(text) in name for name in _names(region))]
    return named or [region for region in found if fold(text) not in fold(region.code)]


def _names(region: Region) -> set[str]:
    """Returns the names of a region in all languages, in the form used for comparison (`fold`)."""
    return {fold(region.name), *map(fold, region.names.values())}
