"""Regions that an operator imports beside the shipped ones: found and targeted by the service from its next start on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shapely
from redis.asyncio import Redis

from alertd.app import opened
from alertd.config import ConfigError, Settings, StoreSection
from alertd.documents import Target
from alertd.errors import Problem
from alertd.store.codec import Codec
from geofences import files, importer
from geofences.additions import install
from geofences.regions import Library

HARBOUR = shapely.box(-6.02, 37.33, -5.98, 37.36)
SOURCE = files.Source(name="the port", licence="CC0", attribution="the port")


def imported(data: Path) -> None:
    """One district of Sevilla, from GeoJSON into a data directory."""
    feature = {"type": "Feature", "properties": {"id": "PORT-1", "title": "Muelle de Tablada"}}
    drawn = data / "port.geojson"
    drawn.write_text(
        json.dumps(
            {"type": "FeatureCollection", "features": [feature | {"geometry": shapely.geometry.mapping(HARBOUR)}]}
        )
    )
    report = importer.read(drawn, kind="city", code_field="id", name_field="title", country="ES")
    assert report.problems == ()
    install(
        data / "regions",
        "port",
        source=SOURCE,
        rows=report.regions,
        geometries=report.geometries,
        library=Library.load(),
    )


async def test_imported_region_is_there_after_a_restart(tmp_path: Path, redis: Redis, codec: Codec):
    """Unknown before, a region of one's own is found by name and resolves to its own ground after the next start."""
    settings, target = Settings(store=StoreSection(directory=tmp_path)), Target(regions=("PORT-1",))
    async with opened(settings, redis, codec) as parts:
        with pytest.raises(Problem):
            await parts.targeting.area(target)
    imported(tmp_path)
    async with opened(settings, redis, codec) as parts:
        assert [region.code for region in parts.library.search("tablada")] == ["PORT-1"]
        area = await parts.targeting.area(target)
        assert shapely.symmetric_difference(area.geometry, HARBOUR).area < 1e-6
        assert "PORT-1" in {share.code for share in await parts.targeting.shares(area.geometry)}


async def test_damaged_region_file_is_named(tmp_path: Path, redis: Redis, codec: Codec):
    """A file that is none stops the start with its name, rather than a region missing in silence."""
    (tmp_path / "regions").mkdir()
    (tmp_path / "regions" / "town.regions").write_text("no zip")
    with pytest.raises(ConfigError, match=r"town\.regions"):
        async with opened(Settings(store=StoreSection(directory=tmp_path)), redis, codec):
            pass
