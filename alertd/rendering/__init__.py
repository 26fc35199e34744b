"""Makes the message of an alert for one channel in one language.

`catalogue` holds the words. `facts` selects the facts that an occasion may show and puts them into words. `plaintext`
makes text fit, and `renderer` builds the message. `facts` lets no internal data of a case through. For the end of an
alert it lets no data of a case through at all.
"""

from __future__ import annotations

from alertd.rendering.catalogue import Catalogue, choose_language
from alertd.rendering.facts import THE_ALERT, Telling
from alertd.rendering.renderer import Preview, Renderer, UnsafeMessageError

__all__ = ["THE_ALERT", "Catalogue", "Preview", "Renderer", "Telling", "UnsafeMessageError", "choose_language"]
