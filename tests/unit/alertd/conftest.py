"""What the tests of messages and of commands are made with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alertd.common.resources import templates_dir
from alertd.rendering import Renderer
from tests.unit.alertd.peers import Peer, serving_peers


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """The templates that are shipped, without a site: messages have no links of ours."""
    return Renderer(templates_dir())


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Starts servers that give these answers in turn; their addresses, and the requests they got."""
    with serving_peers() as start:
        yield start
