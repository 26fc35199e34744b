"""Refusals: of anything at any place, always with a place and a sentence of our own, never with what was sent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from alertd.common.errors import Fault
from alertd.model import registration, rules
from alertd.model.alert import Alert, AlertRequest
from alertd.model.faults import FALLBACK, MAX_FAULTS, faults_of, is_overfull
from alertd.model.registration import Registration
from tests.unit.alertd.samples import GENERAL, MISSING_CHILD, SUBSCRIBER, changed


def found_in(model: type[BaseModel], document: Any) -> list[Fault]:
    try:
        model.model_validate_json(json.dumps(document))
    except ValidationError as error:
        return faults_of(error)
    return []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "nul",
        "[" * 10_000_000,
        '{"kind":' * 1_000_000,
        '{"kind": "\\ud800"}',
        b"\xff\xfe{}",
        "[]",
        '"x"',
        "0" * 5_000_000,
    ],
    ids=["empty", "cut", "deep array", "deep object", "half a character", "not utf-8", "array", "string", "number"],
)
def test_bodies_that_are_no_alert_are_refused_quickly(body: str | bytes) -> None:
    """Nothing but an object of sane depth is looked into, whatever its size."""
    started = time.monotonic()
    with pytest.raises(ValidationError) as caught:
        Alert.model_validate_json(body)
    assert [fault.pointer for fault in faults_of(caught.value)] == [""]
    assert time.monotonic() - started < 1


def test_faults_are_bounded() -> None:
    """A huge broken shape, key or object makes neither a huge answer nor a long wait."""
    started = time.monotonic()
    shape = {"type": "Polygon", "coordinates": [[[]] * 1_000_000]}
    assert len(found_in(Alert, changed(MISSING_CHILD, "target/polygons", [shape]))) == 1
    assert len(found_in(Alert, {**MISSING_CHILD, "k" * 1_000_000: 1})[0].pointer) < 100
    assert len(found_in(Alert, {f"k{n}": 1 for n in range(1_000)})) == MAX_FAULTS
    assert len(found_in(Alert, {f"k{n}": 1 for n in range(20_000)})) == 1
    assert time.monotonic() - started < 2


def test_overfull_bodies_are_known_before_they_are_read() -> None:
    """A million members are counted, not validated; the largest sane polygon is not among them."""
    assert is_overfull(json.dumps({f"k{n}": 1 for n in range(100_000)}).encode())
    shape = {"type": "Polygon", "coordinates": [[[-5.97, 37.39]] * 100_000]}
    assert not is_overfull(json.dumps(changed(MISSING_CHILD, "target/polygons", [shape])).encode())


SECRET = "Lucía Pérez"
ODD: list[Any] = [
    None, True, -1, 7, 1.5, 10**40, float("nan"), float("-inf"), "", "7", SECRET, SECRET * 2_000, [], [[]], [SECRET], {}, {SECRET: SECRET},
]  # fmt: skip


def _everywhere(node: Any, path: str = "") -> Iterator[str]:
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, member in members:
        yield f"{path}{name}"
        yield from _everywhere(member, f"{path}{name}/")


def _parent_exists(document: Any, pointer: str) -> bool:
    node = document
    for step in pointer.split("/")[1:-1]:
        node = node[int(step)] if isinstance(node, list) else node[step.replace("~1", "/").replace("~0", "~")]
    return isinstance(node, dict | list)


@pytest.mark.parametrize(
    ("model", "sample"),
    [(Alert, MISSING_CHILD), (Alert, GENERAL), (Registration, SUBSCRIBER)],
    ids=["child", "general", "person"],
)
def test_no_refusal_quotes_or_loses_its_place(model: type[BaseModel], sample: dict[str, Any]) -> None:
    """With any odd value at any place, the answer is our own sentence, at a place the sender can find, quoting nothing."""
    refused = 0
    for path in _everywhere(sample):
        for odd in ODD:
            document = changed(sample, path, odd)
            found = found_in(model, document)
            refused += bool(found)
            for fault in found:
                assert "Luc" not in fault.detail
                assert fault.detail != FALLBACK, (path, fault)
                assert _parent_exists(document, fault.pointer), (path, fault)
    assert refused > 500


@pytest.mark.parametrize("model", [AlertRequest, Registration])
def test_the_schema_is_fit_for_readers(model: type[BaseModel]) -> None:
    """Every part of the published schema is titled and described, every object is closed, and examples are taken."""
    not_honoured_by: dict[Any, Any] = {AlertRequest: rules.not_honoured, Registration: registration.not_honoured}
    schema = model.model_json_schema()
    for name, part in {"": schema, **schema["$defs"]}.items():
        assert part["title"], name
        assert part["description"], name
        assert part["type"] != "object" or part["additionalProperties"] is False, name
    for example in schema["examples"]:
        assert not_honoured_by[model](model.model_validate_json(json.dumps(example))) == []
