"""How the code and the name of a region may be written: so that documents can name it, and messages can tell it on one line."""

from __future__ import annotations

import re
import unicodedata

#: Letters and digits of ASCII, and what stands between them in the codes of registers.
CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,31}")
#: The longest shipped name has 65 characters.
LONGEST_NAME = 200
#: Control characters, line ends, a mark of byte order, and what turns the direction of the text around it. The marks that
#: right-to-left names need are fine.
UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
#: What UTF-8 looks like when it is read as Latin-1 (SÃ£o), and what stands for a byte that is no UTF-8.
MISREAD = re.compile("[\u00c2-\u00f4][\u0080-\u00bf]|\ufffd")

#: Control characters of ISO 8859-1 that are letters in the encoding of Windows (U+009E is ž), which nobody means in a name.
C1 = re.compile("[\x80-\x9f]")


def mended_name(name: str) -> str:
    """A name with the letters of Windows-1252 where a file that calls itself ISO 8859-1 has control characters. One that was misread
    as a whole stays as it is, to be told.
    """
    if MISREAD.search(name):
        return name
    return C1.sub(lambda found: found[0].encode("latin-1").decode("cp1252", errors="ignore") or found[0], name)


def code_fault(code: str) -> str | None:
    """What is wrong with a code."""
    if CODE.fullmatch(code):
        return None
    shown = code if len(code) <= 40 else f"{code[:40]}…"
    return f"has the code {shown!a}, which nobody can name: a code is at most 32 letters (A-Z), digits and . _ : -"


def name_fault(name: str) -> str | None:
    """What is wrong with a name."""
    if MISREAD.search(name):
        return (
            f"has the name {name!r}, which was read in the wrong encoding; say which is the file's (UTF-8, ISO-8859-1)"
        )
    if unfit := UNFIT.search(name):
        return (
            f"has a name with the character U+{ord(unfit[0]):04X} in it, which controls how text is shown; take it out"
        )
    if len(name) > LONGEST_NAME:
        return f"has a name of {len(name):,} characters; at most {LONGEST_NAME} are shown"
    if not any(unicodedata.category(character)[0] in "LNPS" for character in name):
        return "has a name that nobody sees"
    return None
