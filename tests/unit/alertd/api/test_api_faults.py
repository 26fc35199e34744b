"""Whatever is wrong with a request is told in a sentence of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError

from alertd.api.application import OPERATIONS
from alertd.api.http.operations import Signature, signature_of
from alertd.model.faults import FALLBACK, OWN, SENTENCES, faults_of
from tests.unit.alertd.samples import GENERAL, MISSING_CHILD, SUBSCRIBER

WORDS = ("", "x", "7", "-1", "1.5", "1e400", "nan", "on", "9" * 99, "9" * 5_000, "é" * 5_000, "2026-01-01", "2026-13-45T99:00:00Z", "2026-01-01T00:00:00")  # fmt: skip
ODD = (None, True, -1, 7, 1.5, 1e308, 10**40, [], [None], {}, {"type": "x"}, {"channel": 7}, *WORDS)

Trial = Callable[[], Any]


def trials_of(signature: Signature) -> Iterator[Trial]:
    """Every parameter and every member of the body with every odd value."""
    for model in (signature.query, signature.headers):
        for name, field in model.model_fields.items() if model else ():
            yield from (
                lambda m=model, n=field.alias or name, w=word: m.model_validate_strings({n: w}) for word in WORDS
            )
    if signature.body is None:
        return
    body = TypeAdapter(signature.body)
    members = {*getattr(signature.body, "model_fields", ()), *MISSING_CHILD, *GENERAL, *SUBSCRIBER}
    for odd in ODD:
        yield lambda o=odd: body.validate_json(json.dumps(o))
        yield from (lambda n=name, o=odd: body.validate_json(json.dumps({n: o})) for name in members)


def raised() -> dict[str, set[str]]:
    """The types of errors that were raised, with the sentences they were told in."""
    found: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        for trial in trials_of(signature_of(operation)):
            try:
                trial()
            except ValidationError as error:
                for detail, fault in zip(error.errors(include_input=False), faults_of(error), strict=False):
                    found.setdefault(detail["type"], set()).add(fault.detail)
    return found


def test_no_fault_of_a_request_falls_back_to_a_general_sentence():
    """Each type of error that the API's models raise has its row in the table; words in a query are among them."""
    found = raised()
    assert {"bool_parsing", "int_parsing", "string_pattern_mismatch", "missing", "extra_forbidden"} <= set(found)
    assert set(found) - {OWN} <= set(SENTENCES)
    assert FALLBACK not in set().union(*found.values())
