"""Regions of the installation, beside the shipped ones."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import shapely

from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.service.container import Container
from geofences import files, importer
from geofences.additions import install
from geofences.regions import Library
from tests.integration.conftest import Sandbox, settings_for

HARBOUR = shapely.box(-6.02, 37.33, -5.98, 37.36)
SOURCE = files.Source(name="the port", licence="CC0", attribution="the port")
PATROL = {"type": "Polygon", "coordinates": [[[-6.1, 37.3], [-5.9, 37.3], [-5.9, 37.5], [-6.1, 37.3]]]}


def settings_of(tmp_path: Path) -> Settings:
    return Settings(store=StoreSection(directory=tmp_path))


def sending(tmp_path: Path, sandbox: Sandbox) -> Settings:
    """With carriers, and regions of one's own."""
    settings = settings_for(sandbox)
    return settings.model_copy(update={"store": settings.store.model_copy(update={"directory": tmp_path})})


@cache
def shipped() -> Library:
    """Loaded once for all tests of this file that begin without regions of their own."""
    return Library.load()


def imported(data: Path, shape: shapely.Polygon = HARBOUR, country: str = "ES") -> None:
    """One district of Sevilla, from GeoJSON into a data directory."""
    feature = {"type": "Feature", "properties": {"id": "PORT-1", "title": "Muelle de Tablada"}}
    drawn = data / "port.geojson"
    drawn.write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature | {"geometry": shapely.geometry.mapping(shape)}]})
    )
    report = importer.read_regions(drawn, kind="city", code_field="id", name_field="title", country=country)
    assert report.problems == ()
    install(
        data / "regions",
        "port",
        source=SOURCE,
        rows=report.regions,
        geometries=report.geometries,
        library=shipped(),
    )


async def drawn(
    parts: Container, code: str = "PATROL-1", name: str = "Our patrol area", *, org: str = "ours", seen=None
):
    return (
        await parts.regions.draw(
            code, name, {"es": "Nuestra zona"}, await parts.regions.outline(PATROL), org=org, seen=seen
        )
    ).region
