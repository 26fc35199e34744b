"""From an alert to the message of one channel in one language.

`catalogue` holds the words, `facts` picks what may be told on an occasion and puts it into words, `plaintext` makes text fit, `renderer`
puts it together. Nothing internal of a case passes `facts`, and of its end nothing at all.
"""

from __future__ import annotations

from alertd.rendering.catalogue import Catalogue, choose_language
from alertd.rendering.facts import THE_ALERT, Telling
from alertd.rendering.renderer import Preview, Renderer, UnsafeMessageError

__all__ = ["THE_ALERT", "Catalogue", "Preview", "Renderer", "Telling", "UnsafeMessageError", "choose_language"]
