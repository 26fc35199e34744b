"""Reads the earlier public texts of changed alerts, which only the evidence shows, and removes from them what was
restricted.
"""

from __future__ import annotations

from dataclasses import dataclass

from alertd.model.alert import Alert
from alertd.model.redaction import restricted
from alertd.store.alerts.published_history import PublishedWords
from alertd.store.alerts.records import AlertRecord
from alertd.store.records.case_keys import Cases


@dataclass(frozen=True, slots=True)
class PublishedHistory:
    """Reads and restricts the earlier public texts. Once facts must be removed, only a legal hold keeps them in these
    texts.
    """

    words: PublishedWords
    cases: Cases

    async def read_documents(self, record: AlertRecord) -> list[Alert]:
        """Returns all documents of an alert that were public, in order. `record` must be a fully read alert."""
        return [Alert.model_validate_json(one.document) for one in await self.words.of(record)]

    async def settle(self, record: AlertRecord) -> int:
        """Removes the restricted facts also from the earlier texts of a restricted alert, unless its case has a legal
        hold. Returns how many texts it changed.
        """
        if not record.times.restricted or await self.cases.is_kept(record.case):
            return 0
        return await self.words.rewrite(record, restricted)
