"""The form fields that sign-up by mail and sign-up of a browser share: place, language, kinds and consent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from markupsafe import Markup

from alertd.public import forms
from alertd.public.places import Places
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue, matching
from alertd.service.people.sign_up_links import OpenedForm, SignUpLinks

#: Seconds. Only a program fills in the form faster.
FASTEST_S = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class SignUpForm:
    """Checks and renders the fields that both forms share."""

    renderer: Renderer
    places: Places
    links: SignUpLinks

    async def check(self, words: Catalogue, given: Mapping[str, str], faults: dict[str, str]) -> list[str]:
        """Returns the codes of the regions that the typed place may mean, the likeliest first. Adds an error message
        for each faulty field to `faults`, under the field's name; `form` if the form is too old or was filled in too
        fast.
        """
        texts = words.words["subscribe"]
        if not given.get("consent"):
            faults["consent"] = texts["no_consent"]
        found = await self.places.chosen(given.get("region", ""), given.get("place", ""))
        if not found:
            faults["place"] = texts["no_place"]
        opened = self.links.open(given.get("form", ""), OpenedForm)
        if not faults and (opened is None or self.links.now_s() - opened.made_s < FASTEST_S):
            faults["form"] = texts["again"]
        return found

    def language(self, words: Catalogue, given: Mapping[str, str]) -> str:
        """Returns the language that the person chose for messages, else the language of the page."""
        return matching(given.get("language", ""), self.renderer.all_languages) or words.language

    def render(
        self, words: Catalogue, given: Mapping[str, str], faults: Mapping[str, str], *,
        consent: str, submit: str, address: Markup,
    ) -> Markup:  # fmt: skip
        """Returns the form with the values that were typed and the error messages. `consent`, `submit`: the texts of
        the checkbox and the button; `address`: the field for the mailbox, empty for a browser.
        """
        texts = words.words["subscribe"]
        names = {tag: str(self.renderer.words(tag).words["name"]) for tag in self.renderer.all_languages}
        return forms.form(
            forms.fault(faults.get("form", ""), "form")
            + forms.field("place", texts["place"], given.get("place", ""), faults.get("place", ""), forms.PLACE, texts["place_hint"])
            + address
            + forms.select("language", texts["language"], names, self.language(words, given), languages=True)
            + forms.choice("checkbox", "general", "1", texts["general"], checked=bool(given.get("general")))
            + forms.choice(
                "checkbox", "consent", "1", consent, checked=bool(given.get("consent")), error=faults.get("consent", "")
            )
            + forms.trap(texts["trap"], self.links) + forms.button(submit)
        )  # fmt: skip

    def render_choice(self, words: Catalogue, given: Mapping[str, str], found: Sequence[str]) -> web.Response:
        """Returns the page that asks which of the regions `found` the typed place means. Its form contains the other
        typed values as hidden fields.
        """
        texts = words.words["subscribe"]
        typed = Markup().join(
            forms.hidden(name, given[name])
            for name in ("place", "mailbox", "language", "general", "consent", "form")
            if given.get(name)
        )
        body = typed + self.places.choices(words, found) + forms.button(texts["next"])
        return forms.html_page(self.renderer, words, texts["which"], forms.form(body))
