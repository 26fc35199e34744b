"""What tests share has a module of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def imports(file: Path) -> Iterator[str]:
    """The full name of each module, or of what may be one, that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_test(name: str) -> bool:
    """Whether a full name leads through a module of tests, as `tests.unit.test_x.SAMPLE` does."""
    return name.startswith("tests.") and any(
        (ROOT / "/".join(name.split(".")[:end])).with_suffix(".py").is_file() and part.startswith("test_")
        for end, part in enumerate(name.split("."), 1)
    )


def test_no_test_imports_another():
    """Samples, helpers and fixtures that two files need are in a module beside them, or in the conftest.py above them."""
    found = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in (ROOT / "tests").rglob("*.py")
        for name in imports(file)
        if is_test(name)
    }
    assert found == set()
