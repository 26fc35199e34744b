"""The page with a subscriber's own settings, behind a link that only they get by mail: see, change, download, delete.

The link's token is the only proof. It is in the path, so another site cannot post a form without knowing it.
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
from alertd.public.places import Places
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue, matching
from alertd.service.people.sign_up import PLACE_NAMES, SignUp, mailboxes_of


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnSettingsPages:
    """Handles the page. Every action answers the page again."""

    sign_up: SignUp
    renderer: Renderer
    places: Places

    async def show(self, request: web.Request) -> web.Response:
        person = await self.sign_up.person(request.match_info["token"])
        words = self._words(request, person)
        return self._page(request, words, person) if person else _gone(self.renderer, words)

    async def act(self, request: web.Request) -> web.Response:
        """Does what the pressed button says."""
        person, given = await self.sign_up.person(request.match_info["token"]), await forms.read_form(request)
        words = self._words(request, person)
        if person is None:
            return _gone(self.renderer, words)
        told = words.words["subscribe"]
        action, patch = given.get("action", ""), None
        if action == "erase":
            return _sure(self.renderer, words)
        if action == "erase-now":
            await self.sign_up.erase(person)
            return forms.html_page(self.renderer, words, told["erased"], Markup())
        if action == "add":
            return await self._add(request, words, person, given.get("region", ""), given.get("place", ""))
        if action == "remove":
            patch = {"places": {given.get("name", ""): None}}
        elif action == "save":
            patch = self._saved(person, given)
        elif action == "test":
            await self.sign_up.ask_for_trial(person, words.language)
        if patch is not None:
            return await self._change(request, words, person, patch)
        return self._page(request, words, person, note=told["test_sent"] if action == "test" else "")

    async def download(self, request: web.Request) -> web.Response:
        """Returns everything that is stored about the person, as JSON."""
        person = await self.sign_up.person(request.match_info["token"])
        if person is None:
            return _gone(self.renderer, self._words(request, None))
        text = json.dumps({"id": person.id, "registration": to_document(person)}, ensure_ascii=False, indent=2)
        headers = {hdrs.CONTENT_DISPOSITION: 'attachment; filename="my-alerts.json"'}
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def _add(
        self, request: web.Request, words: Catalogue, person: Subscriber, region: str, text: str
    ) -> web.Response:
        told, found = words.words["subscribe"], await self.places.chosen(region, text)
        if not found:
            return self._page(request, words, person, fault=told["no_place"], place=text)
        if len(found) > 1:
            body = forms.hidden("action", "add") + self.places.choices(words, found) + forms.button(told["next"])
            return forms.html_page(self.renderer, words, told["which"], forms.form(body))
        taken = {place.name for place in person.places}
        free = next((name for name in PLACE_NAMES if name not in taken), None)
        if free is None or any(place.region == found[0] for place in person.places):
            return self._page(request, words, person)
        return await self._change(request, words, person, {"places": {free: {"region": found[0]}}})

    async def _change(
        self, request: web.Request, words: Catalogue, person: Subscriber, patch: dict[str, Any]
    ) -> web.Response:
        told = words.words["subscribe"]
        try:
            person = await self.sign_up.change(person, patch)
        except Problem:
            return self._page(request, words, person, fault=told["again"])
        return self._page(request, words, person, note=told["saved"])

    def _saved(self, person: Subscriber, given: Mapping[str, str]) -> dict[str, Any]:
        """Returns the patch for the fields of the form. Other languages of the person follow the chosen one."""
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

    def _words(self, request: web.Request, person: Subscriber | None) -> Catalogue:
        wanted = to_document(person)["languages"] if person and not request.query.get("lang") else ()
        found = next((one for tag in wanted if (one := matching(tag, self.renderer.all_languages))), None)
        return self.renderer.words(found) if found else forms.words_of(request, self.renderer)

    def _page(
        self,
        request: web.Request,
        words: Catalogue,
        person: Subscriber,
        *,
        note: str = "",
        fault: str = "",
        place: str = "",
    ) -> web.Response:
        told, leave = words.words["subscribe"], words.words["leave"]
        mailboxes = words.listed([words.isolate(each) for each in mailboxes_of(person)])
        body = (
            (Markup('<p role="status"><strong>{}</strong></p>\n').format(note) if note else Markup())
            + forms.paragraph(
                f"{told['mailbox']}{words.words['punctuation']['colon']}{mailboxes}" if mailboxes else words.words["device"]["here"]
            )
            + Markup("<h2>{}</h2>\n").format(told["places"])
            + Markup().join(self._place(words, one.name, one.region) for one in person.places)
            + forms.form(
                forms.hidden("action", "add")
                + forms.field("place", told["add"], place, fault, forms.PLACE, told["place_hint"])
                + forms.button(told["add"], plain=True)
            )
            + Markup("<h2>{}</h2>\n").format(told["what"])
            + forms.form(self._fields(words, person))
            + (forms.form(forms.hidden("action", "test") + forms.button(told["test"], plain=True)) if mailboxes else Markup())
            + Markup("<h2>{}</h2>\n").format(told["data"])
            + forms.link(f"{request.match_info['token']}/data.json", told["download"])
            + forms.link("../privacy", told["privacy"])
            + forms.paragraph(told["erase_text"])
            + forms.form(forms.hidden("action", "erase") + forms.button(words.joined([leave["link"], told["erase"]], "dash"), plain=True))
        )  # fmt: skip
        status = HTTPStatus.UNPROCESSABLE_ENTITY if fault else HTTPStatus.OK
        return forms.html_page(self.renderer, words, told["me_title"], body, status=status)

    def _place(self, words: Catalogue, name: str, region: str | None) -> Markup:
        told = words.words["subscribe"]
        shown = self.places.name(region, words.language) if region else name
        button = Markup('<button class="plain" aria-label="{}">{}</button>\n').format(
            f"{told['remove']}: {shown}", told["remove"]
        )
        return forms.paragraph(shown) + forms.form(
            forms.hidden("action", "remove") + forms.hidden("name", name) + button
        )

    def _fields(self, words: Catalogue, person: Subscriber) -> Markup:
        told, document = words.words["subscribe"], to_document(person)
        names = {tag: str(self.renderer.words(tag).words["name"]) for tag in self.renderer.all_languages}
        chosen = matching(document["languages"][0], self.renderer.all_languages) or words.language
        quiet = document.get("quiet") or {"from": "", "to": ""}
        zones = self._zones(person, document.get("time_zone"))
        return (
            forms.hidden("action", "save")
            + forms.select("language", told["language"], names, chosen, languages=True)
            + forms.choice("checkbox", "general", "1", told["general"], checked=Kind.GENERAL.value in document["kinds"])
            + Markup('<fieldset><legend>{}</legend>\n<p class="quiet">{}</p>\n').format(
                told["quiet"], told["quiet_hint"]
            )
            + forms.field("from", told["quiet_from"], quiet["from"], "", forms.TIME)
            + forms.field("to", told["quiet_to"], quiet["to"], "", forms.TIME)
            + forms.select("zone", told["zone"], {zone: zone for zone in zones}, zones[0])
            + Markup("</fieldset>\n")
            + forms.button(told["save"])
        )

    def _zones(self, person: Subscriber, current: str | None) -> list[str]:
        """Returns the time zones that the person may live in: the stored one, and those of the countries of their places."""
        countries = [self.places.country(place.region) for place in person.places if place.region]
        found = [zone for country in countries for zone in _zones_of().get(country, ())]
        return list(dict.fromkeys([*([current] if current else []), *found, "UTC"]))


@cache
def _zones_of() -> dict[str, list[str]]:
    """Returns the time zones of each country (ISO 3166-1), the one of most people first where that makes sense (`zone.tab`)."""
    table = resources.files("tzdata").joinpath("zoneinfo", "zone.tab").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for line in table.splitlines():
        if not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            found.setdefault(country, []).append(zone)
    return found


def _sure(renderer: Renderer, words: Catalogue) -> web.Response:
    """Returns the page that asks once more: a deletion cannot be undone."""
    told, leave = words.words["subscribe"], words.words["leave"]
    label = words.joined([leave["link"], told["erase"]], "dash")
    body = forms.paragraph(told["erase_text"]) + forms.form(forms.hidden("action", "erase-now") + forms.button(label))
    return forms.html_page(renderer, words, leave["ask"], body)


def _gone(renderer: Renderer, words: Catalogue) -> web.Response:
    told = words.words["subscribe"]
    body = forms.paragraph(told["broken"]) + forms.link("../subscribe/manage", told["manage_title"])
    return forms.html_page(renderer, words, words.words["leave"]["broken"], body, status=HTTPStatus.NOT_FOUND)
