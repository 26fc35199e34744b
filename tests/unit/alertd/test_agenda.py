"""What a process knows of the live alerts."""

from __future__ import annotations

import pytest

from alertd.clock import SystemClock
from alertd.ids import new_id
from alertd.sections import WorkerSection
from alertd.service.agenda import FOLLOWED, Agenda


@pytest.mark.parametrize("many", [0, 1, FOLLOWED, FOLLOWED + 1, 240, 1_000])
def test_every_chain_is_followed_in_three_rounds(many: int):
    """However many are live: one that is asked more seldom would not know which of its leases are lost."""
    agenda = Agenda(["push"], WorkerSection(), SystemClock())
    chains = [new_id(1) for _ in range(many)]
    agenda.look(dict.fromkeys(chains, b"1"), [*chains, *(f"{chain}-2" for chain in chains)])
    rounds = [agenda.to_follow() for _ in range(3)]
    assert {one for each in rounds for one in each} == set(agenda.versions)
