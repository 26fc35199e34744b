"""What a process knows of the live alerts."""

from __future__ import annotations

import pytest

from alertd.common.clock import SystemClock
from alertd.common.ids import new_id
from alertd.common.repetition import FOLLOWED
from alertd.config.sections import WorkerSection
from alertd.service.delivery.active_alerts import EMPTY_S, LEFT_S, ActiveAlerts
from alertd.store.alerts.records import PlanHead
from tests.clocks import Later


@pytest.mark.parametrize("many", [0, 1, FOLLOWED, FOLLOWED + 1, 240, 1_000])
def test_every_chain_is_followed_in_three_rounds(many: int):
    """However many are live: one that is asked more seldom would not know which of its leases are lost."""
    agenda = ActiveAlerts(["push"], WorkerSection(), SystemClock())
    chains = [new_id(1) for _ in range(many)]
    agenda.replace_alerts(dict.fromkeys(chains, b"1"), [*chains, *(f"{chain}-2" for chain in chains)])
    rounds = [agenda.to_follow() for _ in range(3)]
    assert {one for each in rounds for one in each} == set(agenda.versions)


def at(alert_id: str, cursor: int) -> PlanHead:
    """An alert that is planned so far."""
    return PlanHead(alert_id, "sending", "loud", 1_000_000, cursor, planned=False)


def test_a_plan_that_another_process_moves_on_is_left_to_it():
    """Until it has stood still for a second: its process may be gone."""
    clock, alert_id = Later(), new_id(1)
    agenda = ActiveAlerts(["push"], WorkerSection(), clock)
    for cursor in (500, 1_500, 1_500, 2_500):
        assert agenda.elsewhere([at(alert_id, cursor)]) == {alert_id}
        clock.pass_by(0.7)
    assert agenda.elsewhere([at(alert_id, 2_500)]) == {alert_id}
    clock.pass_by(LEFT_S - 0.7)
    assert agenda.elsewhere([at(alert_id, 2_500)]) == set()


def test_a_plan_that_this_process_moves_on_is_its_own():
    """Whatever another did to it meanwhile; and one that only it moves on from then on is left to it."""
    agenda, alert_id = ActiveAlerts(["push"], WorkerSection(), Later()), new_id(1)
    for cursor in (500, 1_500):
        agenda.begun(alert_id)
        assert agenda.elsewhere([at(alert_id, cursor)]) == set()
    assert agenda.elsewhere([at(alert_id, 1_500)]) == set()
    assert agenda.elsewhere([at(alert_id, 2_500)]) == {alert_id}


def test_a_chain_that_had_nothing_is_asked_again_when_something_of_it_came_due():
    """A retry, or what was a lost lease's, does not wait for the next time that everything is asked."""
    clock, chain = Later(), new_id(1)
    agenda = ActiveAlerts(["push", "sms"], WorkerSection(), clock)
    agenda.replace_alerts({chain: b"1"}, [chain])
    agenda.note_heads([chain], [at(chain, 10)])
    for channel in ("push", "sms"):
        assert agenda.in_turn(channel, loud=True) == [chain]
        agenda.nothing(chain, channel, loud=True, soon=False)
        assert agenda.in_turn(channel, loud=True) == []
    agenda.comes_due(chain, ["push"])
    assert [agenda.in_turn(channel, loud=True) for channel in ("push", "sms")] == [[chain], []]
    clock.pass_by(EMPTY_S)
    assert agenda.in_turn("sms", loud=True) == [chain]
