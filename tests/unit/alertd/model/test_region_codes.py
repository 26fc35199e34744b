"""What may be imported can be named in every document."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from alertd.model.fields import Line, RegionCode
from geofences.names import LONGEST_NAME, code_fault, name_fault


@pytest.mark.parametrize(
    "code", ["41091", "ES-SE", "a.b_c:d-e", "x" * 32, "x" * 33, "", "-a", "a b", "ñ", "a/b", "a\n", "a+b"]
)
def test_a_code_is_imported_if_documents_can_name_it(code: str):
    """The importer and the documents agree about every code."""
    try:
        TypeAdapter(RegionCode).validate_python(code)
    except ValidationError:
        assert code_fault(code)
    else:
        assert code_fault(code) is None


@pytest.mark.parametrize("name", ["Ábalos", "القاهرة", "\u200fاب", "x" * LONGEST_NAME, "(1)"])
def test_a_name_that_is_imported_is_a_line(name: str):
    """What comes in as a name fits where documents have a line."""
    assert name_fault(name) is None
    assert TypeAdapter(Line).validate_python(name) == name


@pytest.mark.parametrize("name", ["x" * (LONGEST_NAME + 1), "a\u202eb", "a\x07b", "\u200e", "\ufeffa"])
def test_what_is_no_line_is_no_name(name: str):
    """What documents refuse the importer refuses, too."""
    assert name_fault(name)
    with pytest.raises(ValidationError):
        TypeAdapter(Line).validate_python(name)
