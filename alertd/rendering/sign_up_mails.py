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
    told = words.words["subscribe"]
    text = told["confirm_mail"].format(places=words.listed(places))
    return _mail(words, stamp, told["confirm_subject"], [text, told["confirm_how"]], link, [told["confirm_nothing"]])


def settings_link(words: Catalogue, stamp: Stamp, link: str, *, is_known: bool) -> MailMessage:
    """Returns the mail with the link to the person's own settings. `is_known`: the person tried to sign up a second time."""
    told = words.words["subscribe"]
    subject, text = (told["known_subject"], told["known_mail"]) if is_known else (told["me_title"], told["manage_mail"])
    return _mail(words, stamp, subject, [text], link, [told["manage_nothing"]])


def trial(words: Catalogue, stamp: Stamp, link: str) -> MailMessage:
    """Returns the test message that a person asks for, to be sent to themselves."""
    told = words.words["subscribe"]
    mark = words.words["mark"]["missing-child"]["Test"]
    return _mail(words, stamp, words.joined([mark, told["me_title"]], "dash"), [mark, told["test_mail"]], link, [])


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
