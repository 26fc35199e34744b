"""From an alert to the message of one channel in one language.

`catalogue` holds the words, `facts` picks what may be told and puts it into words, `plaintext` makes text fit, `renderer`
puts it together. Nothing internal of a case passes `facts`.
"""

from __future__ import annotations

from alertd.rendering.catalogue import Catalogue
from alertd.rendering.languages import choose_language
from alertd.rendering.renderer import Preview, Renderer, UnsafeMessageError

__all__ = ["Catalogue", "Preview", "Renderer", "UnsafeMessageError", "choose_language"]
