"""Regions of one's own beside the shipped ones: imported into the data directory or drawn, and found while the service runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import shapely
from redis.asyncio import Redis
from structlog.testing import capture_logs

from alertd.commands.installation.inspection import inspected
from alertd.common.errors import ConfigError, Problem
from alertd.config.sections import StoreSection
from alertd.config.settings import Settings
from alertd.model.alert import Target
from alertd.runtime.assembly import opened
from alertd.runtime.worker import worker_of
from alertd.service.areas.reach_preview import ReachPreview
from alertd.service.container import Container
from alertd.store.engine.codec import Codec
from geofences import files
from geofences.drawn import FIRST_NUMBER
from geofences.errors import LibraryError
from tests.integration.acts import BEA, alert_of, reached, register, submitted
from tests.integration.areas.own_regions import HARBOUR, PATROL, drawn, imported, sending, settings_of, shipped
from tests.integration.conftest import Sandbox

ALL_THERE = Target(regions=("PORT-1",))


async def test_an_import_after_the_submission_takes_nobody_out(
    tmp_path: Path, redis: Redis, codec: Codec, sandbox: Sandbox, sample: dict[str, Any]
):
    """Whoever named a region is told of an alert for its ground, though it is another place by the time that the alert is approved."""
    imported(tmp_path)
    async with opened(sending(tmp_path, sandbox), redis, codec) as parts:
        await register(parts, 20, places={"home": {"region": "PORT-1"}})
        taken = await submitted(parts, sample, target={"polygons": [shapely.geometry.mapping(HARBOUR)]})
        found = await reached(parts, taken.record)
        imported(tmp_path, shapely.box(-3.72, 40.40, -3.70, 40.42))
        await parts.regions.refresh()
        approved = await parts.approval.approve(taken.record.id, BEA)
        assert (await parts.alerts.audience(approved.id)).numbers.tolist() == found.numbers.tolist()
        assert len(found) == 20


async def test_imported_region_is_found_while_the_service_runs(tmp_path: Path, redis: Redis, codec: Codec):
    """Unknown before, a region of one's own is found by name and resolves to its own ground at the next look, and after a restart."""
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        with pytest.raises(Problem):
            await parts.targeting.area(ALL_THERE)
        imported(tmp_path)
        await parts.regions.refresh()
        assert [region.code for region in parts.regions.library.find(text="tablada")] == ["PORT-1"]
        area = await parts.targeting.area(ALL_THERE)
        assert shapely.symmetric_difference(area.geometry, HARBOUR).area < 1e-6
        assert "PORT-1" in {share.code for share in await parts.targeting.shares(area.geometry)}
    async with opened(settings_of(tmp_path), redis, codec) as parts:
        assert "PORT-1" in parts.regions.library


async def test_a_replaced_source_is_there_as_a_whole_under_the_number_it_had(
    tmp_path: Path, redis: Redis, codec: Codec
):
    """Another edition takes the place of the one before; whoever began with that one keeps it."""
    imported(tmp_path)
    async with opened(settings_of(tmp_path), redis, codec) as parts:
        before = parts.regions.library
        moved = shapely.box(-6.02, 37.30, -5.98, 37.33)
        imported(tmp_path, moved)
        await parts.regions.refresh()
        after = parts.regions.library
        assert after.get("PORT-1").number == before.get("PORT-1").number
        assert after.geometry("PORT-1").equals(moved)
        assert before.geometry("PORT-1").equals(HARBOUR)


async def test_a_file_damaged_while_the_service_runs_changes_nothing(tmp_path: Path, redis: Redis, codec: Codec):
    """The library stays as it was, and takes in the next whole edition."""
    imported(tmp_path)
    async with opened(settings_of(tmp_path), redis, codec) as parts:
        whole = (tmp_path / "regions" / "port.regions").read_bytes()
        (tmp_path / "regions" / "port.regions").write_bytes(whole[:100])
        await parts.regions.refresh()
        assert parts.regions.library.geometry("PORT-1").equals(HARBOUR)
        (tmp_path / "regions" / "port.regions").unlink()
        await parts.regions.refresh()
        assert "PORT-1" not in parts.regions.library


async def test_a_phone_is_changed_though_a_region_that_was_named_is_gone(tmp_path: Path, redis: Redis, codec: Codec):
    """Whoever lives at a point and named a region that is no more has the new phone told; nobody names that region anew."""
    imported(tmp_path)
    async with opened(settings_of(tmp_path), redis, codec) as parts:
        await register(parts, 1, places={"home": {"point": [-5.98, 37.39]}, "school": {"region": "PORT-1"}})
        (tmp_path / "regions" / "port.regions").unlink()
        await parts.regions.refresh()
        changed = await parts.registry.patch("p0", {"addresses": [{"channel": "push", "token": "new"}]})
        assert [address.value for address in changed.addresses] == ["new"]
        assert [(place.name, place.region) for place in changed.places] == [("home", None), ("school", "PORT-1")]
        with pytest.raises(Problem, match="is refused"):
            await parts.registry.patch("p0", {"places": {"work": {"region": "PORT-1"}}})


async def test_who_named_a_region_that_is_gone_is_counted(
    tmp_path: Path, redis: Redis, codec: Codec, valkey_socket: str
):
    """No alert is told to them by it, so whoever runs the service learns of it: at once from the log, and from a check until they named another."""
    own = Settings(store=StoreSection(url=f"unix://{valkey_socket}", master_key="6d" * 32, hash_key="68" * 32))

    async def checked() -> list[str]:
        found = await asyncio.to_thread(inspected, own, None, lambda _: shipped())
        return [one.says for one in found if one.part == "regions" and one.warns]

    imported(tmp_path)
    async with opened(settings_of(tmp_path), redis, codec) as parts:
        await register(parts, 10, places={"home": {"region": "PORT-1"}})
        await register(parts, 5, first=10, places={"home": {"point": [-5.98, 37.39]}, "work": {"region": "PORT-1"}})
        await register(parts, 5, first=15, places={"home": {"region": "41004"}, "work": {"region": "41091"}})
        await parts.registry.forget("p9")
        with capture_logs() as logs:
            await parts.place_labels.bring_up()
            (tmp_path / "regions" / "port.regions").unlink()
            await parts.regions.refresh()
            await parts.place_labels.bring_up()
        (told,) = (line for line in logs if line["log_level"] == "warning")
        assert told["event"] == "region.found_missing"
        assert (told["people"], told["regions"], told["codes"]) == (14, 1, ["PORT-1"])
        assert await checked() == ["14 people named regions that no longer exist, and get no alert for them: PORT-1"]
        await register(parts, 15, places={"home": {"region": "41091"}})
        assert await checked() == []


async def test_damaged_region_file_is_named(tmp_path: Path, redis: Redis, codec: Codec):
    """A file that is none stops the start with its name, rather than a region missing in silence."""
    (tmp_path / "regions").mkdir()
    (tmp_path / "regions" / "town.regions").write_text("no zip")
    with pytest.raises(ConfigError, match=r"town\.regions"):
        async with opened(settings_of(tmp_path), redis, codec):
            pass


async def test_a_worker_does_without_the_library(tmp_path: Path, redis: Redis, codec: Codec):
    """It opens although no library can be loaded; whoever asks for a region all the same is told, rather than given none."""
    (tmp_path / "regions").mkdir()
    (tmp_path / "regions" / "town.regions").write_text("no zip")
    async with opened(settings_of(tmp_path), redis, codec, loads=False) as parts:
        assert worker_of(parts) is not None
        with pytest.raises(LibraryError, match=r"town\.regions"):
            _ = parts.regions.library


async def test_an_alert_keeps_the_area_it_was_submitted_with(
    tmp_path: Path, redis: Redis, codec: Codec, sandbox: Sandbox, sample: dict[str, Any]
):
    """A region that is drawn anew, or replaced, after an alert named it does not move the alert."""
    imported(tmp_path)
    settings = sending(tmp_path, sandbox)
    async with opened(settings, redis, codec) as parts:
        await register(parts, 60, places={"home": {"point": [-6.0, 37.34]}})
        taken = await submitted(parts, sample, target={"regions": ["PORT-1"]})
        imported(tmp_path, shapely.box(10, 50, 10.1, 50.1))
        await parts.regions.refresh()
        assert shapely.symmetric_difference(await parts.alerts.area(taken.record.id), HARBOUR).area < 1e-6


async def test_people_are_labelled_with_finer_regions_in_the_background(
    tmp_path: Path, redis: Redis, codec: Codec, sample: dict[str, Any]
):
    """Until then they count for the parent; then for the finer region; they are found once all the while, and once is enough."""
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        await register(parts, 30, places={"home": {"point": [-9.14, 38.72]}})
        town = shapely.box(-9.2, 38.6, -9.0, 38.8)

        async def counted() -> Any:
            area = await parts.targeting.area(
                Target(polygons=(shapely.geometry.mapping(shapely.box(-9.3, 38.5, -8.9, 38.9)),))
            )
            shares = await parts.targeting.shares(area.geometry)
            told = parts.targeting.notified_regions(shares)
            found = await parts.targeting.people(area.geometry, alert_of(sample), told)
            assert len(found) == 30
            codes = {share.number: share.code for share in shares}
            return {codes[number]: count for number, count in Counter(found.regions.tolist()).items()}

        assert await parts.place_labels.bring_up() == 0
        assert await counted() == {"PT-11": 30}
        imported(tmp_path, town, country="PT")
        await parts.regions.refresh()
        assert await counted() == {"PT-11": 30}
        assert await parts.place_labels.bring_up() == 30
        assert await counted() == {"PORT-1": 30}
        assert await parts.place_labels.bring_up() == 0


async def test_a_drawn_region_is_everybodys_at_once_and_nobodys_leaf(tmp_path: Path, redis: Redis, codec: Codec):
    """What one process drew, another finds at its next look; people in it still belong to their municipality."""
    async with (
        opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts,
        opened(settings_of(tmp_path), redis, codec, library=shipped()) as others,
    ):
        region = await drawn(parts)
        assert (region.kind, region.country, region.parent) == ("drawn", "ES", None)
        assert region.number > FIRST_NUMBER
        assert (await parts.targeting.area(Target(regions=("PATROL-1",)))).km2 == pytest.approx(region.km2)
        await others.regions.refresh()
        assert others.regions.library.get("PATROL-1") == region
        spot = others.regions.library.geometry("PATROL-1").representative_point()
        assert others.regions.library.at(spot.x, spot.y)[0].kind == "city"
        assert [r.code for r in others.regions.library.find(kind="drawn", text="nuestra zona")] == ["PATROL-1"]


async def test_a_drawn_region_keeps_its_number_when_it_is_drawn_anew(tmp_path: Path, redis: Redis, codec: Codec):
    """Its number is given once; another region gets the next; all of it is there after a restart."""
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        first = await drawn(parts)
        second = await drawn(parts, "PATROL-2")
        renamed = await drawn(parts, name="Our old patrol area")
        assert (renamed.number, renamed.name) == (first.number, "Our old patrol area")
        assert second.number == first.number + 1
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        await parts.regions.refresh()
        assert parts.regions.library.get("PATROL-1") == renamed


async def test_a_target_is_the_ground_that_its_region_has_now(tmp_path: Path, redis: Redis, codec: Codec):
    """The same target, asked for again and again, has one ground, and another as soon as the region is drawn anew. Nobody prepares what is shared."""
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        await parts.regions.draw(
            "X-PATROL", "Patrulla", {}, await parts.regions.outline(PATROL), org="default", seen=None
        )
        target = Target(regions=("X-PATROL",), polygons=(shapely.geometry.mapping(HARBOUR),))
        looks = ReachPreview(parts.targeting, parts.reaches)
        first, again = [(await looks.resolved(target)).area for _ in range(2)]
        assert first is again
        assert not shapely.is_prepared(first.geometry)
        smaller = {"type": "Polygon", "coordinates": [[[-6.1, 37.3], [-6.0, 37.3], [-6.0, 37.4], [-6.1, 37.3]]]}
        await parts.regions.draw(
            "X-PATROL", "Patrulla", {}, await parts.regions.outline(smaller), org="default", seen=None
        )
        anew = (await looks.resolved(target)).area
        assert anew.km2 < first.km2 / 2
        assert "X-PATROL" not in {share.code for share in await parts.targeting.shares(anew.geometry)}


@pytest.mark.parametrize("damaged", ["port.regions", "numbers.csv"])
async def test_what_is_drawn_arrives_while_an_imported_file_is_damaged(
    tmp_path: Path, redis: Redis, codec: Codec, damaged: str
):
    """Imported regions stay as they were, each drawing is everybody's at once, and the log says both; mended, all is taken in."""
    imported(tmp_path)
    path = tmp_path / "regions" / damaged
    whole = path.read_bytes()
    async with opened(settings_of(tmp_path), redis, codec) as parts:
        path.write_bytes(whole[: len(whole) // 2] + b"?" + whole[len(whole) // 2 :])
        with capture_logs() as told:
            assert (await drawn(parts)).code == "PATROL-1"
            assert (await drawn(parts, "PATROL-2")).code == "PATROL-2"
        assert {"PORT-1", "PATROL-1", "PATROL-2"} <= {region.code for region in parts.regions.library.regions}
        assert [line["event"] for line in told] == [
            "region_library.load_failed",
            *["region_library.drawn_loaded"] * 3,  # before the first drawing, and after each
        ]
        assert damaged in told[0]["why"]
        path.write_bytes(whole)
        with capture_logs() as told:
            await parts.regions.refresh()
        assert [line["event"] for line in told] == ["region_library.loaded"]


async def test_what_may_not_be_drawn(tmp_path: Path, redis: Redis, codec: Codec):
    """An official code, another organisation's region, a revision that is no more and a shape that is none are refused, and nothing
    changes.
    """
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        region = await drawn(parts)
        seen = parts.regions.library.revision("PATROL-1")
        for slug, attempt in (
            ("not-allowed", drawn(parts, "41091")),
            ("not-allowed", drawn(parts, org="theirs")),
            ("version-changed", drawn(parts, name="x", seen=seen + 1)),
            ("version-changed", drawn(parts, "PATROL-9", seen=seen)),
            (
                "invalid-geometry",
                parts.regions.outline({"type": "Polygon", "coordinates": [[[0, 0]]]}),
            ),
        ):
            with pytest.raises(Problem) as caught:
                await attempt
            assert caught.value.slug == slug
        assert parts.regions.library.get("PATROL-1") == region
        assert (await drawn(parts, name="y", seen=seen)).name == "y"


async def test_what_is_to_be_new_overwrites_nothing(client: Any, parts: Container):
    """`If-None-Match: *` draws where nothing has the code, and is refused where something has, which stays as it was."""
    _, token = await parts.access.create(org="default", subject="ana", scopes=frozenset({"regions:write"}))
    headers = {"Authorization": f"Bearer {token}", "If-None-Match": "*"}
    first, second = [
        await client.put("/v1/regions/PATROL-1", json={"name": name, "geometry": PATROL}, headers=headers)
        for name in ("ours", "theirs")
    ]
    assert (first.status, second.status) == (201, 412)
    assert (await second.json())["type"].endswith("version-changed")
    assert parts.regions.library.get("PATROL-1").name == "ours"


async def test_a_test_key_draws_no_region(client: Any, parts: Container):
    """Neither anew nor in place of one that Actual alerts name: who they reach would be another's to say."""
    answers = []
    for test in (False, True):
        _, token = await parts.access.create(
            org="default", subject="ana", scopes=frozenset({"regions:write"}), test=test
        )
        headers = {"Authorization": f"Bearer {token}"}
        for code in ("PATROL-1", f"PATROL-{test}"):
            body = {"name": f"by test key: {test}", "geometry": PATROL}
            answers.append((await client.put(f"/v1/regions/{code}", json=body, headers=headers)).status)
    assert answers == [201, 201, 403, 403]
    assert parts.regions.library.get("PATROL-1").name == "by test key: False"
    assert "PATROL-True" not in parts.regions.library


def numbered(data: Path, *codes: str) -> Path:
    """A data directory whose regions were imported in this order."""
    folder = data / "regions"
    folder.mkdir(parents=True)
    files.give_numbers(folder, codes)
    return data


async def test_a_machine_that_numbers_regions_otherwise_does_not_serve(tmp_path: Path, redis: Redis, codec: Codec):
    """Two machines on one store imported two files in another order: the second says so instead of telling the wrong people, and
    the first starts again.
    """
    first, second = numbered(tmp_path / "a", "FR-N1", "FR-S1"), numbered(tmp_path / "b", "FR-S1", "FR-N1")
    for _ in range(2):
        async with opened(settings_of(first), redis, codec, library=shipped()):
            pass
        with pytest.raises(ConfigError, match="FR-N1's in the store, and FR-S1's in"):
            async with opened(settings_of(second), redis, codec, library=shipped()):
                pass
    files.give_numbers(first / "regions", ["FR-X1"])
    async with opened(settings_of(first), redis, codec, library=shipped()):
        pass


async def test_an_import_that_contradicts_the_store_is_not_taken_in(tmp_path: Path, redis: Redis, codec: Codec):
    """A machine that runs keeps the regions that it has when an import gave the number of another machine's region."""
    async with opened(settings_of(numbered(tmp_path / "a", "FR-N1")), redis, codec, library=shipped()):
        pass
    async with opened(settings_of(tmp_path), redis, codec, library=shipped()) as parts:
        imported(tmp_path)
        await parts.regions.refresh()
        assert "PORT-1" not in parts.regions.library
