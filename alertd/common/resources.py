"""Finds the data files that come with the program."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parents[1]

#: In a wheel the templates lie inside the package; in a checkout they lie at the root of the repository.
_TEMPLATES = (_HERE / "templates", _HERE.parent / "templates")


def templates_dir() -> Path:
    """Returns the directory that contains `messages/` and `catalogue/`. Raises FileNotFoundError if the installation lacks it."""
    for candidate in _TEMPLATES:
        if (candidate / "catalogue").is_dir():
            return candidate
    raise FileNotFoundError("The templates are missing: install alertd again, or run it from a whole checkout.")
