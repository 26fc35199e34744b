"""How `alertd serve` starts: how many workers, and what it does not start with."""

from __future__ import annotations

import os
import resource

import pytest

from alertd.config.settings import Settings
from alertd.runtime.installation import store_of
from alertd.runtime.processes import FILES, StartError, take_files
from alertd.runtime.serve import workers_of

CENTRE = {"kind": "smpp", "host": "a.example", "system_id": "a", "password": "p", "sender": "+34600000000"}


@pytest.mark.parametrize(
    ("processors", "processes", "expected"), [(1, 0, 2), (2, 0, 2), (8, 0, 7), (8, 1, 1), (2, 3, 3)]
)
def test_two_at_least_unless_a_number_is_given(monkeypatch, processors, processes, expected):
    """Where a centre counts binds, too: who is refused one leaves the messages to who is not."""
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    settings = Settings.model_validate({"worker": {"processes": processes}, "carriers": {"one": CENTRE}})
    assert workers_of(settings) == expected


async def test_an_embedded_store_is_asked_for_no_replica(tmp_path):
    """It has none, and would accept nothing: that is said at the start, and not with each alert."""
    settings = Settings.model_validate({"store": {"directory": tmp_path / "data", "replicas_required": 1}})
    with pytest.raises(StartError, match="replicas_required"):
        async with store_of(settings):
            pass
    assert not (tmp_path / "data").exists()


def test_a_process_takes_the_files_that_it_may():
    """Many systems give 1,024 at first: connections that nobody uses would take all of them."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, before[1]))
        take_files()
        given, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert most == before[1]
        assert given == (FILES if most == resource.RLIM_INFINITY else min(FILES, most))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
