"""Writes the active alerts as an Atom feed (RFC 4287)."""

from __future__ import annotations

from urllib.parse import urlsplit

from lxml import etree

from alertd.common.clock import time_of
from alertd.model.cap.writer import MEDIA_TYPE
from alertd.service.sharing.feeds import Feed, Published

NAMESPACE = "http://www.w3.org/2005/Atom"
FEED_TYPE = "application/atom+xml"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def atom(feed: Feed, site: str) -> bytes:
    """Returns the feed document as XML in UTF-8. `site`: the public URL, without a trailing slash.

    An entry has the headline, the sender, kind, level and times, and a link to the CAP document, but no other facts,
    because feed readers keep entries after the alert has ended.
    """
    host = urlsplit(site).hostname or "alertd"
    root = etree.Element(f"{{{NAMESPACE}}}feed", nsmap={None: NAMESPACE})
    _add(root, "id", f"{site}/feed.atom")
    _add(root, "title", f"Alerts of {host}")
    _add(root, "updated", _time(feed.updated))
    _add(_add(root, "author"), "name", host)
    _add(root, "link", rel="self", type=FEED_TYPE, href=f"{site}/feed.atom")
    for one in feed.entries:
        _entry(root, one, site, host)
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


def _entry(root: etree._Element, one: Published, site: str, host: str) -> None:
    """Adds the entry of one alert to the feed `root`."""
    entry = _add(root, "entry", **{_LANGUAGE: one.language})
    _add(entry, "id", f"tag:{host},{_time(one.began)[:10]}:{one.id}")  # RFC 4151: stable if the site's URL changes
    _add(entry, "title", one.headline)
    _add(entry, "updated", _time(one.updated))
    _add(entry, "published", _time(one.began))
    _add(_add(entry, "author"), "name", one.sender or host)
    _add(entry, "category", term=str(one.kind))
    _add(entry, "category", term=str(one.level))
    _add(entry, "link", rel="alternate", type=MEDIA_TYPE, href=f"{site}/cap/{one.identifier}.xml")


def _add(parent: etree._Element, name: str, text: str | None = None, **attributes: str) -> etree._Element:
    """Adds a child element in the Atom namespace to `parent`, and returns the child."""
    element = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
    element.text = text
    return element


def _time(ms: int) -> str:
    """Returns a time (UNIX ms) in the form of RFC 3339, as RFC 4287 section 3.3 requires."""
    return time_of(ms).strftime("%Y-%m-%dT%H:%M:%SZ")
