"""The page of an alert, the list of active alerts, and the answer to "is this alert real?"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from functools import partial
from http import HTTPStatus

from aiohttp import web

from alertd.common.clock import Clock, time_of
from alertd.common.ids import public_id_in
from alertd.model.alert import Alert, loudness
from alertd.public.answers import FRESH_S, Answer, Answers, respond
from alertd.public.layout import page, wanted_languages
from alertd.rendering import Renderer
from alertd.rendering.catalogue import choose_language
from alertd.rendering.facts import Facts
from alertd.service.sharing.public_alerts import PublicAlert, PublicAlerts

#: Maximum age in seconds of an alert that a page is made from, and of the page: with the cache time of clients, three
#: seconds at most.
HEAD_S = FRESH_S / 2
_REGION = re.compile(r"[0-9A-Za-z:._-]{1,64}")


def page_routes(
    alerts: PublicAlerts, renderer: Renderer, clock: Clock, *, may_sign_up: bool = False, on_device: bool = False
) -> list[web.RouteDef]:
    """Returns the routes of the pages about alerts. They link to the form that signs up by mail (`may_sign_up`) and to
    the one that signs up a browser (`on_device`).
    """
    # Separate queues: guesses of codes and regions cannot block the list, nor the pages that people open. No name
    # contains what a guess contains, or the order of a reader's languages: their number would have no limit.
    heads = Answers[PublicAlert | None](clock, HEAD_S)
    pages, lists, regions, others = Answers[Answer](clock, HEAD_S), *(Answers[Answer](clock) for _ in range(3))
    make = _Pages(alerts, renderer, may_sign_up=may_sign_up, on_device=on_device)

    async def find(code: str) -> PublicAlert | None:
        """Returns the alert of a code. Answers a code that alertd never gave without a place in the queue."""
        public_id = public_id_in(code)
        if public_id is None or not await alerts.exists(public_id):
            return None
        return await heads.of(public_id, lambda: alerts.find(public_id))

    async def alert(request: web.Request) -> web.Response:
        wanted = wanted_languages(request, renderer.all_languages)
        found = await find(request.match_info["public_id"])
        language = choose_language(wanted, make.languages(found))
        if found is None:
            return respond(request, await others.of(language, lambda: make.unknown(language)))
        return respond(request, await pages.of(f"{found.public_id}/{language}", lambda: make.alert(found, language)))

    async def active(request: web.Request) -> web.Response:
        asked = request.query.get("region", "")
        region = asked if _REGION.fullmatch(asked) else ""
        language = choose_language(wanted_languages(request, renderer.all_languages), renderer.all_languages)
        queue = regions if region else lists
        return respond(request, await queue.of(f"{region}/{language}", lambda: make.list(region, language)))

    async def verify(request: web.Request) -> web.Response:
        asked = request.query.get("q", "")[:200].strip()
        code = asked.split("?")[0].split("#")[0].rstrip("/").rpartition("/")[2]
        language = choose_language(wanted_languages(request, renderer.all_languages), renderer.all_languages)
        found = await find(code) if asked else None
        result = "" if not asked else "not_ours" if found is None else "ended" if found.is_over else "real"
        return respond(request, await others.of(f"{result}/{language}", lambda: make.check(result, language)))

    return [web.get("/a/{public_id}", alert), web.get("/alerts", active), web.get("/verify", verify)]


class _Pages:
    """Makes the pages."""

    def __init__(self, alerts: PublicAlerts, renderer: Renderer, *, may_sign_up: bool, on_device: bool) -> None:
        self._alerts = alerts
        self._renderer = renderer
        self._page = partial(page, renderer, may_sign_up=may_sign_up, on_device=on_device)

    def languages(self, found: PublicAlert | None) -> Sequence[str]:
        """Returns the languages that the page of an alert, or the one for an unknown code, exists in."""
        return self._renderer.languages(found.alert) if found and found.alert else self._renderer.all_languages

    async def alert(self, found: PublicAlert, language: str) -> Answer:
        """Returns the page of an alert: its facts while it is active, else that it is over."""
        path, languages = f"/a/{found.public_id}", self.languages(found)
        if found.alert is None:
            title = self._renderer.words(language).words["public"]["over"]
            return self._page(
                "ended.html", language, path=path, title=title, languages=languages, texts=()
            )  # fmt: skip
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

    async def list(self, region: str, language: str) -> Answer:
        """Returns the list of active alerts: all, or those whose published area contains a part of the region."""
        shown = []
        for one in await self._alerts.active():
            if one.alert is not None and (not region or region in one.codes):
                told = choose_language((language,), self._renderer.languages(one.alert))
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

    async def check(self, result: str, language: str) -> Answer:
        """Returns the form that asks for a link or code. `result` names the answer to the one that was asked for; "" for
        none.
        """
        words = self._renderer.words(language).words["public"]
        return self._page(
            "verify.html", language, path="/verify", title=words["check"], languages=self._renderer.all_languages,
            answer=words[result] if result else "",
        )  # fmt: skip

    async def unknown(self, language: str) -> Answer:
        """Returns the page for a code that alertd never gave, with the status 404."""
        words = self._renderer.words(language).words["public"]
        return self._page(
            "ended.html", language, path="/alerts", title=words["unknown"], languages=self._renderer.all_languages,
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
