"""The names of mail domains, as the wire has them."""

from __future__ import annotations

from functools import lru_cache

import idna


@lru_cache(4096)  # most people's addresses are at a few domains
def in_ascii(domain: str) -> str:
    """A domain by the rules of 2008 (RFC 5891, UTS 46). Python's own are those of 2003, to which `straße` is `strasse`: somebody else's.

    Raises `UnicodeError` for what is no domain.
    """
    return (domain.encode("idna") if domain.isascii() else idna.encode(domain, uts46=True)).decode("ascii")
