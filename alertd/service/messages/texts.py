"""An organisation's own texts: kept only when they pass their trial, and given ready to be told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from alertd.common.errors import Fault, Problem
from alertd.rendering import Renderer
from alertd.rendering.own_texts import NONE, OwnTexts, RefusedTextError, TextPlace, read_text
from alertd.rendering.rehearsal import rehearse
from alertd.service.cache import SingleFlightCache
from alertd.store.engine.codec import SealError
from alertd.store.organisations.organisations import TextKey, TextStore

KEPT = 64  # revisions in memory; one that is sent is of the latest few
TRIES = 3  # against others who change texts at the same moment

Change = Callable[[dict[TextPlace, str]], Awaitable[None]]


class Texts:
    """Own texts by organisation and revision. A revision never changes."""

    def __init__(self, store: TextStore, renderer: Renderer) -> None:
        self._store = store
        self._renderer = renderer
        self._kept: SingleFlightCache[OwnTexts] = SingleFlightCache(KEPT)

    async def revision(self, org: str) -> int:
        """The latest, 0 for none."""
        return await self._store.revision(org)

    async def latest(self, org: str) -> OwnTexts:
        """What an alert that is submitted now would be told with."""
        return await self.of(org, await self.revision(org))

    async def of(self, org: str, revision: int) -> OwnTexts:
        """The texts of one revision. What can be read no more leaves the usual words in its place: people are told."""
        try:
            return await self._kept.once(None, (org, revision), lambda: self._read(org, revision))
        except (KeyError, SealError):
            structlog.get_logger().error("own texts cannot be read", organisation=org, revision=revision)
            return NONE

    async def _read(self, org: str, revision: int) -> OwnTexts:
        return _ready(await self._store.read_revision(org, revision))

    async def listed(self, org: str) -> tuple[int, dict[TextPlace, str]]:
        """The latest revision, and its texts as they were written."""
        revision = await self.revision(org)
        return revision, {
            TextPlace(*place): source for place, source in (await self._store.read_revision(org, revision)).items()
        }

    async def put(
        self, org: str, place: TextPlace, source: str, *, rev: int | None = None, dry_run: bool = False
    ) -> int:
        """Keep a text that passes its trial, if the texts still are of revision `rev`. Answers the revision they are of then: what was
        said before makes no new one. A dry run answers the same and keeps nothing. Raises Problem.
        """
        self._check(place)
        try:
            read_text(source, place)
        except RefusedTextError as error:
            faults = tuple(Fault("/template", f"Line {fault.line}: {fault.sentence}") for fault in error.faults)
            raise Problem("invalid-request", "The text is not taken.", faults=faults) from None

        async def change(texts: dict[TextPlace, str]) -> None:
            texts[place] = source
            await self._try_out(place, texts)

        return await self._changed(org, change, rev, dry_run=dry_run)

    async def drop(self, org: str, place: TextPlace, *, rev: int | None = None) -> int:
        """The usual words again. Raises Problem where there is no own text."""
        self._check(place)

        async def change(texts: dict[TextPlace, str]) -> None:
            if texts.pop(place, None) is None:
                raise Problem("not-found", "There is no such text.")

        return await self._changed(org, change, rev)

    async def _changed(self, org: str, change: Change, rev: int | None, *, dry_run: bool = False) -> int:
        for _ in range(TRIES):
            revision, texts = await self.listed(org)
            if rev not in {None, revision}:
                raise _changed_since()
            before = dict(texts)
            await change(texts)
            if texts == before:
                return revision
            if dry_run or await self._store.add(org, texts.items(), after=revision):
                return revision + 1
        raise _changed_since()

    async def _try_out(self, place: TextPlace, texts: Mapping[TextPlace, str]) -> None:
        """With all other texts as they are: a title and a body share their room."""
        wrong = await asyncio.to_thread(rehearse, self._renderer, _ready(texts), place)
        if wrong:
            faults = tuple(Fault("/template", sentence) for sentence in wrong)
            raise Problem("message-impossible", "A message of these words cannot be sent.", faults=faults)

    def _check(self, place: TextPlace) -> None:
        if place.language not in self._renderer.all_languages:
            raise Problem(
                "not-found",
                f"There is no catalogue of this language; there are {', '.join(self._renderer.all_languages)}.",
            )


def _ready(sources: Mapping[TextPlace, str] | Mapping[TextKey, str]) -> OwnTexts:
    """Those that can be read."""
    found = {}
    for place, source in ((TextPlace(*stored), source) for stored, source in sources.items()):
        try:
            found[place] = read_text(source, place)
        except RefusedTextError:  # it was taken under other rules
            structlog.get_logger().error("own text cannot be read", place="/".join(place))
    return found


def _changed_since() -> Problem:
    return Problem("version-changed", "The texts were changed since you read them.")
