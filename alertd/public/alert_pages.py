"""The page of an alert, the list of active alerts, and the answer to "is this alert real?"."""

from __future__ import annotations

import re
from datetime import UTC
from functools import partial
from http import HTTPStatus

from aiohttp import web

from alertd.common.clock import Clock, time_of
from alertd.common.errors import Problem
from alertd.common.ids import public_id_in
from alertd.model.alert import Alert, loudness
from alertd.public.answers import Answer, Answers, respond
from alertd.public.layout import page, wanted_languages
from alertd.rendering import Renderer
from alertd.rendering.catalogue import choose_language
from alertd.rendering.facts import Facts
from alertd.service.sharing.public_alerts import PublicAlert, PublicAlerts

_REGION = re.compile(r"[0-9A-Za-z:._-]{1,64}")


def page_routes(
    alerts: PublicAlerts, renderer: Renderer, clock: Clock, *, may_sign_up: bool = False
) -> list[web.RouteDef]:
    """Returns the routes of the pages about alerts. `may_sign_up`: whether they link to the form that signs up."""
    # Separate queues: guesses of codes cannot block the list, nor the pages that people open.
    pages, lists, checks = Answers(clock), Answers(clock), Answers(clock)
    make = _Pages(alerts, renderer, may_sign_up=may_sign_up)

    async def alert(request: web.Request) -> web.Response:
        public_id = public_id_in(request.match_info["public_id"])
        wanted = wanted_languages(request, renderer.all_languages)
        name = f"{public_id}/{' '.join(wanted)}"
        return respond(request, await pages.of(name, lambda: make.alert(public_id, wanted)))

    async def active(request: web.Request) -> web.Response:
        asked = request.query.get("region", "")
        region = asked if _REGION.fullmatch(asked) else ""
        wanted = wanted_languages(request, renderer.all_languages)
        return respond(request, await lists.of(f"{region}/{' '.join(wanted)}", lambda: make.list(region, wanted)))

    async def verify(request: web.Request) -> web.Response:
        asked = request.query.get("q", "")[:200].strip()
        code = asked.split("?")[0].split("#")[0].rstrip("/").rpartition("/")[2]
        public_id = public_id_in(code)
        wanted = wanted_languages(request, renderer.all_languages)
        name = f"{public_id if asked else ''}/{bool(asked)}/{' '.join(wanted)}"
        return respond(request, await checks.of(name, lambda: make.check(public_id, wanted, is_asked=bool(asked))))

    return [web.get("/a/{public_id}", alert), web.get("/alerts", active), web.get("/verify", verify)]


class _Pages:
    """Makes the pages."""

    def __init__(self, alerts: PublicAlerts, renderer: Renderer, *, may_sign_up: bool) -> None:
        self._alerts = alerts
        self._renderer = renderer
        self._page = partial(page, renderer, may_sign_up=may_sign_up)

    async def alert(self, public_id: str | None, wanted: tuple[str, ...]) -> Answer:
        """Returns the page of an alert: its facts while it is active, else that it is over. 404 if there is none."""
        if (found := await self._find(public_id)) is None:
            return self._unknown(wanted)
        path, every = f"/a/{found.public_id}", self._renderer.all_languages
        if found.alert is None:
            language = choose_language(wanted, every)
            title = self._renderer.words(language).words["public"]["over"]
            return self._page(
                "ended.html", language, path=path, title=title, languages=every, texts=()
            )  # fmt: skip
        languages = self._renderer.languages(found.alert)
        language = choose_language(wanted, languages)
        facts = self._facts(found, found.alert, language)
        if found.is_over:
            texts = [text for text in (facts.happened, facts.safety, facts.wish) if text]
            return self._page(
                "ended.html", language, path=path, title=facts.heading, languages=languages,
                texts=texts,
            )  # fmt: skip
        return self._page(
            "alert.html", language, path=path, title=facts.heading, languages=languages, facts=facts,
            area=self._alerts.area(found, language), updated=self._updated(found, found.alert, language),
        )  # fmt: skip

    async def list(self, region: str, wanted: tuple[str, ...]) -> Answer:
        """Returns the list of active alerts, of all regions or of those that touch this one."""
        language = choose_language(wanted, self._renderer.all_languages)
        shown = []
        for one in await self._alerts.active():
            if one.alert is not None and (not region or region in one.codes):
                told = choose_language(wanted, self._renderer.languages(one.alert))
                shown.append(
                    {
                        "href": f"/a/{one.public_id}?lang={language}",
                        "facts": self._facts(one, one.alert, told),
                        "area": self._alerts.area(one, told),
                    }
                )
        title = self._renderer.words(language).words["public"]["active"]
        return self._page(
            "alerts.html", language, path="/alerts", title=title,
            languages=self._renderer.all_languages, query={"region": region} if region else None, alerts=shown,
        )  # fmt: skip

    async def check(self, public_id: str | None, wanted: tuple[str, ...], *, is_asked: bool) -> Answer:
        """Returns the form that asks for a link or code, with the answer to the one that was asked for."""
        language = choose_language(wanted, self._renderer.all_languages)
        words = self._renderer.words(language).words["public"]
        answer = ""
        if is_asked:
            found = await self._find(public_id)
            answer = words["not_ours"] if found is None else words["ended"] if found.is_over else words["real"]
        return self._page(
            "verify.html", language, path="/verify", title=words["check"],
            languages=self._renderer.all_languages, answer=answer,
        )  # fmt: skip

    async def _find(self, public_id: str | None) -> PublicAlert | None:
        try:
            return await self._alerts.find(public_id)
        except Problem as problem:
            if problem.slug != "not-found":
                raise
            return None

    def _unknown(self, wanted: tuple[str, ...]) -> Answer:
        languages = self._renderer.all_languages
        language = choose_language(wanted, languages)
        words = self._renderer.words(language).words["public"]
        return self._page(
            "ended.html", language, path="/alerts", title=words["unknown"], languages=languages,
            status=HTTPStatus.NOT_FOUND, texts=[words["unknown_text"]],
        )  # fmt: skip

    def _facts(self, found: PublicAlert, alert: Alert, language: str) -> Facts:
        """Returns the facts of the page, by the rules of the messages. Of an end they contain nothing that people wrote."""
        facts = self._renderer.page_facts(
            alert, language, loudness=loudness(alert), telling=found.telling, countries=found.countries
        )
        return facts.without("headline") if found.is_over else facts

    def _updated(self, found: PublicAlert, alert: Alert, language: str) -> str:
        seen = alert.case.last_seen
        at = time_of(found.updated).astimezone(alert.expires.tzinfo or UTC)
        return self._renderer.words(language).moment(at, seen.time_zone if seen else None, form="long")
