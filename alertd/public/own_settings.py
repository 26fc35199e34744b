"""The page on which subscribers see, change, download and delete their own registration.

Its link contains a token, which only the subscriber gets, by mail or in the browser that signed up. The token is the
only proof of identity. It is in the path, so another site cannot post a form without knowing it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib import resources
from typing import Any

from aiohttp import hdrs, web
from markupsafe import Markup

from alertd.common.errors import Problem
from alertd.model.kinds import Kind
from alertd.model.subscriber import Subscriber, to_document
from alertd.public import forms
from alertd.public.own_address import address_line, address_page, erase_texts, own_data
from alertd.public.places import Places
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue, matching
from alertd.service.people.own_record import OwnRecord
from alertd.service.people.sign_up import MAIL, PLACE_NAMES, SignUp


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnSettingsPages:
    """Handles the requests of the settings page. An invalid or expired link gets 404."""

    sign_up: SignUp
    renderer: Renderer
    places: Places

    async def show(self, request: web.Request) -> web.Response:
        """Returns the page, or 404 if the link is not valid, or the subscriber or the address is gone."""
        own = await self.sign_up.opened(request.match_info["token"])
        words = self._words(request, own)
        return await self._page(request, words, own) if own else _gone(self.renderer, words)

    async def act(self, request: web.Request) -> web.Response:
        """Carries out the posted `action`, the button that was pressed, and returns the page again. `erase` only
        returns a page that asks for confirmation; `erase-now` deletes the subscriber, or only the address in a record
        that an organisation registered. There, `on` and `off` are the only other actions. An unknown action changes
        nothing.
        """
        own, given = await self.sign_up.opened(request.match_info["token"]), await forms.read_form(request)
        words = self._words(request, own)
        if own is None:
            return _gone(self.renderer, words)
        action = given.get("action", "")
        if action == "erase":
            return _sure(self.renderer, words, own)
        if action == "erase-now":
            return await self._erase(request, words, own)
        if own.is_whole:
            return await self._act(request, words, own, action, given)
        if action in {"on", "off"}:
            await self.sign_up.switch(own, on=action == "on")
        return await self.show(request)

    async def _act(
        self, request: web.Request, words: Catalogue, own: OwnRecord, action: str, given: Mapping[str, str]
    ) -> web.Response:
        """Changes a record that is the person's own."""
        if action == "add":
            return await self._add(request, words, own, given.get("region", ""), given.get("place", ""))
        if action == "remove":
            return await self._change(request, words, own, {"places": {given.get("name", ""): None}})
        if action == "save":
            return await self._change(request, words, own, self._saved(own.person, given))
        if action == "test" and own.address.channel == MAIL:
            await self.sign_up.ask_for_trial(own, words.language)
            return await self._page(request, words, own, note=words.words["subscribe"]["test_sent"])
        return await self._page(request, words, own)

    async def _erase(self, request: web.Request, words: Catalogue, own: OwnRecord) -> web.Response:
        """Deletes the subscriber or the address, and returns a page that says so; the settings with an error (422) if
        another call changed the record at the same moment.
        """
        try:
            await self.sign_up.erase(own)
        except Problem:
            return await self._page(request, words, own, fault=words.words["subscribe"]["again"])
        return forms.html_page(self.renderer, words, erase_texts(words, own)[2], Markup())

    async def download(self, request: web.Request) -> web.Response:
        """Returns the data that the owner of the address may see as a JSON file to save, or 404."""
        own = await self.sign_up.opened(request.match_info["token"])
        if own is None:
            return _gone(self.renderer, self._words(request, None))
        text = json.dumps(own_data(own), ensure_ascii=False, indent=2)
        headers = {hdrs.CONTENT_DISPOSITION: 'attachment; filename="my-alerts.json"'}
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def _add(
        self, request: web.Request, words: Catalogue, own: OwnRecord, region: str, text: str
    ) -> web.Response:
        """Adds the place with the code `region`, else the one that `text` names, and returns the page. If several
        match, returns a page to choose one; if none does, the page with an error (422). Changes nothing if the
        subscriber has the place, or has no room for it.
        """
        texts, found = words.words["subscribe"], await self.places.chosen(region, text)
        if not found:
            return await self._page(request, words, own, fault=texts["no_place"], place=text)
        if len(found) > 1:
            body = forms.hidden("action", "add") + self.places.choices(words, found) + forms.button(texts["next"])
            return forms.html_page(self.renderer, words, texts["which"], forms.form(body))
        places = own.person.places
        taken = {place.name for place in places}
        free = next((name for name in PLACE_NAMES if name not in taken), None)
        if free is None or any(place.region == found[0] for place in places):
            return await self._page(request, words, own)
        return await self._change(request, words, own, {"places": {free: {"region": found[0]}}})

    async def _change(
        self, request: web.Request, words: Catalogue, own: OwnRecord, patch: dict[str, Any]
    ) -> web.Response:
        """Applies a merge patch to the registration and returns the page as the record is now; with an error (422) if
        the patch is refused.
        """
        texts = words.words["subscribe"]
        try:
            await self.sign_up.change(own, patch)
        except Problem:
            return await self._page(request, words, own, fault=texts["again"])
        now = await self.sign_up.opened(request.match_info["token"])
        return await self._page(request, words, now, note=texts["saved"]) if now else _gone(self.renderer, words)

    def _saved(self, person: Subscriber, given: Mapping[str, str]) -> dict[str, Any]:
        """Returns the merge patch for the posted form: kinds, languages and quiet hours. The chosen language comes
        first, the person's others follow. Without both a start and an end, the patch removes the quiet hours.
        """
        document = to_document(person)
        language = matching(given.get("language", ""), self.renderer.all_languages)
        patch: dict[str, Any] = {
            "kinds": [Kind.MISSING_CHILD.value, *([Kind.GENERAL.value] if given.get("general") else [])]
        }
        if language:
            patch["languages"] = [language, *(tag for tag in document["languages"] if tag != language)][:10]
        start, end, zone = given.get("from", ""), given.get("to", ""), given.get("zone", "")
        if start and end:
            return patch | {"quiet": {"from": start[:5], "to": end[:5]}, "time_zone": zone or "UTC"}
        return patch | {"quiet": None}

    def _words(self, request: web.Request, own: OwnRecord | None) -> Catalogue:
        """Returns the texts in the language of `?lang=`, else in the person's first language that alertd has, else in
        the browser's.
        """
        wanted = own.person.languages if own and not request.query.get("lang") else ()
        found = next((one for tag in wanted if (one := matching(tag, self.renderer.all_languages))), None)
        return self.renderer.words(found) if found else forms.words_of(request, self.renderer)

    async def _page(
        self,
        request: web.Request,
        words: Catalogue,
        own: OwnRecord,
        *,
        note: str = "",
        fault: str = "",
        place: str = "",
    ) -> web.Response:
        """Returns the whole page. `note`: a message of success at its top. `fault`: an error message, at the field for a
        new place if the record is whole, with status 422; `place`: the text in that field.
        """
        texts, data = words.words["subscribe"], _data(request, words, own)
        if not own.is_whole:
            return await address_page(self.sign_up, self.renderer, words, own, data, fault)
        body = (
            (Markup('<p role="status"><strong>{}</strong></p>\n').format(note) if note else Markup())
            + address_line(words, own)
            + Markup("<h2>{}</h2>\n").format(texts["places"])
            + Markup().join(self._place(words, one.name, one.region) for one in own.person.places)
            + forms.form(
                forms.hidden("action", "add")
                + forms.field("place", texts["add"], place, fault, forms.PLACE, texts["place_hint"])
                + forms.button(texts["add"], plain=True)
            )
            + Markup("<h2>{}</h2>\n").format(texts["what"])
            + forms.form(self._fields(words, own.person))
            + (forms.action("test", texts["test"]) if own.address.channel == MAIL else Markup())
            + data
        )  # fmt: skip
        status = HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK
        return forms.html_page(self.renderer, words, texts["me_title"], body, status=status)

    def _place(self, words: Catalogue, name: str, region: str | None) -> Markup:
        """Returns one of the subscriber's places with a button that removes it."""
        texts = words.words["subscribe"]
        shown = self.places.label(words, region) if region else name
        button = Markup('<button class="plain" aria-label="{}">{}</button>\n').format(
            f"{texts['remove']}: {shown}", texts["remove"]
        )
        return forms.paragraph(shown) + forms.form(
            forms.hidden("action", "remove") + forms.hidden("name", name) + button
        )

    def _fields(self, words: Catalogue, person: Subscriber) -> Markup:
        """Returns the fields for language, general alerts and quiet hours, filled in with the stored values."""
        texts, document = words.words["subscribe"], to_document(person)
        names = {tag: str(self.renderer.words(tag).words["name"]) for tag in self.renderer.all_languages}
        chosen = matching(document["languages"][0], self.renderer.all_languages) or words.language
        quiet = document.get("quiet") or {"from": "", "to": ""}
        zones = self._zones(person, document.get("time_zone"))
        return (
            forms.hidden("action", "save")
            + forms.select("language", texts["language"], names, chosen, languages=True)
            + forms.choice(
                "checkbox", "general", "1", texts["general"], checked=Kind.GENERAL.value in document["kinds"]
            )
            + Markup('<fieldset><legend>{}</legend>\n<p class="quiet">{}</p>\n').format(
                texts["quiet"], texts["quiet_hint"]
            )
            + forms.field("from", texts["quiet_from"], quiet["from"], "", forms.TIME)
            + forms.field("to", texts["quiet_to"], quiet["to"], "", forms.TIME)
            + forms.select("zone", texts["zone"], {zone: zone for zone in zones}, zones[0])
            + Markup("</fieldset>\n")
            + forms.button(texts["save"])
        )

    def _zones(self, person: Subscriber, current: str | None) -> list[str]:
        """Returns the time zones to offer, each once: `current` (the stored one, if any), those of the countries of the
        person's places, then UTC.
        """
        countries = [self.places.country(place.region) for place in person.places if place.region]
        found = [zone for country in countries for zone in _zones_of().get(country, ())]
        return list(dict.fromkeys([*([current] if current else []), *found, "UTC"]))


@cache
def _zones_of() -> dict[str, list[str]]:
    """Returns the time zones of each country by its ISO 3166-1 code, in the order of `zone.tab` of the tz database."""
    table = resources.files("tzdata").joinpath("zoneinfo", "zone.tab").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for line in table.splitlines():
        if not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            found.setdefault(country, []).append(zone)
    return found


def _data(request: web.Request, words: Catalogue, own: OwnRecord) -> Markup:
    """Returns the part of the page about the person's data."""
    texts, (text, label, _) = words.words["subscribe"], erase_texts(words, own)
    return (
        Markup("<h2>{}</h2>\n").format(texts["data"])
        + forms.link(f"{request.match_info['token']}/data.json", texts["download"])
        + forms.link("../privacy", texts["privacy"])
        + forms.paragraph(text)
        + forms.action("erase", label)
    )  # fmt: skip


def _sure(renderer: Renderer, words: Catalogue, own: OwnRecord) -> web.Response:
    """Returns the page that asks the subscriber to confirm the deletion, which cannot be undone."""
    text, label, _ = erase_texts(words, own)
    body = forms.paragraph(text) + forms.form(forms.hidden("action", "erase-now") + forms.button(label))
    return forms.html_page(renderer, words, words.words["leave"]["ask"], body)


def _gone(renderer: Renderer, words: Catalogue) -> web.Response:
    """Returns the page for a link that is not valid. It links to the form that requests a new link.
    Its status is 404.
    """
    texts = words.words["subscribe"]
    body = forms.paragraph(texts["broken"]) + forms.link("../subscribe/manage", texts["manage_title"])
    return forms.html_page(renderer, words, words.words["leave"]["broken"], body, status=HTTPStatus.NOT_FOUND)
