"""Finds the ids of alerts in a pasted text, for the page that says whether an alert is real."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from alertd.common.ids import PUBLIC_LETTERS, public_id_in

#: Maximum characters of a pasted text. Percent-encoded, each takes up to nine bytes, and a form has 16 KB at most.
PASTED = 1500
#: Maximum number of ids of one text that alertd looks up.
MOST_CODES = 8

_LINK = re.compile(
    r"(?<![a-z0-9.-])(?:https?://)?(?P<host>[a-z0-9.-]+(?::[0-9]+)?)(?P<path>/[!-~]*)|(?<![a-z0-9])(?P<code>[a-z0-9]+)",
    re.IGNORECASE,
)
_PAGE = re.compile(rf"/a/([a-z0-9]{{{PUBLIC_LETTERS}}})(?![a-z0-9])", re.IGNORECASE)


def alert_codes(text: str, site: str) -> list[str]:
    """Returns the public ids of alerts that a text contains, at most `MOST_CODES`: those of links to `site` (scheme and
    host of this alertd) first, then words that have the form of an id.

    A link to any other host gives no id, even if it ends in one: a forged page may copy the code of a real alert.
    """
    links, words = list[str](), list[str]()
    for found in _LINK.finditer(text):
        if found["code"]:
            words.append(found["code"])
        elif site and found["host"].lower() == urlsplit(site).netloc.lower() and (page := _PAGE.match(found["path"])):
            links.append(page[1])
    ids = [public_id_in(word) for word in (*links, *words)]
    return list(dict.fromkeys(one for one in ids if one))[:MOST_CODES]
