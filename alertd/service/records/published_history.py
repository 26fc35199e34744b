"""Keeps the earlier public words of changed alerts, which only the evidence shows, and decides how much of them stays."""

from __future__ import annotations

from dataclasses import dataclass

from alertd.model.alert import Alert
from alertd.model.redaction import restricted
from alertd.store.alerts.published_history import PublishedWords
from alertd.store.alerts.records import AlertRecord
from alertd.store.records.case_keys import Cases


@dataclass(frozen=True, slots=True)
class PublishedHistory:
    """Reads and restricts the earlier public words. Only a legal hold keeps them whole once they must be removed."""

    words: PublishedWords
    cases: Cases

    async def read_documents(self, record: AlertRecord) -> list[Alert]:
        """Returns all documents that an alert published, in order. `record` must be a fully read alert."""
        return [Alert.model_validate_json(one.document) for one in await self.words.of(record)]

    async def settle(self, record: AlertRecord) -> int:
        """Restricts the earlier words of a restricted alert too, unless its case has a legal hold. Returns how many it changed."""
        if not record.times.restricted or await self.cases.is_kept(record.case):
            return 0
        return await self.words.rewrite(record, restricted)
