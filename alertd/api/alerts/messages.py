"""The HTTP operation that previews the messages of an alert before alertd sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field, field_validator

from alertd.api.http.call import credential, services
from alertd.api.http.operations import Operations
from alertd.api.shapes import Query
from alertd.common.clock import time_of
from alertd.model.alert import Alert, AlertRequest
from alertd.model.faults import refusal
from alertd.model.fields import Instant
from alertd.model.kinds import CancelReason, Channel, Occasion
from alertd.rendering import Renderer, Telling
from alertd.rendering.own_texts import OwnTexts
from alertd.service.container import Container
from alertd.service.messages import previews
from channels.base import OPT_OUT_PLACEHOLDER, SAMPLE_OPT_OUT, MailMessage, Message, PushMessage, SmsMessage, Texting
from channels.text import TableName, best_coding


class MessagesQuery(Query):
    channels: str = Field("", description="Separated by commas. Default: the alert's own.", max_length=64)
    languages: str = Field("", description="Separated by commas. Default: all that it can be sent in.", max_length=256)
    occasion: Occasion = Field(
        Occasion.ALERT, description="The occasion of the message: the alert, a follow-up, or its end."
    )
    reason: CancelReason | None = Field(None, description="The reason of a cancellation; only with `occasion=cancel`.")

    alerted: Instant | None = Field(
        None, description="When recipients were first notified, which an end message contains. Default: now."
    )

    @field_validator("channels")
    @classmethod
    def _known(cls, text: str) -> str:
        """Refuses a list that contains an unknown channel."""
        for name in _listed(text):
            if name not in list(Channel):
                raise refusal(f"The channels are {', '.join(Channel)}.")
        return text


class PreviewLanguage(BaseModel):
    language: str
    name: str = Field(description="The name of the language in itself, for the fixed words around the texts.")
    direction: Literal["ltr", "rtl"]
    untranslated: list[str] = Field(
        description="Texts of the alert without a translation into this language: they are left out or, for a place, sent in another language."
    )


class PreviewCoding(BaseModel):
    """One way to send an SMS: the encoding, the number of segments and the price, for one carrier."""

    carrier: str
    encoding: Literal["gsm7", "ucs2"]
    national_table: TableName | None = Field(description="The national language table that carries the letters.")
    transliterated: bool = Field(description="Letters of the text lose their accents; names keep them.")
    segments: int
    price: float | None = Field(description="For one recipient, from `budget.segment_price`; null if not set.")
    used: bool = Field(description="The carrier sends it in this coding; the others show the alternatives' cost.")


class PreviewMessage(BaseModel):
    channel: str
    language: str
    title: str | None = Field(None, description="Push.")
    body: str | None = Field(None, description="Push.")
    image: str | None = Field(None, description="Push: the URL of the photo once the alert is live.")
    subject: str | None = Field(None, description="Mail.")
    text: str | None = Field(None, description="SMS and mail.")
    html: str | None = Field(None, description="Mail.")
    encoding: Literal["gsm7", "ucs2"] | None = Field(None, description="SMS.")
    segments: int | None = Field(
        None, description="SMS: the number of segments sent and paid for; the maximum if carriers differ."
    )
    codings: list[PreviewCoding] = Field([], description="SMS: every way that the settings of each carrier allow.")
    name_decides: bool | None = Field(
        None,
        description="SMS: only a name keeps it from the cheaper alphabet. A name is never transliterated.",
    )
    left_out: list[str] = Field(description="Known facts that did not fit; contacts each with their number or address.")
    shortened: list[str] = Field(description="Facts that are shortened.")


class MessagesPreview(BaseModel):
    languages: list[PreviewLanguage]
    untold: list[str] = Field(description="Languages of `info` that no message uses.")
    messages: list[PreviewMessage]


OPERATIONS = Operations()


@OPERATIONS.add(
    "POST", "/v1/messages/preview", "Preview messages", "alerts:read", or_scope="alerts:write", essential=True,
    problems=(
        "case-not-verified", "expired", "channel-unavailable", "translation-unreviewed", "language-missing",
        "photo-unreadable", "message-impossible", "unknown-region", "invalid-geometry",
        "contact-unreachable-from-area", "contact-voice-only",
    ),
)  # fmt: skip
async def preview_messages(request: web.Request, *, query: MessagesQuery, body: AlertRequest) -> MessagesPreview:
    """Returns an alert's messages on each channel in each language: the texts, the SMS segments, the facts that did not
    fit and the missing translations. With `occasion`, returns the follow-up messages, as if the alert was sent now or
    at `alerted`. An end message contains no name. Refuses faults in the content, the photos, the regions of the target
    and the contacts, as a submission does. Does not check the author, the jurisdiction, the languages of the
    organisation, the start, the size of the audience, duplicates or stops. Stores and sends nothing.
    """
    s, alert, who = services(request), body.alert(), credential(request)
    alert = await s.intake.check_unsigned(alert, who)
    alert = await s.photos.add_descriptions(alert, who)
    s.targeting.check_own(alert.target, who.org)
    async with s.reach_audit.one_of_few(who):
        countries = await s.reach_previews.countries(alert)
    languages = previews.chosen_languages(alert, s.renderer, _listed(query.languages))
    channels = _listed(query.channels) or list(dict.fromkeys(alert.channels))
    own, now_ms = await s.texts.latest(who.org), s.clock.now_ms()
    alerted = query.alerted or time_of(now_ms)
    telling = previews.telling_of(query.occasion, query.reason, alerted=alerted)
    wanted = channels, languages
    return await asyncio.to_thread(messages_reply, making_of(s), alert, wanted, telling, own, now_ms, countries)


@dataclass(frozen=True, kw_only=True, slots=True)
class Making:
    """What a preview needs besides the alert: the renderer of messages, the SMS carriers, and the price of an SMS
    segment.
    """

    renderer: Renderer
    texting: Mapping[str, Texting]  # the SMS carriers, by name
    segment_price: float  # 0: not configured


def making_of(s: Container) -> Making:
    """Returns the renderer, the SMS carriers of this process, and the configured price of an SMS segment."""
    texting = {one.name: one.channel for one in s.carriers.all() if isinstance(one.channel, Texting)}
    return Making(renderer=s.renderer, texting=texting, segment_price=s.settings.budget.segment_price)


def messages_reply(
    making: Making, alert: Alert, wanted: tuple[Collection[str], Sequence[str]], telling: Telling, own: OwnTexts,
    now_ms: int, countries: Sequence[str],
) -> MessagesPreview:  # fmt: skip
    """Renders an alert's messages on the channels and in the languages in `wanted`, and returns them as the API shows
    them. `telling` is the occasion, `own` are the organisation's texts, and `countries` are those that the area lies
    in. Call it in a thread, because rendering takes processor time.
    """
    (channels, languages), renderer = wanted, making.renderer
    shown = previews.previews(
        alert, renderer, channels=channels, languages=languages, telling=telling, own=own, now_ms=now_ms,
        countries=countries,
    )  # fmt: skip
    return MessagesPreview(
        languages=[_language(renderer, tag, previews.untranslated(alert, tag, telling)) for tag in languages],
        untold=previews.untold(alert, renderer),
        messages=[_message(making, one) for one in shown],
    )


def _listed(text: str) -> list[str]:
    """Returns the parts of a text between commas, each once and without empty ones."""
    return list(dict.fromkeys(part for part in text.split(",") if part))


def _language(renderer: Renderer, tag: str, untranslated: list[str]) -> PreviewLanguage:
    """Returns a language as the preview shows it: its own name, its direction, and the texts without a translation."""
    words = renderer.words(tag)
    direction: Literal["ltr", "rtl"] = "rtl" if words.direction == "rtl" else "ltr"
    return PreviewLanguage(
        language=tag, name=str(words.words["name"]), direction=direction, untranslated=untranslated
    )  # fmt: skip


def _message(making: Making, one: previews.Specimen) -> PreviewMessage:
    """Returns one message as the preview shows it."""
    reply = PreviewMessage(
        channel=one.channel,
        language=one.language,
        left_out=list(one.preview.left_out),
        shortened=list(one.preview.shortened),
    )
    return reply.model_copy(update=_texts(making, one.preview.message))


def _texts(making: Making, message: Message) -> dict[str, Any]:
    """Returns the members of a previewed message that its channel has."""
    match message:
        case PushMessage():
            return {"title": message.title, "body": message.body, "image": message.image_url}
        case SmsMessage():
            return _sms(making, message)
        case MailMessage():
            text, html = (said.replace(OPT_OUT_PLACEHOLDER, SAMPLE_OPT_OUT) for said in (message.text, message.html))
            return {"subject": message.subject, "text": text, "html": html}


def _sms(making: Making, message: SmsMessage) -> dict[str, Any]:
    """Returns the SMS members of a previewed message: the text as the least capable carrier sends it, its segments, and
    every coding that each carrier's settings allow.
    """
    sent = best_coding(message.text, making.renderer.sms, message.names)
    nameless = best_coding(message.text, making.renderer.sms)
    found = [
        PreviewCoding(
            carrier=name,
            encoding=one.encoding,
            national_table=one.table,
            transliterated=one.transliterated,
            segments=len(one.parts),
            price=round(len(one.parts) * making.segment_price, 6) if making.segment_price else None,
            used=not n,
        )
        for name, channel in making.texting.items()
        for n, one in enumerate(channel.codings(message))
    ]
    return {
        "text": sent.text,
        "encoding": sent.encoding,
        "segments": len(sent.parts),
        "codings": found,
        "name_decides": sent.encoding == "ucs2" and nameless.encoding == "gsm7",
    }
