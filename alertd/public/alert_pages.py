"""The page and the poster of an alert, the list of active alerts, and the answer to "is this alert real?"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from functools import partial
from http import HTTPStatus

import segno
from aiohttp import web
from markupsafe import Markup

from alertd.common.clock import Clock, time_of
from alertd.common.ids import public_id_in
from alertd.model.alert import Alert, loudness
from alertd.public.answers import FOR_OTHER_SITES, FRESH_S, Answer, Answers, answer, respond
from alertd.public.forms import read_form
from alertd.public.geojson import GEOJSON_TYPE, collection, feature
from alertd.public.layout import page, wanted_languages
from alertd.public.pasted_text import PASTED, alert_codes
from alertd.rendering import Renderer
from alertd.rendering.catalogue import choose_language
from alertd.rendering.facts import Facts
from alertd.service.sharing.public_alerts import PublicAlert, PublicAlerts

#: Maximum age in seconds of the alert that a page is made from, and of the page. With the cache time of clients
#: (`KEEP_S`), a reader sees a page that is at most three seconds old.
HEAD_S = FRESH_S / 2
_REGION = re.compile(r"[0-9A-Za-z:._-]{1,64}")


def page_routes(
    alerts: PublicAlerts, renderer: Renderer, clock: Clock, *, may_sign_up: bool = False, on_device: bool = False
) -> list[web.RouteDef]:
    """Returns the routes of the pages about alerts. The pages link to the form for sign-up by mail if `may_sign_up`,
    and to the form for sign-up of a browser if `on_device`.
    """
    routes = _PageRoutes(alerts, renderer, clock, may_sign_up=may_sign_up, on_device=on_device)
    return [
        web.get("/a/{public_id}", routes.alert),
        web.get("/a/{public_id}/poster", routes.poster),
        web.get("/alerts", routes.active),
        web.get("/alerts.geojson", routes.map),
        web.get("/verify", routes.ask),
        web.post("/verify", routes.verify),
    ]


class _PageRoutes:
    """Handles the requests for pages. Makes each page at most once or twice a second, and shares it among requests."""

    def __init__(
        self, alerts: PublicAlerts, renderer: Renderer, clock: Clock, *, may_sign_up: bool, on_device: bool
    ) -> None:
        self._alerts = alerts
        self._renderer = renderer
        self._make = _Pages(alerts, renderer, may_sign_up=may_sign_up, on_device=on_device)
        # Separate queues: guesses of codes and regions cannot block the list, nor the pages that people open. Only the
        # names in `_regions` contain a guess; elsewhere the number of different names is limited.
        self._heads = Answers[PublicAlert | None](clock, HEAD_S)
        self._pages, self._posters = (Answers[Answer](clock, HEAD_S) for _ in range(2))
        self._lists, self._maps, self._regions, self._others = (Answers[Answer](clock) for _ in range(4))

    async def _find(self, code: str) -> PublicAlert | None:
        """Returns the alert of a public id, as a person typed it; None if alertd never gave that id, or if the alert
        has no page. Checks first that the id exists, so that guesses take no place in the queue.
        """
        public_id = public_id_in(code)
        if public_id is None or not await self._alerts.exists(public_id):
            return None
        return await self._heads.of(public_id, lambda: self._alerts.find(public_id))

    async def _opened(self, request: web.Request) -> tuple[PublicAlert | None, str]:
        """Returns the alert of the id in the path (None if there is none), and the language of its page for this
        reader.
        """
        found = await self._find(request.match_info["public_id"])
        return found, self._language(request, self._make.languages(found))

    def _language(self, request: web.Request, among: Sequence[str] = ()) -> str:
        """Returns the best language for the reader: one of `among`, or of all languages if that is empty."""
        every = self._renderer.all_languages
        return choose_language(wanted_languages(request, every), among or every)

    async def alert(self, request: web.Request) -> web.Response:
        """Answers /a/{public_id} with the alert's page, or 404 for an unknown code."""
        found, language = await self._opened(request)
        if found is None:
            return respond(request, await self._others.of(language, lambda: self._make.unknown(language)))
        return respond(
            request, await self._pages.of(f"{found.public_id}/{language}", lambda: self._make.alert(found, language))
        )

    async def poster(self, request: web.Request) -> web.Response:
        """Answers /a/{public_id}/poster, in the reader's language and in `?also=` or another language of the alert."""
        found, language = await self._opened(request)
        if found is None:
            return respond(request, await self._others.of(language, lambda: self._make.unknown(language)))
        second = self._make.second_language(found, language, request.query.get("also", ""))
        name = f"{found.public_id}/{language}/{second}"
        return respond(request, await self._posters.of(name, lambda: self._make.poster(found, language, second)))

    async def active(self, request: web.Request) -> web.Response:
        """Answers /alerts with the active alerts: those of `?region=`, or all if that is missing or malformed."""
        region, language = _asked_region(request), self._language(request)
        queue = self._regions if region else self._lists
        return respond(request, await queue.of(f"{region}/{language}", lambda: self._make.active(region, language)))

    async def map(self, request: web.Request) -> web.Response:
        """Answers /alerts.geojson with the alerts of the list as GeoJSON."""
        region, language = _asked_region(request), self._language(request)
        queue = self._regions if region else self._maps
        return respond(request, await queue.of(f"map/{region}/{language}", lambda: self._make.map(region, language)))

    async def ask(self, request: web.Request) -> web.Response:
        """Answers GET /verify with the form into which a reader pastes a text."""
        language = self._language(request)
        return respond(request, await self._others.of(f"ask/{language}", lambda: self._make.check(language)))

    async def verify(self, request: web.Request) -> web.Response:
        """Answers POST /verify: whether the pasted text links to or names an alert. Of several alerts, takes the first
        active one, else the first one that is over.
        """
        text = (await read_form(request)).get("text", "")[:PASTED]
        language = self._language(request)
        found = [one for code in alert_codes(text, self._renderer.site) if (one := await self._find(code)) is not None]
        if not found:
            return respond(
                request, await self._others.of(f"none/{language}", lambda: self._make.check(language, "not_ours"))
            )
        shown = min(found, key=lambda one: one.is_over)
        name = f"verify/{shown.public_id}/{shown.is_over}/{language}"
        return respond(request, await self._pages.of(name, lambda: self._make.verdict(shown, language)))


def _asked_region(request: web.Request) -> str:
    """Returns the code of `?region=`; "" if that is missing or malformed."""
    asked = request.query.get("region", "")
    return asked if _REGION.fullmatch(asked) else ""


def qr_code(link: str) -> Markup:
    """Returns the QR code (ISO/IEC 18004) of a link as inline SVG, dark on light in every colour scheme."""
    return Markup(segno.make(link, error="m").svg_inline(omitsize=True, light="#fff", title=link))  # noqa: S704  of segno's own


class _Pages:
    """Makes the pages about alerts, each in one language; the poster in two."""

    def __init__(self, alerts: PublicAlerts, renderer: Renderer, *, may_sign_up: bool, on_device: bool) -> None:
        self._alerts = alerts
        self._renderer = renderer
        self._page = partial(page, renderer, may_sign_up=may_sign_up, on_device=on_device)

    def languages(self, found: PublicAlert | None) -> Sequence[str]:
        """Returns the languages of an alert's page: those of its texts; all if the alert is purged
        or unknown (None).
        """
        return self._renderer.languages(found.alert) if found and found.alert else self._renderer.all_languages

    async def alert(self, found: PublicAlert, language: str) -> Answer:
        """Returns the page of an alert: its facts and area while it is active, else the page that says it is over."""
        path, languages = f"/a/{found.public_id}", self.languages(found)
        if found.alert is None or found.is_over:
            return self._ended(found, language)
        facts = self._facts(found, found.alert, language)
        return self._page(
            "alert.html", language, path=path, title=facts.heading, languages=languages, facts=facts,
            public_id=found.public_id, area=self._alerts.area(found, language), updated=self._updated(found, found.alert, language),
        )  # fmt: skip

    def second_language(self, found: PublicAlert, language: str, asked: str) -> str:
        """Returns the second language of a poster: `asked` if the alert has it, else another one of the alert; "" if there
        is none.
        """
        others = [one for one in self.languages(found) if one != language]
        return asked if asked in others else next(iter(others), "")

    async def poster(self, found: PublicAlert, language: str, second: str) -> Answer:
        """Returns the poster of an active alert for one A4 page, in `language` and `second` ("" for none). For an alert
        that is over, returns the page that says so.
        """
        if found.alert is None or found.is_over:
            return self._ended(found, language)
        path, link = f"/a/{found.public_id}/poster", f"{self._renderer.site}/a/{found.public_id}"
        sides = [
            {
                "language": one, "direction": self._renderer.words(one).direction, "words": self._renderer.words(one).words,
                "facts": self._facts(found, found.alert, one),
            }
            for one in (language, second)
            if one
        ]  # fmt: skip
        seconds = [
            {"tag": one, "name": self._renderer.words(one).words["name"], "href": f"{path}?lang={language}&also={one}"}
            for one in self.languages(found)
            if one not in {language, second}
        ]
        return self._page(
            "poster.html", language, path=path, title=self._renderer.words(language).words["public"]["poster"],
            languages=self.languages(found), facts=self._facts(found, found.alert, language), sides=sides, link=link,
            seconds=seconds, qr=qr_code(link),
        )  # fmt: skip

    def _ended(self, found: PublicAlert, language: str) -> Answer:
        """Returns the page of an alert that is over: the text of its end, which contains nothing about a person. The
        page of a purged alert only says that the alert is over.
        """
        path, languages = f"/a/{found.public_id}", self.languages(found)
        if found.alert is None:
            title = self._renderer.words(language).words["public"]["over"]
            return self._page("ended.html", language, path=path, title=title, languages=languages, texts=())
        facts = self._facts(found, found.alert, language)
        texts = [text for text in (facts.happened, facts.safety, facts.wish) if text]
        return self._page(
            "ended.html", language, path=path, title=facts.heading, languages=languages, texts=texts
        )  # fmt: skip

    async def active(self, region: str, language: str) -> Answer:
        """Returns the list of active alerts: all if `region` is "", else those whose published area lies in or touches
        the region with this code. Each alert is in `language` if it has that, else in a language of its own.
        """
        shown = [
            {
                "href": f"/a/{one.public_id}?lang={language}",
                "facts": self._facts(one, alert, its),
                "area": self._alerts.area(one, its),
            }
            for one, alert, its in await self._active(region, language)
        ]
        title = self._renderer.words(language).words["public"]["active"]
        return self._page(
            "alerts.html", language, path="/alerts", title=title,
            languages=self._renderer.all_languages, query={"region": region} if region else None, alerts=shown,
        )  # fmt: skip

    async def map(self, region: str, language: str) -> Answer:
        """Returns the alerts of `active` as GeoJSON, which scripts of other sites may read."""
        features = [
            feature(
                one, alert, headline=self._facts(one, alert, its).heading, language=its,
                area=self._alerts.area(one, its), link=f"{self._renderer.site}/a/{one.public_id}",
            )
            for one, alert, its in await self._active(region, language)
        ]  # fmt: skip
        return answer(collection(features), GEOJSON_TYPE, headers=FOR_OTHER_SITES)

    async def _active(self, region: str, language: str) -> list[tuple[PublicAlert, Alert, str]]:
        """Returns the active alerts of a region ("" for all), each with its content and the best of its languages."""
        return [
            (one, one.alert, choose_language((language,), self._renderer.languages(one.alert)))
            for one in await self._alerts.active()
            if one.alert is not None and (not region or region in one.codes)
        ]

    async def check(self, language: str, result: str = "", link: str = "") -> Answer:
        """Returns the form into which a reader pastes a text, with the answer to the last text. `result`: the key of
        the answer (`real`, `ended` or `not_ours`), "" before the first text. `link`: the page of the alert that was
        found.
        """
        words = self._renderer.words(language).words["public"]
        return self._page(
            "verify.html", language, path="/verify", title=words["check"], languages=self._renderer.all_languages,
            answer=words[result] if result else "", link=link, most=PASTED,
        )  # fmt: skip

    async def verdict(self, found: PublicAlert, language: str) -> Answer:
        """Returns the form with the answer that an alert is real, and the link to its page: only that page is proof."""
        link = f"{self._renderer.site}/a/{found.public_id}"
        return await self.check(language, "ended" if found.is_over else "real", link)

    async def unknown(self, language: str) -> Answer:
        """Returns the page for a code that belongs to no alert with a page. Its status is 404."""
        words = self._renderer.words(language).words["public"]
        return self._page(
            "ended.html", language, path="/alerts", title=words["unknown"], languages=self._renderer.all_languages,
            status=HTTPStatus.NOT_FOUND, texts=[words["unknown_text"]],
        )  # fmt: skip

    def _facts(self, found: PublicAlert, alert: Alert, language: str) -> Facts:
        """Returns the facts that the page shows, chosen by the same rules as those of a message. For an alert that is
        over, they are the facts of the end and contain nothing that a person wrote.
        """
        facts = self._renderer.page_facts(
            alert, language, loudness=loudness(alert), telling=found.telling, countries=found.countries
        )
        return facts.without("headline") if found.is_over else facts

    def _updated(self, found: PublicAlert, alert: Alert, language: str) -> str:
        """Returns the time of the alert's last change, in the time zone of the last sighting or else of the expiry."""
        seen = alert.case.last_seen
        at = time_of(found.updated).astimezone(alert.expires.tzinfo or UTC)
        return self._renderer.words(language).moment(at, seen.time_zone if seen else None, form="long")
