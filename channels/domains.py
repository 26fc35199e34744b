"""The ASCII form of mail domains."""

from __future__ import annotations

from functools import lru_cache

import idna


@lru_cache(4096)  # most addresses belong to a few domains
def in_ascii(domain: str) -> str:
    """Returns a domain in ASCII by the rules of 2008 (RFC 5891, UTS 46). Python's own rules of 2003 turn `straße` into
    `strasse`, which may have another owner. Returns a domain in ASCII unchanged.

    Raises `UnicodeError` if the text is not a valid domain.
    """
    return (domain.encode("idna") if domain.isascii() else idna.encode(domain, uts46=True)).decode("ascii")
