"""Parses bytes into the elements of one CAP alert, with limits on size, elements and depth, and so on time and memory.

The parser fetches and expands nothing. A document with a DOCTYPE is refused before parsing, and the parser itself can
neither load a DTD nor reach a network.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

from lxml import etree

from alertd.common.errors import Fault
from alertd.model.cap.messages import CapError

#: Maximum bytes of a document: enough for the 100,000 positions that a target may have, at about 20 bytes each.
MAX_BYTES = 2 * 1024 * 1024
#: Maximum number of elements. A bulletin for 180 municipalities in two languages has about 1,200.
MAX_ELEMENTS = 20_000
#: Maximum depth of elements. CAP's own elements are 5 deep, those of a signature 10.
MAX_DEPTH = 32

NAMESPACES = {
    "urn:oasis:names:tc:emergency:cap:1.2": "1.2",
    "urn:oasis:names:tc:emergency:cap:1.1": "1.1",
    "http://www.incident.com/cap/1.0": "1.0",
}

#: Byte order marks with their encodings. The UTF-32 marks come first, because they begin as the UTF-16 marks do.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"\s*<\?xml\b[^>]{0,200}?\bencoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
#: The accepted encodings: those that cover Unicode or only ASCII and its extensions. Others, which can be read in two
#: ways, are refused.
_ENCODING = re.compile(
    r"utf-?(8|16|16le|16be)|us-ascii|ascii|iso-?8859-\d{1,2}|(windows-|cp)125\d|latin-?1", re.IGNORECASE
)
#: Matches a DOCTYPE with everything that may precede it. Possessive and atomic groups prevent backtracking.
_DOCTYPE = re.compile(r"(?>\s+|<\?.*?\?>|<!--.*?-->)*+<!DOCTYPE", re.DOTALL)

#: Matches what some programs write before the first element: white space and byte order marks, also one encoded twice.
_BEFORE = re.compile("(?:\\s|\ufeff|\u00ef\u00bb\u00bf)*")

#: Plain reasons for XML errors that people can fix. The parser's own message may quote the document, so it is not used.
_WHY: dict[Any, str] = {
    etree.ErrorTypes.ERR_TAG_NAME_MISMATCH: "an element is closed that is not the one that is open",
    etree.ErrorTypes.ERR_TAG_NOT_FINISHED: "an element is never closed",
    etree.ErrorTypes.ERR_UNDECLARED_ENTITY: "only amp, lt, gt, quot, apos and numbers may stand between & and ;",
    etree.ErrorTypes.ERR_ATTRIBUTE_REDEFINED: "an attribute is given twice",
    etree.ErrorTypes.ERR_DOCUMENT_END: "something stands after its end",
    etree.ErrorTypes.ERR_INVALID_CHAR: "a character is not allowed in XML",
    etree.ErrorTypes.ERR_RESOURCE_LIMIT: "it is nested too deeply, or a part of it is too long",
    etree.ErrorTypes.NS_ERR_UNDEFINED_NAMESPACE: "a prefix has no namespace",
}


def parsed(raw: bytes) -> etree._Element:
    """Returns the root of the document, an `alert` element of one of `NAMESPACES`. Raises CapError."""
    if len(raw) > MAX_BYTES:
        raise refusal(f"A CAP document has at most {MAX_BYTES:,} bytes here.")
    text = _decoded(raw).lstrip("\ufeff")
    _check_beginning(text)
    if _DOCTYPE.match(text):
        raise refusal("A CAP document has no DOCTYPE.", text[: text.index("<!DOCTYPE")].count("\n") + 1)
    if text.count("<") > 2 * MAX_ELEMENTS:
        raise refusal(f"A CAP document has at most {MAX_ELEMENTS:,} elements here.")
    root = _tree(text.encode("utf-8"))
    if root.getroottree().docinfo.doctype:  # it cannot be
        raise refusal("A CAP document has no DOCTYPE.")
    _check_depth(root)
    name = etree.QName(root)
    if name.namespace not in NAMESPACES or name.localname != "alert":
        raise refusal(
            "This is not a CAP alert: its root must be the element alert of CAP 1.2 (or 1.1, 1.0).", line_of(root)
        )
    return root


def refusal(sentence: str, line: int = 1) -> CapError:
    """Returns the CapError for one fault of the whole document."""
    return CapError((Fault("", sentence, line=line),))


def line_of(element: etree._Element) -> int:
    """Returns the line of the document in which an element stands, from 1."""
    return int(element.sourceline or 1)


def _decoded(raw: bytes) -> str:
    """Returns the document as text. Decodes it by its byte order mark, or else its XML declaration, or else as UTF-8.
    Raises CapError.
    """
    declared = _DECLARED.match(raw)
    encoding = next((named for mark, named in _MARKS if raw.startswith(mark)), None)
    if encoding is None:
        encoding = declared[1].decode("ascii") if declared else "utf-8"
    if not _ENCODING.fullmatch(encoding):
        raise refusal("The document is in an encoding that is not taken; use UTF-8.")
    try:
        text = raw.decode(encoding)
    except LookupError:
        raise refusal("There is no such encoding; use UTF-8.") from None
    except UnicodeDecodeError as error:
        raise refusal("The bytes are not of the encoding that the document names.", _line(raw, error.start)) from None
    if not raw.isascii() and not encoding.lower().startswith("utf") and _is_utf8(raw):
        high = next(i for i, byte in enumerate(raw) if byte > 127)
        raise refusal(
            "The bytes are UTF-8, but the document names another encoding: what do they say?", _line(raw, high)
        )
    return text


def _check_beginning(text: str) -> None:
    """Raises CapError if something stands before the first `<` of the document.

    Allows white space before the root if there is no XML declaration.
    """
    before = _BEFORE.match(text)
    end = before.end() if before else 0
    if end == len(text):
        raise refusal("The document is empty.")
    if text[end] != "<":
        raise refusal("This is not XML: a CAP document begins with <.", text.count("\n", 0, end) + 1)
    if end and not text[:end].isspace():
        raise refusal("A byte order mark stands in the text before the first element. Remove it.")
    if end and text.startswith("<?xml", end):
        raise refusal("A blank line or space stands before the XML declaration, which must come first. Remove it.")


def _is_utf8(raw: bytes) -> bool:
    """Returns whether the bytes are valid UTF-8. Text in another encoding practically never is, beyond ASCII."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _line(raw: bytes, place: int) -> int:
    """Returns the line, from 1, of the byte at this index."""
    return raw.count(b"\n", 0, place) + 1


def _tree(utf8: bytes) -> etree._Element:
    """Returns the root element of XML in UTF-8. Loads no DTD and resolves no entity. Raises CapError if it is not XML."""
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False,
        huge_tree=False, remove_comments=True, remove_pis=True, collect_ids=False,
    )  # fmt: skip
    try:
        return etree.fromstring(utf8, parser)
    except etree.XMLSyntaxError as error:
        why = _WHY.get(error.code, "it breaks off or is not well-formed here")
        raise refusal(f"This is not XML: {why}.", error.lineno or 1) from None


def _check_depth(root: etree._Element) -> None:
    """Raises CapError if an element is nested deeper than `MAX_DEPTH`."""
    depth = 0
    for event, element in etree.iterwalk(root, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if depth > MAX_DEPTH:
            raise refusal(f"Elements stand at most {MAX_DEPTH} deep.", line_of(element))
