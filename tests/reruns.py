"""What a second try of a test has to know."""

from __future__ import annotations

import pytest

#: Of a module: one of its tests is tried once more, and needs an installation that no test before it has used.
TRIED_AGAIN = pytest.StashKey[bool]()
