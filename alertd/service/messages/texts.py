"""Reads and writes an organisation's own texts for messages. A text is stored only if messages with it can be made."""

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

KEPT = 64  # revisions in memory; only the latest few are sent
TRIES = 3  # attempts, if other calls change the texts at the same time

Change = Callable[[dict[TextPlace, str]], Awaitable[None]]


class Texts:
    """Reads and writes own texts, by organisation and revision. A revision never changes."""

    def __init__(self, store: TextStore, renderer: Renderer) -> None:
        self._store = store
        self._renderer = renderer
        self._kept: SingleFlightCache[OwnTexts] = SingleFlightCache(KEPT)

    async def revision(self, org: str) -> int:
        """Returns the latest revision, 0 for none."""
        return await self._store.revision(org)

    async def latest(self, org: str) -> OwnTexts:
        """Returns the texts that an alert submitted now would be sent with."""
        return await self.of(org, await self.revision(org))

    async def of(self, org: str, revision: int) -> OwnTexts:
        """Returns the texts of one revision. If they cannot be read, returns none, so that the standard texts are used
        and people are still notified.
        """
        try:
            return await self._kept.once(None, (org, revision), lambda: self._read(org, revision))
        except (KeyError, SealError):
            structlog.get_logger().error("own_texts.read_failed", organisation=org, revision=revision)
            return NONE

    async def _read(self, org: str, revision: int) -> OwnTexts:
        """Returns the texts of a revision from the store. Raises KeyError if it has no such revision, SealError if it
        is damaged.
        """
        return _ready(await self._store.read_revision(org, revision))

    async def listed(self, org: str) -> tuple[int, dict[TextPlace, str]]:
        """Returns the latest revision and its texts in their source form."""
        revision = await self.revision(org)
        return revision, {
            TextPlace(*place): source for place, source in (await self._store.read_revision(org, revision)).items()
        }

    async def put(
        self, org: str, place: TextPlace, source: str, *, rev: int | None = None, dry_run: bool = False
    ) -> int:
        """Stores a text if messages with it can be made and the texts are still at revision `rev` (None: any).

        Returns the new revision; an unchanged text makes no new one. A dry run returns the same and stores nothing.
        Raises Problem.
        """
        self._check(place)
        try:
            read_text(source, place)
        except RefusedTextError as error:
            faults = tuple(Fault("/template", f"Line {fault.line}: {fault.sentence}") for fault in error.faults)
            raise Problem("invalid-request", "The text is refused; see the faults.", faults=faults) from None

        async def change(texts: dict[TextPlace, str]) -> None:
            """Sets the text. Raises Problem if messages with it cannot be made."""
            texts[place] = source
            await self._try_out(place, texts)

        return await self._changed(org, change, rev, dry_run=dry_run)

    async def drop(self, org: str, place: TextPlace, *, rev: int | None = None) -> int:
        """Removes an own text, so that the standard one is used again. Returns the new revision. Raises Problem if
        there is no own text.
        """
        self._check(place)

        async def change(texts: dict[TextPlace, str]) -> None:
            """Removes the text. Raises Problem if there is none."""
            if texts.pop(place, None) is None:
                raise Problem("not-found", "There is no own text for this place.")

        return await self._changed(org, change, rev)

    async def _changed(self, org: str, change: Change, rev: int | None, *, dry_run: bool = False) -> int:
        """Changes the texts with `change` and stores them as a new revision. Returns its number, or the present one if
        nothing changed. Raises Problem if the texts are no longer at revision `rev` (None: any), or other calls keep
        changing them.
        """
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
        """Makes messages with all texts, because a title and a body share their space. Raises Problem if one cannot be
        made.
        """
        wrong = await asyncio.to_thread(rehearse, self._renderer, _ready(texts), place)
        if wrong:
            faults = tuple(Fault("/template", sentence) for sentence in wrong)
            raise Problem("message-impossible", "A message with this text cannot be sent.", faults=faults)

    def _check(self, place: TextPlace) -> None:
        """Raises Problem if there are no standard texts in the language of this place."""
        if place.language not in self._renderer.all_languages:
            raise Problem(
                "not-found",
                f"There is no catalogue of this language; there are {', '.join(self._renderer.all_languages)}.",
            )


def _ready(sources: Mapping[TextPlace, str] | Mapping[TextKey, str]) -> OwnTexts:
    """Returns the texts that can be parsed, and logs the others."""
    found = {}
    for place, source in ((TextPlace(*stored), source) for stored, source in sources.items()):
        try:
            found[place] = read_text(source, place)
        except RefusedTextError:  # it was accepted under earlier rules
            structlog.get_logger().error("own_text.refused", place="/".join(place))
    return found


def _changed_since() -> Problem:
    """Returns the Problem for texts that another call changed meanwhile."""
    return Problem("version-changed", "The texts were changed since you read them.")
