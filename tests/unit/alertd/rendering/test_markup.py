"""HTML in the texts of a sender becomes plain text, and nothing that only looks like HTML is lost."""

from __future__ import annotations

import pytest

from alertd.rendering.markup import as_text


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("Boil water.<br>Keep pets in.", "Boil water.\nKeep pets in."),
        ("Boil water.<BR />\n Keep pets in.<br/><br/>Call 112.", "Boil water.\nKeep pets in.\n\nCall 112."),
        ("<p>Boil <b>water</b>.</p>\n<p class='x'>Keep pets in.</p>", "Boil water.\n\nKeep pets in."),
        ("Bring:<ul><li>water</li><li>a torch</li></ul>Leave now.", "Bring:\n- water\n- a torch\nLeave now."),
        ("<div>Road A1</div><div>is closed</div>", "Road A1\nis closed"),
        ("<table><tr><td>A1</td><td>closed</td></tr><tr><td>A2</td><td>open</td></tr></table>", "A1 closed\nA2 open"),
        ("Read <a href='https://agua.example/7?a=1&amp;b=2'>the map</a>.", "Read the map (https://agua.example/7?a=1&b=2)."),
        ('<a href="tel:+34900">+34900</a> or <a href="mailto:x@agua.example">write</a>', "+34900 or write (x@agua.example)"),
        ("Gr&uuml;&szlig;e &amp; Dank&nbsp;&#8211; 5&#xB0;C", "Grüße & Dank\xa0\u2013 5°C"),
        ("one<!-- of two -->", "one"),
        ("&lt;br&gt; is a tag<br>", "<br> is a tag"),
    ],
)  # fmt: skip
def test_html_becomes_text(written: str, plain: str):
    """Blocks become lines, items get a dash, links keep their address, and an entity its character."""
    assert as_text(written) == plain


@pytest.mark.parametrize(
    "text",
    [
        "Level < 3 m and > 1 m",
        "a<b and c>d, 3<5",
        "Ask <police> or <the mayor>",
        "<b without an end",
        "AT&T and R&D; more &unknown; https://agua.example/?a=1&copy=2&lt=3",
        "  Two lines\n\n\n as they are ",
        "",
    ],
)
def test_what_is_no_html_stays(text: str):
    """A bare `<`, a word in angle brackets and an ampersand are text."""
    assert as_text(text) == text


@pytest.mark.parametrize("piece", ["<", "<b ", "<!--", "<a href=x ", "&", "<a href='https://x'>", "<br>", " ", "</a>"])
def test_a_hostile_text_is_read_in_time(piece: str):
    """A million characters of the beginning of anything take no longer than plain ones would: this ends."""
    assert len(as_text(piece * (1_000_000 // len(piece)))) <= 1_000_000
