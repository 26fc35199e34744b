"""The privacy page in plain words. It is in English only; its frame has the reader's language."""

from __future__ import annotations

from aiohttp import web
from markupsafe import Markup

from alertd.public import forms
from alertd.rendering import Renderer
from alertd.rendering.catalogue import Catalogue

_TEXT = Markup("""<div lang="en" dir="ltr">
<h2>What we store</h2>
<p>When you sign up, we store your email address or the address of your browser at its push service, the places that you chose as names of towns or regions, your language, the kinds of
alert, your quiet hours if you set them, and when you agreed to which text. We do not store your name, your exact position, cookies or what you
look at. Before you confirm, we store nothing about you: your request is encrypted inside the link in the email. The email itself
waits for at most about a minute, encrypted, until it is sent.</p>
<h2>How long</h2>
<p>Until you delete it. You can do that yourself at any time, on the page behind the link that we send you. Backups of the service keep a copy
until the operator deletes them. If you stop the alerts or delete your data, we keep a fingerprint of your address, from which nobody can read
it, so that no list brings you back. To prevent abuse we count requests by fingerprints of addresses and networks, for a day at most.</p>
<h2>Who sees it</h2>
<p>The people who run this service, and the companies that deliver the messages. The company behind your browser's push service cannot read the alerts. Your data is encrypted in our store. We give it to
nobody else, and use it for nothing else.</p>
<h2>What cannot be taken back</h2>
<p>An email that was delivered stays in your mailbox until you delete it, also after the child was found. The same is true of text messages and
of what a phone shows on its lock screen. Please delete alerts that are over, and do not share names or photos from them.</p>
<h2>What these alerts are not</h2>
<p>They reach people who signed up, as fast as email and push services are. They do not replace the emergency warnings that the authorities send to all
phones. In danger, call the emergency number.</p>
</div>
""")


def privacy_page(renderer: Renderer, words: Catalogue) -> web.Response:
    """Returns the page."""
    body = _TEXT + forms.link("subscribe", words.words["subscribe"]["title"])
    return forms.html_page(
        renderer,
        words,
        words.words["subscribe"]["privacy"],
        body + forms.link("subscribe/manage", words.words["subscribe"]["manage_title"]),
    )
