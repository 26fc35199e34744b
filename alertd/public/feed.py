"""Serves the Atom feed of the active alerts at /feed.atom, and alerts as CAP documents below /cap. Both contain only
data that the author chose to publish.
"""

from __future__ import annotations

from aiohttp import web

from alertd.common.clock import Clock
from alertd.model.cap.writer import MEDIA_TYPE
from alertd.public.answers import FOR_OTHER_SITES, Answer, Answers, answer, respond
from alertd.public.atom import FEED_TYPE, atom
from alertd.service.sharing.feeds import Feeds


def feed_routes(feeds: Feeds, site: str, clock: Clock) -> list[web.RouteDef]:
    """Returns the routes of the feed and the CAP documents. `site` is the public URL without a trailing slash. An old
    identifier of an alert gives the alert's current document; an unknown one gives 404.
    """
    # Separate queues: requests for missing documents cannot block the feed.
    feed_answers, documents = Answers[Answer](clock), Answers[Answer](clock)

    async def make_feed() -> Answer:
        return answer(atom(await feeds.feed(), site), FEED_TYPE, headers=FOR_OTHER_SITES)

    async def feed(request: web.Request) -> web.Response:
        return respond(request, await feed_answers.of("", make_feed))

    async def cap(request: web.Request) -> web.Response:
        identifier = request.match_info["identifier"]

        async def make_cap() -> Answer:
            current, document = await feeds.cap(identifier)
            return answer(document, MEDIA_TYPE, location=f"/cap/{current}.xml", headers=FOR_OTHER_SITES)

        return respond(request, await documents.of(identifier, make_cap))

    return [web.get("/feed.atom", feed), web.get("/cap/{identifier}.xml", cap)]
