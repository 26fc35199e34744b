"""Many sends at once: what happens to one is nobody else's."""

import logging

from alertd.common.logs import OneLine
from channels.base import ACCEPTED, Answer, Outcome, Reason, Recipient
from channels.lanes import in_lanes


async def test_a_fault_in_one_send_is_that_recipients_outcome_alone(caplog):
    """The others' answers are kept, the fault is told by class and place, and nobody is sent to again for it."""

    async def send_one(recipient: Recipient) -> Outcome:
        if recipient.address == "secret-7":
            raise TypeError(f"no answer from {recipient.address}")
        return ACCEPTED

    with caplog.at_level(logging.ERROR):
        outcomes = await in_lanes([Recipient(f"secret-{n}", "tag", is_new=True) for n in range(100)], 8, send_one)
    assert [n for n, outcome in enumerate(outcomes) if outcome != ACCEPTED] == [7]
    assert outcomes[7] == Outcome(Answer.UNKNOWN, Reason.FAULT)
    assert [record.exc_info[0] for record in caplog.records] == [TypeError]
    lines = [OneLine().format(record) for record in caplog.records]
    assert "TypeError" in lines[0]
    assert "test_lanes.py" in lines[0]
    assert "secret" not in lines[0]
