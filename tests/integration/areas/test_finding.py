"""Whom a query finds: everybody inside who agreed to be told, at a place that counts, and nobody else."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from msgspec.structs import replace

from alertd.model.subscriber import Place
from alertd.store.engine.bulk_reads import BulkReads
from alertd.store.engine.connection import Connection, StoreUnavailableError
from alertd.store.people.audience import Audience, MatchFilter
from alertd.store.people.spots import Change
from alertd.store.people.subscribers import People
from tests.integration.movers import SEVILLA, Clock, person, place, wanted


async def test_region_places_are_found_by_region(people: People, audience: Audience):
    """Someone who named a region is found when the region counts, and not by the ground alone."""
    named = Place(name="home", kind=1, lon=0, lat=0, region="41091", at_s=0, accuracy_m=None, tile=0, x=0, y=0, leaf=77)
    await people.put([Change(None, person(1, named))])
    query = wanted(SEVILLA)
    assert (await audience.find(query)).numbers.tolist() == []
    by_region = MatchFilter(area=query.area, regions=[76, 77], kind=1, places=query.places)
    assert (await audience.find(by_region)).numbers.tolist() == [1]


async def test_consent_place_and_age_decide(store: Connection, audience: Audience):
    """Only who consented to the kind, at a place that counts, seen recently enough, is found."""
    fresh = replace(place(SEVILLA, "now", 0), at_s=100 * 3600)
    stale = replace(place(SEVILLA, "now", 0), at_s=50 * 3600)
    await People(store, Clock()).put(
        [
            Change(None, person(1, fresh)),
            Change(None, person(2, stale)),
            Change(None, replace(person(3, place(SEVILLA)), kinds=2)),
            Change(None, replace(person(4, place(SEVILLA)), tester=True)),
        ]
    )
    query = MatchFilter(area=wanted(SEVILLA).area, kind=1, places=frozenset({0, 1}), max_age_h=24, now_h=101)
    assert (await audience.find(query)).numbers.tolist() == [1, 4]
    testers = MatchFilter(area=query.area, kind=1, places=query.places, testers_only=True)
    assert (await audience.find(testers)).numbers.tolist() == [4]


async def test_ten_thousand_against_brute_force(people: People, audience: Audience):
    """Everybody whom brute force finds is found, and nobody else."""
    chance = np.random.default_rng(7)
    lon, lat = chance.uniform(-6.2, -5.8, 10_000), chance.uniform(37.2, 37.6, 10_000)
    spots = list(zip(lon.tolist(), lat.tolist(), strict=True))
    await people.put([Change(None, person(i + 1, place(spot))) for i, spot in enumerate(spots)])
    query = wanted(SEVILLA, 0.1)
    found = await audience.find(query)
    near = (
        shapely.distance(
            query.area.exterior if hasattr(query.area, "exterior") else query.area.boundary, shapely.points(lon, lat)
        )
        < 1e-5
    )
    truth = shapely.intersects_xy(query.area, lon, lat)
    mine = np.isin(np.arange(1, 10_001), found.numbers)
    assert ((mine == truth) | near).all()
    assert len(found) > 1000


async def test_deadline_gives_nobody_rather_than_some(store: Connection, people: People):
    """A query that cannot end in time is refused: a partial audience would lose people silently."""
    await people.put([Change(None, person(1, place(SEVILLA)))])
    with pytest.raises(StoreUnavailableError):
        await Audience(BulkReads(store.nodes, timeout_s=5), store.codec.cells, people.authority, deadline_s=0).find(
            wanted(SEVILLA)
        )
