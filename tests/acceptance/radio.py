"""A distributor that receives alerts over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lxml import etree

from alertd.model.cap.messages import Message, Status
from alertd.model.cap.reader import parse_message
from tests.integration.gateways import SCHEMA
from tests.recorders import Local, a_local


@dataclass
class Radio:
    """A broadcaster's program, which takes what it is posted and says where it may say more."""

    local: Local

    @property
    def got(self) -> list[Message]:
        """What it is to tell, each valid by the schema."""
        for _, raw in self.local.got:
            SCHEMA.assertValid(etree.fromstring(raw))
        found = [parse_message(raw) for _, raw in self.local.got]
        return [message for message in found if message.status is not Status.SYSTEM]

    @property
    def receipts(self) -> str:
        return self.local.got[-1][0]["alertd-receipts"]


@pytest.fixture(scope="module")
def radio() -> Iterator[Radio]:
    """On this machine, as the sandbox allows."""
    with a_local() as made:
        made.status = 202
        yield Radio(made)
