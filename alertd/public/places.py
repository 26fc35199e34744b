"""Places that the public enters: found by name or code among the regions of the library, and stored as regions only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from markupsafe import Markup

from alertd.public import forms
from alertd.rendering.catalogue import Catalogue
from alertd.service.areas.regions import Regions

#: Places of the same name that a page offers.
MOST_OFFERED = 12
#: A longer text is not the name of a place.
LONGEST = 200


class Places:
    """Finds and names places. Regions that organisations drew are left out: their outlines may be secret."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions

    async def chosen(self, code: str, text: str) -> list[str]:
        """Returns the code that was chosen, else the codes of the places that the text may mean, the likeliest first. A name
        that only one place has is that place.
        """
        library = self._regions.library.without_drawn
        if code in library:
            return [code]
        if not text or len(text) > LONGEST:
            return []
        if text in library:
            return [text]
        found = await asyncio.to_thread(library.find, text=text)
        same = [
            region
            for region in found
            if text.casefold() in {region.name.casefold(), *map(str.casefold, region.names.values())}
        ]
        return [region.code for region in (same if len(same) == 1 else found)[:MOST_OFFERED]]

    def name(self, code: str, language: str) -> str:
        """Returns the name of a place in a language; its code if the library no longer has it."""
        library = self._regions.library
        return library.get(code).name_in(language) if code in library else code

    def country(self, code: str) -> str:
        """Returns the country of a place as its ISO 3166-1 code, or ""."""
        library = self._regions.library
        return library.get(code).country if code in library else ""

    def choices(self, words: Catalogue, codes: Sequence[str]) -> Markup:
        """Returns a radio button for each place, named with the places that it is part of."""
        library = self._regions.library.without_drawn
        rows = []
        for number, code in enumerate(codes):
            above = [region.name_in(words.language) for region in library.ancestors(code)]
            label = words.joined([words.isolate(self.name(code, words.language)), *map(words.isolate, above)])
            rows.append(forms.choice("radio", "region", code, label, checked=number == 0))
        return Markup('<fieldset><legend class="quiet">{}</legend>\n{}</fieldset>\n').format(
            words.words["subscribe"]["place"], Markup().join(rows)
        )
