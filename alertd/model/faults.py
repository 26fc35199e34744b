"""From a broken rule of a document to a `Fault`: where it is, and a sentence that never quotes what was sent.

What was sent may be a person's name, number or mailbox, and a fault ends in answers and logs. So every sentence here is
our own, and only limits and the allowed words are put into it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from alertd.common.errors import Fault

Location = tuple[int | str, ...]

#: The type of every error whose sentence is written in this project: it is passed on as it is.
OWN = "refused"

#: Nobody reads more than these.
MAX_FAULTS = 100

#: Listing a million faults, only to cut the list, takes ten seconds; this many take a tenth.
MAX_LISTED = 10_000

#: Members of all objects of a document. A full alert has some thousands; refusing a million unknown ones one by one
#: takes four seconds, in which nobody else is served.
MAX_MEMBERS = 20_000
#: And items of arrays: the 100,000 positions of an area have 200,000, each at most with a height.
MAX_ITEMS = 400_000

#: A pointer names the sender's own keys, and a key can be as long as the body.
MAX_KEY_LENGTH = 64

#: Names of alternatives (an address by its channel, a shape by its GeoJSON type) that pydantic puts into locations.
TAGS = frozenset({"push", "webpush", "sms", "mail", "Polygon", "MultiPolygon"})

#: For an error that the table below does not know: its own text may quote the value.
FALLBACK = "This is not valid here."

SENTENCES = {
    "missing": "This is required.",
    "extra_forbidden": "There is no such field.",
    "json_invalid": "This is not JSON: {error}.",
    "json_type": "This must be JSON text.",
    "model_type": "This must be an object.",
    "model_attributes_type": "This must be an object.",
    "dict_type": "This must be an object.",
    "list_type": "This must be an array.",
    "tuple_type": "This must be an array.",
    "string_type": "This must be a string.",
    "string_too_short": "This must have at least {min_length} characters.",
    "string_too_long": "This may have at most {max_length} characters.",
    "string_pattern_mismatch": "This is not of the form that is expected here.",
    "string_unicode": "This must be text in UTF-8.",
    "too_short": "There must be at least {min_length} of these.",
    "too_long": "There may be at most {max_length} of these.",
    "bool_type": "This must be true or false.",
    "bool_parsing": "This must be true or false.",
    "int_type": "This must be a whole number.",
    "int_from_float": "This must be a whole number.",
    "int_parsing": "This must be a whole number.",
    "int_parsing_size": "This number is too large.",
    "float_parsing": "This must be a number.",
    "float_type": "This must be a number.",
    "finite_number": "This must be a finite number.",
    "greater_than": "This must be greater than {gt}.",
    "greater_than_equal": "This must be at least {ge}.",
    "less_than": "This must be less than {lt}.",
    "less_than_equal": "This may be at most {le}.",
    "enum": "This must be one of: {expected}.",
    "literal_error": "This must be one of: {expected}.",
    "union_tag_invalid": "This must be one of: {expected_tags}.",
    "union_tag_not_found": "This is required.",
    "timezone_aware": "A time needs its offset, as in 2026-11-26T08:00:00+01:00.",
    "datetime_type": "This must be a time as in 2026-11-26T08:00:00+01:00.",
    "datetime_parsing": "There is no such time.",
    "datetime_from_date_parsing": "There is no such time.",
}


def refusal(sentence: str) -> PydanticCustomError:
    """The error to raise in a validator. `sentence` goes to the sender as it is; it quotes no value."""
    return PydanticCustomError(OWN, "{sentence}", {"sentence": sentence})


def refuse(model: str, faults: Iterable[tuple[Location, str]]) -> NoReturn:
    """Raise several faults at once from a validator, each at its own place below the validated value."""
    raise ValidationError.from_exception_data(
        model, [InitErrorDetails(type=refusal(sentence), loc=place, input=None) for place, sentence in faults]
    )


def is_overfull(body: bytes) -> bool:
    """Whether a body has too many members or items to be looked into (counted by their colons, commas and brackets, in milliseconds)."""
    return body.count(b":") > MAX_MEMBERS or max(body.count(b","), body.count(b"["), body.count(b"{")) > MAX_ITEMS


def faults_of(error: ValidationError) -> list[Fault]:
    """All faults of a document, at most `MAX_FAULTS`, in the order of its fields.

    An array that is too short only because its members were refused is no fault of its own.
    """
    if error.error_count() > MAX_LISTED:
        return [Fault("", "Nearly nothing here is as it should be: is this the right document?")]
    details = error.errors(include_url=False, include_input=False)
    broken = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    told = [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in broken]
    return [Fault(pointer_of(_location(detail)), _sentence(detail)) for detail in told[:MAX_FAULTS]]


def pointer_of(location: Iterable[int | str]) -> str:
    """The JSON pointer (RFC 6901) of a location; a very long key is cut short."""
    return "".join("/" + _shortened(str(step)).replace("~", "~0").replace("/", "~1") for step in location)


def _shortened(key: str) -> str:
    return key if len(key) <= MAX_KEY_LENGTH else key[: MAX_KEY_LENGTH - 1] + "…"


def _location(detail: ErrorDetails) -> Location:
    """Where in the document the sender wrote it: without the names of alternatives, which nobody wrote."""
    raw = detail["loc"]
    steps = [step for before, step in zip((0, *raw), raw, strict=False) if not _is_tag(before, step)]
    if steps and steps[-1] == "[key]":
        steps.pop()
    if detail["type"].startswith("union_tag"):
        steps.append(str(detail["ctx"]["discriminator"]).strip("'"))
    return tuple(steps)


def _is_tag(before: int | str, step: int | str) -> bool:
    """An alternative's name stands right after an index of an array, or first, where the whole body is one of several."""
    return isinstance(before, int) and step in TAGS


def _sentence(detail: ErrorDetails) -> str:
    if detail["type"] == OWN:
        return detail["msg"]
    context: dict[str, Any] = detail.get("ctx", {})
    template = SENTENCES.get(detail["type"])
    return FALLBACK if template is None else template.format(**context)
