"""What the tests of messages are made with."""

from __future__ import annotations

import pytest

from alertd.rendering import Renderer
from alertd.resources import templates_dir


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """The templates that are shipped, without a site: messages have no links of ours."""
    return Renderer(templates_dir())
