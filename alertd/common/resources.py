"""Finds the data files that come with the program."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_HERE = Path(__file__).resolve().parents[1]

#: In a wheel the templates lie inside the package; in a checkout they lie at the root of the repository.
_TEMPLATES = (_HERE / "templates", _HERE.parent / "templates")

#: The files for browsers that get web push: in a wheel inside the package, in a checkout in `ops/`.
_WEBPUSH = (_HERE / "webpush", _HERE.parent / "ops" / "webpush")


@cache
def webpush_file(name: str) -> bytes:
    """Returns a file for browsers that get web push, such as `sw.js`. Raises FileNotFoundError if the installation lacks it."""
    for candidate in _WEBPUSH:
        if (candidate / name).is_file():
            return (candidate / name).read_bytes()
    raise FileNotFoundError(
        "The files for browsers are missing: install alertd again, or run it from a whole checkout."
    )


def templates_dir() -> Path:
    """Returns the directory that contains `messages/` and `catalogue/`. Raises FileNotFoundError if the installation lacks it."""
    for candidate in _TEMPLATES:
        if (candidate / "catalogue").is_dir():
            return candidate
    raise FileNotFoundError("The templates are missing: install alertd again, or run it from a whole checkout.")
