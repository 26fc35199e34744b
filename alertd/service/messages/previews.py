"""Shows what an alert's messages will look like, and what readers of each language will miss. Stores and sends nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from alertd.common.errors import Fault, Problem
from alertd.common.ids import SOME_PUBLIC_ID, new_id
from alertd.model.alert import Alert
from alertd.model.kinds import CancelReason, Kind, Occasion
from alertd.rendering import Preview, Renderer, Telling
from alertd.rendering.catalogue import matching
from alertd.rendering.own_texts import OwnTexts
from alertd.service.messages.message_builder import stamp_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """One message, as a reader of the language will get it on the channel."""

    channel: str
    language: str
    preview: Preview


def telling_of(occasion: Occasion, reason: CancelReason | None, *, alerted: datetime) -> Telling:
    """Returns the occasion to preview messages for, of an alert that was sent at `alerted`. Raises Problem if a cancel
    has no reason, or if any other occasion has one.
    """
    if (occasion is Occasion.CANCEL) != (reason is not None):
        sentence = (
            f"A cancel must have a reason, and no other occasion may have one. Reasons: {', '.join(CancelReason)}."
        )
        raise Problem(
            "invalid-request", "The reason is missing or not allowed.", faults=(Fault("", sentence, "reason"),)
        )
    return Telling(occasion=occasion, reason=reason, alerted_at=alerted)


def previews(
    alert: Alert, renderer: Renderer, *, channels: Collection[str], languages: Sequence[str], telling: Telling,
    own: OwnTexts, now_ms: int, countries: Sequence[str] = (),
) -> list[Specimen]:  # fmt: skip
    """Returns the message of each channel in each language, ordered by channel, then language. `languages` are some of
    `renderer.languages(alert)`; `countries` are those that the area lies in.
    """
    version = new_id(now_ms)
    specimens = []
    for channel in channels:
        for language in languages:
            stamp = stamp_of(alert, version, language, sent_ms=now_ms)
            preview = renderer.preview(
                alert, channel=channel, language=language, stamp=stamp, telling=telling, own=own, countries=countries,
                url=renderer.link(alert, SOME_PUBLIC_ID),
            )  # fmt: skip
            specimens.append(Specimen(channel=channel, language=language, preview=preview))
    return specimens


def chosen_languages(alert: Alert, renderer: Renderer, wanted: Sequence[str]) -> tuple[str, ...]:
    """Returns the wanted languages, else all in which the alert can be sent. Raises Problem if it cannot be sent in a
    wanted one.
    """
    languages = renderer.languages(alert)
    unknown = [tag for tag in wanted if tag not in languages]
    if unknown:
        sentence = f"The alert cannot be sent in {', '.join(unknown)}, only in {', '.join(languages)}."
        raise Problem(
            "invalid-request", "The alert cannot be sent in a language.", faults=(Fault("", sentence, "languages"),)
        )
    return tuple(dict.fromkeys(wanted)) or languages


def untold(alert: Alert, renderer: Renderer) -> list[str]:
    """Returns the languages of the sender's texts in which no message is sent, because alertd has no catalogue or a
    required text is missing.
    """
    return [tag for tag in alert.info if tag not in renderer.languages(alert)]


def untranslated(alert: Alert, language: str, telling: Telling) -> list[str]:
    """Returns JSON pointers to texts that readers of this language miss, or get in another language, while other
    readers can read them.
    """
    return [pointer for pointer, written, sent in _texts(alert, language, telling) if written and sent not in written]


#: The sender's texts in a message. For a missing child, the name replaces the headline.
_TOLD = {Kind.MISSING_CHILD: ("description", "instruction"), Kind.GENERAL: ("headline", "description", "instruction")}
_TOLD_AT_THE_END: dict[Kind, tuple[str, ...]] = {Kind.MISSING_CHILD: (), Kind.GENERAL: ("headline",)}


def _texts(alert: Alert, language: str, telling: Telling) -> Iterator[tuple[str, Collection[str], str | None]]:
    """Yields for each text of a message: its JSON pointer, the languages it exists in, and the one of them used here."""
    own = matching(language, alert.info) or language
    for name in (_TOLD_AT_THE_END if telling.is_end else _TOLD)[alert.kind]:
        yield f"/info/{own}/{name}", [tag for tag, info in alert.info.items() if getattr(info, name)], own
    if telling.is_end:
        return
    for i, child in enumerate(alert.case.children):
        yield f"/case/children/{i}/clothing/{language}", child.clothing, matching(language, child.clothing)
        for j, photo in enumerate(child.photos):
            yield f"/case/children/{i}/photos/{j}/alt/{language}", photo.alt, matching(language, photo.alt)
    if (seen := alert.case.last_seen) is not None:
        yield f"/case/last_seen/place/{language}", seen.place, matching(language, seen.place)
