"""Makes the page to the people on call: an alert awaits its approver, or another organisation asks to stand it down.

A page passes over other people's networks to phones that others may read. So it contains only the organisation's name
and a link with the alert's id, and no word of a case. The link has a line of its own, so that no direction mark gets
into it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import escape

from alertd.model.alert import Status
from alertd.rendering.catalogue import REFERENCE, Catalogue, matching
from alertd.rendering.plaintext import clip, line
from alertd.rendering.renderer import Renderer
from channels.base import MailMessage, Message, PushMessage, SmsMessage, Stamp

#: Maximum characters of the organisation's name in a page. With the sentence around it and a link of 80 letters, an SMS
#: is one or two segments.
NAME_ROOM = 40
_COLONS = " :：\u00a0\u202f"  # cut from the end of a push's text, which has its link beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """The content of a page: a message to a person on call."""

    organisation: str  # its name
    link: str  # address of the alert in the console
    status: str  # CAP status: actual, exercise or test
    others: int = 0  # number of other alerts that wait
    asks: bool = False  # another organisation asks to stand it down; otherwise it waits for approval


def page(renderer: Renderer, channel: str, language: str, stamp: Stamp, facts: PageFacts) -> Message:
    """Returns the page (message to a person on call) for a channel, in this language or else in English. A test is marked in front. Raises
    `KeyError` for an unknown channel.
    """
    words = renderer.words(matching(language, renderer.all_languages) or REFERENCE)
    stamp = replace(stamp, language=words.language, status=facts.status)
    title, text = (words.words["page"][f"asked_{name}" if facts.asks else name] for name in ("title", "text"))
    said = text.format(organisation=words.isolate(clip(line(facts.organisation), NAME_ROOM)))
    mark = "" if facts.status == Status.ACTUAL else words.words["mark"]["general"][facts.status]
    title, text = (words.joined([mark, each], "dash") for each in (title, said))
    others = words.words["page"]["others"].format(count=facts.others) if facts.others else ""
    more = f"\n{others}" if others else ""
    match channel:
        case "sms":
            return SmsMessage(stamp=stamp, text=f"{text}\n{facts.link}{more}")
        case "push":
            return PushMessage(stamp=stamp, title=title, body=f"{text.rstrip(_COLONS)}{more}", url=facts.link)
        case "mail":
            why = words.words["page"]["why"]
            plain = f"{text}\n{facts.link}{more}\n\n{why}\n"
            return MailMessage(
                stamp=stamp, subject=title, text=plain, html=_html(words, title, text, facts.link, others)
            )
        case _:
            raise KeyError(f"Nobody is told by {channel} of an alert.")


def _html(words: Catalogue, title: str, text: str, link: str, others: str) -> str:
    """Returns the page as HTML."""
    where = escape(link)
    more = f"<p>{escape(others)}</p>\n" if others else ""
    return (
        f'<!doctype html>\n<html lang="{words.language}" dir="{words.direction}"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title></head>\n<body>\n<p>{escape(text)}</p>\n"
        f'<p><a href="{where}" dir="ltr">{where}</a></p>\n{more}<p>{escape(words.words["page"]["why"])}</p>\n</body></html>\n'
    )
