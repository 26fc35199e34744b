"""The keys of an embedded store: made with it, and never anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.runtime.installation import client_of, store_of
from alertd.runtime.processes import StartError
from alertd.store.engine.codec import Codec
from alertd.store.engine.connection import Connection
from alertd.store.master_key.schema import open_store


async def opened_once(settings: Settings) -> None:
    """Start its store, and open it as every process does."""
    async with store_of(settings) as store, client_of(store.url) as client:
        await open_store(Connection(client, Codec(store.keys)))


@pytest.mark.parametrize("lost", ["master.key", "hash.key"])
async def test_no_new_key_is_made_for_an_old_store(tmp_path: Path, lost: str):
    """It would open nothing, and the next copy of the keys would be of it. Put back, the lost one opens the store as before."""
    settings = Settings(store=StoreSection(directory=tmp_path / "data", ballast_mb=0))
    async with store_of(settings):
        pass  # killed before it was opened: it is still new
    for name in ("master.key", "hash.key"):
        (tmp_path / "data" / name).unlink()
    await opened_once(settings)
    (tmp_path / "data" / lost).rename(tmp_path / "safe")
    with pytest.raises(StartError, match=f"{lost} is not there"):
        await opened_once(settings)
    assert not (tmp_path / "data" / lost).exists()
    (tmp_path / "data" / lost).touch()
    with pytest.raises(StartError, match="not as they were made"):
        await opened_once(settings)
    (tmp_path / "safe").rename(tmp_path / "data" / lost)
    await opened_once(settings)
