"""What alerts said in public before they were changed, which the evidence tells and nobody else: how long it is kept, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass

from alertd.model.alert import Alert
from alertd.model.redaction import restricted
from alertd.store.alerts.published_history import PublishedWords
from alertd.store.alerts.records import AlertRecord
from alertd.store.records.case_keys import Cases


@dataclass(frozen=True, slots=True)
class PublishedHistory:
    """The words of then. A legal hold keeps them whole, and nothing else does once they are to be forgotten."""

    words: PublishedWords
    cases: Cases

    async def read_documents(self, record: AlertRecord) -> list[Alert]:
        """All that an alert, read whole, ever said in public, in order."""
        return [Alert.model_validate_json(one.document) for one in await self.words.of(record)]

    async def settle(self, record: AlertRecord) -> int:
        """What an alert that was restricted said before is restricted, too, unless a legal hold keeps its case. Answers how much was."""
        if not record.times.restricted or await self.cases.is_kept(record.case):
            return 0
        return await self.words.rewrite(record, restricted)
