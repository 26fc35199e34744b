"""Turns a broken rule of a document into a `Fault`: its place, and a sentence that never quotes the input.

The input may hold a person's name, number or mailbox, and faults appear in answers and logs. So every sentence is
alertd's own, and contains only limits and allowed values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from alertd.common.errors import Fault

Location = tuple[int | str, ...]

#: The pydantic error type of sentences written in this project; they reach the client unchanged.
OWN = "refused"

#: Maximum number of faults that an answer reports; more would not be read.
MAX_FAULTS = 100

#: Maximum number of errors that alertd lists. Listing a million only to shorten the list takes ten seconds; this many
#: take a tenth.
MAX_LISTED = 10_000

#: Maximum number of members in all objects of a document. A full alert has some thousands. Refusing a million unknown
#: members one by one takes four seconds, during which the process serves no other request.
MAX_MEMBERS = 20_000
#: Maximum number of array items in a document. The 100,000 positions of an area have 200,000 numbers, or more with
#: heights.
MAX_ITEMS = 400_000

#: Maximum characters of a key in a pointer. A pointer contains the client's own keys, and a key can be as long as the
#: body.
MAX_KEY_LENGTH = 64

#: Names of alternatives (an address by its channel, a shape by its GeoJSON type) that pydantic puts into locations. A
#: pointer leaves them out.
TAGS = frozenset({"push", "webpush", "sms", "mail", "Polygon", "MultiPolygon"})

#: The sentence for an error that the table below lacks; pydantic's own text may quote the value.
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
    """Returns the error to raise in a validator. `sentence` reaches the client unchanged, so it must quote no value."""
    return PydanticCustomError(OWN, "{sentence}", {"sentence": sentence})


def refuse(model: str, faults: Iterable[tuple[Location, str]]) -> NoReturn:
    """Raises several faults at once from a validator, each at its own place below the validated value."""
    raise ValidationError.from_exception_data(
        model, [InitErrorDetails(type=refusal(sentence), loc=place, input=None) for place, sentence in faults]
    )


def is_overfull(body: bytes) -> bool:
    """Returns whether a body has too many members or items to parse (counts colons, commas and brackets, in
    milliseconds).
    """
    return body.count(b":") > MAX_MEMBERS or max(body.count(b","), body.count(b"["), body.count(b"{")) > MAX_ITEMS


def faults_of(error: ValidationError) -> list[Fault]:
    """Returns all faults of a document, at most `MAX_FAULTS`, in the order of its fields.

    Leaves out the fault of an array that is too short only because its members were refused.
    """
    if error.error_count() > MAX_LISTED:
        return [Fault("", "Nearly nothing here is as it should be: is this the right document?")]
    details = error.errors(include_url=False, include_input=False)
    broken = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    shown = [detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in broken]
    return [Fault(pointer_of(_location(detail)), _sentence(detail)) for detail in shown[:MAX_FAULTS]]


def pointer_of(location: Iterable[int | str]) -> str:
    """Returns the JSON pointer (RFC 6901) of a location. Shortens a very long key."""
    return "".join("/" + _shortened(str(step)).replace("~", "~0").replace("/", "~1") for step in location)


def _shortened(key: str) -> str:
    """Returns a key of a document, cut to `MAX_KEY_LENGTH` characters."""
    return key if len(key) <= MAX_KEY_LENGTH else key[: MAX_KEY_LENGTH - 1] + "…"


def _location(detail: ErrorDetails) -> Location:
    """Returns the location in the client's document, without the names of alternatives, which pydantic adds."""
    raw = detail["loc"]
    steps = [step for before, step in zip((0, *raw), raw, strict=False) if not _is_tag(before, step)]
    if steps and steps[-1] == "[key]":
        steps.pop()
    if detail["type"].startswith("union_tag"):
        steps.append(str(detail["ctx"]["discriminator"]).strip("'"))
    return tuple(steps)


def _is_tag(before: int | str, step: int | str) -> bool:
    """Returns whether a step of a location is the name of an alternative: `step` follows an array index (`before`), or
    comes first because the whole body is a union.
    """
    return isinstance(before, int) and step in TAGS


def _sentence(detail: ErrorDetails) -> str:
    """Returns alertd's sentence for an error of pydantic. Never quotes the value."""
    if detail["type"] == OWN:
        return detail["msg"]
    context: dict[str, Any] = detail.get("ctx", {})
    template = SENTENCES.get(detail["type"])
    return FALLBACK if template is None else template.format(**context)
