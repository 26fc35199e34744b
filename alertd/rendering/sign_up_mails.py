"""The mails of sign-up: a request to confirm, a link to one's own settings, and a test message.

Strangers cause these mails. So they contain only our own words, names of regions and a link, and no text that a
stranger wrote. The link has a line of its own, so that no direction mark gets into it.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import escape

from alertd.rendering.catalogue import Catalogue
from channels.base import MailMessage, Stamp


def confirmation(words: Catalogue, stamp: Stamp, places: Sequence[str], link: str) -> MailMessage:
    """Returns the mail with the link that confirms a sign-up for these places. Their names may have direction isolates."""
    texts = words.words["subscribe"]
    text = texts["confirm_mail"].format(places=words.listed(places))
    return _mail(words, stamp, texts["confirm_subject"], [text, texts["confirm_how"]], link, [texts["confirm_nothing"]])


def settings_link(words: Catalogue, stamp: Stamp, link: str, *, is_known: bool) -> MailMessage:
    """Returns the mail with the link to the person's own settings. `is_known`: the person tried to sign up a second time."""
    texts = words.words["subscribe"]
    subject, text = (
        (texts["known_subject"], texts["known_mail"]) if is_known else (texts["me_title"], texts["manage_mail"])
    )
    return _mail(words, stamp, subject, [text], link, [texts["manage_nothing"]])


def trial(words: Catalogue, stamp: Stamp, link: str) -> MailMessage:
    """Returns the test message that a person asks for, to be sent to themselves."""
    texts = words.words["subscribe"]
    mark = words.words["mark"]["missing-child"]["Test"]
    return _mail(words, stamp, words.joined([mark, texts["me_title"]], "dash"), [mark, texts["test_mail"]], link, [])


def _mail(
    words: Catalogue, stamp: Stamp, subject: str, before: Sequence[str], link: str, after: Sequence[str]
) -> MailMessage:
    """Returns a mail, as text and as HTML: paragraphs, the link on a line of its own, further paragraphs."""
    text = "\n\n".join([*before, link, *after]) + "\n"
    where = escape(link)
    paragraphs = [f"<p>{escape(each)}</p>" for each in before]
    paragraphs.append(f'<p><a href="{where}" dir="ltr">{where}</a></p>')
    paragraphs += [f"<p>{escape(each)}</p>" for each in after]
    html = (
        f'<!doctype html>\n<html lang="{words.language}" dir="{words.direction}"><head><meta charset="utf-8">'
        f"<title>{escape(subject)}</title></head>\n<body>\n" + "\n".join(paragraphs) + "\n</body></html>\n"
    )
    return MailMessage(stamp=stamp, subject=subject, text=text, html=html)
