"""The tables of states: complete, closed, and one with what scripts and receipts do."""

from __future__ import annotations

import pytest

from alertd.model.states import (
    ALERT_STEPS,
    ATTEMPTS_MASK,
    FLAG_DELAYED,
    FLAG_DOUBT,
    OPEN_STATES,
    OWN_REASONS,
    QUEUED_BECOMES,
    SETTLED,
    STEPS,
    UNWATCHED,
    AlertState,
    LedgerReason,
    State,
)
from alertd.service.delivery.receipts import SOURCES
from channels.base import Reason


def test_every_state_has_its_row():
    """No state is missing from a table, and no step leads out of it."""
    assert set(ALERT_STEPS) == set(AlertState)
    assert set(STEPS) == set(State)
    assert set().union(*ALERT_STEPS.values()) <= set(AlertState)
    assert set().union(*STEPS.values()) <= set(State)


def test_every_state_can_be_reached():
    """A state that nothing leads to would be a word without a meaning."""
    assert set().union(*ALERT_STEPS.values()) == set(AlertState) - {AlertState.DRAFT}
    assert set().union(*STEPS.values()) == set(State)


@pytest.mark.parametrize("state", [State.DELIVERED, State.EXPIRED, State.CANCELLED, State.SUPPRESSED])
def test_no_step_leads_out_of_a_final_state(state: State):
    """What is final stays."""
    assert not STEPS[state]


def test_an_alert_that_ended_can_only_be_purged():
    """Nothing brings an ended alert back to life."""
    for end in (*QUEUED_BECOMES, AlertState.REJECTED):
        assert ALERT_STEPS[end] == {AlertState.PURGED} - {end}
    assert not ALERT_STEPS[AlertState.PURGED]


def test_the_identity_is_closed():
    """Settled rows never become open again, but for the unknown and the failed, which an operator sends again."""
    for state in SETTLED - {State.UNKNOWN, State.FAILED}:
        assert STEPS[state] <= SETTLED
    assert set(State) == SETTLED | {State.QUEUED, State.IN_FLIGHT}


def test_only_open_states_send_and_no_open_state_settles():
    """The gate is open or closes for good, never both."""
    assert not OPEN_STATES & set(QUEUED_BECOMES)
    assert {State[word.upper()] for word in QUEUED_BECOMES.values()} <= SETTLED


def test_a_draft_is_not_sent_before_it_is_submitted():
    """Approval is for what its author has finished."""
    assert AlertState.APPROVED not in ALERT_STEPS[AlertState.DRAFT]
    assert AlertState.APPROVED in ALERT_STEPS[AlertState.PENDING]


def test_bytes_of_the_ledger_do_not_collide():
    """Carriers' reasons and ours share a byte; attempts and flags another."""
    carriers, ours = [reason.value for reason in Reason], [int(reason) for reason in LedgerReason]
    assert max(carriers) < OWN_REASONS == 32 <= min(ours)
    assert len(set(carriers + ours)) == len(carriers) + len(ours)
    assert ATTEMPTS_MASK + FLAG_DELAYED + FLAG_DOUBT == ATTEMPTS_MASK | FLAG_DELAYED | FLAG_DOUBT <= 255


@pytest.mark.parametrize("new", SOURCES)
def test_receipts_take_only_steps_of_the_table(new: State):
    """A late report moves a row as the table allows."""
    assert all(new in STEPS[old] for old in SOURCES[new])


def test_nobody_is_told_of_what_is_over():
    """Whoever watches an alert may stop where nothing can be sent any more unless an operator sends it again, and goes on wherever
    it can.
    """
    assert not UNWATCHED & OPEN_STATES
    assert not any(AlertState.SENDING in ALERT_STEPS[state] for state in UNWATCHED - {AlertState.SENT})
    waits = {AlertState.DRAFT, AlertState.PENDING, AlertState.RETURNED, AlertState.SCHEDULED, AlertState.STOOD_DOWN}
    assert UNWATCHED | OPEN_STATES | waits == set(AlertState)
