"""What an alert's messages will look like, and what readers of each language will miss. Nothing is kept or sent."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from alertd.documents import Alert
from alertd.errors import Fault, Problem
from alertd.ids import new_id
from alertd.kinds import Kind
from alertd.rendering import Preview, Renderer
from alertd.rendering.languages import matching
from alertd.service.messages import stamp_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """One message, as a reader of that language will get it on that channel."""

    channel: str
    language: str
    preview: Preview


def previews(
    alert: Alert, renderer: Renderer, *, channels: Collection[str], languages: Sequence[str], now_ms: int
) -> list[Specimen]:
    """The message of each channel in each language, in that order. The languages are of `renderer.languages(alert)`."""
    version = new_id(now_ms)
    specimens = []
    for channel in channels:
        for language in languages:
            stamp = stamp_of(alert, version, language, sent_ms=now_ms)
            preview = renderer.preview(alert, channel=channel, language=language, stamp=stamp)
            specimens.append(Specimen(channel=channel, language=language, preview=preview))
    return specimens


def chosen_languages(alert: Alert, renderer: Renderer, wanted: Sequence[str]) -> tuple[str, ...]:
    """The wanted languages, else all that the alert can be told in. Raises Problem for one that it cannot be told in."""
    told = renderer.languages(alert)
    unknown = [tag for tag in wanted if tag not in told]
    if unknown:
        sentence = f"The alert cannot be told in {', '.join(unknown)}; it can be in {', '.join(told)}."
        raise Problem("invalid-request", "A language is not there.", faults=(Fault("", sentence, "languages"),))
    return tuple(dict.fromkeys(wanted)) or told


def untold(alert: Alert, renderer: Renderer) -> list[str]:
    """The sender's languages that nobody will be told in: without catalogue, or without the text that is the alert."""
    return [tag for tag in alert.info if tag not in renderer.languages(alert)]


def untranslated(alert: Alert, language: str) -> list[str]:
    """JSON pointers to texts that others can read and readers of this language cannot, or read in another language."""
    return [pointer for pointer, written, told in _texts(alert, language) if written and told not in written]


def _texts(alert: Alert, language: str) -> Iterator[tuple[str, Collection[str], str | None]]:
    """Where each text of a message is or would be, the languages it is in, and which of them this one is told from."""
    own = matching(language, alert.info) or language
    for name in ("headline", "description", "instruction")[alert.kind is Kind.MISSING_CHILD :]:  # a child has a name
        yield f"/info/{own}/{name}", [tag for tag, info in alert.info.items() if getattr(info, name)], own
    for i, child in enumerate(alert.case.children):
        yield f"/case/children/{i}/clothing/{language}", child.clothing, matching(language, child.clothing)
    if (seen := alert.case.last_seen) is not None:
        yield f"/case/last_seen/place/{language}", seen.place, matching(language, seen.place)
