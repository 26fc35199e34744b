"""Outlines are kept by number and by size, those asked for last."""

from __future__ import annotations

import pytest
import shapely

from geofences.scan import Outline, Outlines


def outline(edges: int) -> Outline:
    """Of so many edges."""
    return Outline(shapely.MultiPolygon([shapely.Point(0, 0).buffer(1, quad_segs=edges // 4)]))


def test_the_ones_asked_for_last_are_kept():
    """What was asked for again stays; what was not goes first."""
    outlines = Outlines(most=2)
    for name in (b"a", b"b", b"a", b"c"):
        outlines.keep(name, outline(16))
    assert [name for name in (b"a", b"b", b"c") if outlines.get(name)] == [b"a", b"c"]


def test_no_more_bytes_are_kept_than_there_may_be():
    """Small ones make room for a large one, as many as it needs."""
    small, large = outline(16), outline(64)
    outlines = Outlines(most_bytes=large.nbytes + small.nbytes)
    for name, one in ((b"a", small), (b"b", small), (b"c", large)):
        outlines.keep(name, one)
    assert [name for name in (b"a", b"b", b"c") if outlines.get(name)] == [b"b", b"c"]


def test_one_that_is_too_large_takes_nobody_s_place():
    """It is not kept, and the others are."""
    small, large = outline(16), outline(64)
    outlines = Outlines(most_bytes=large.nbytes - 1)
    outlines.keep(b"a", small)
    outlines.keep(b"b", large)
    assert outlines.get(b"a") is small
    assert outlines.get(b"b") is None


@pytest.mark.parametrize(("zoom", "stays"), [(8, b"b"), (16, b"a")])
def test_one_that_has_grown_counts_as_it_is(zoom: int, stays: bytes):
    """When it is asked for again: the one before it makes room, and where it has become too large it is kept no longer."""
    kept = {b"a": outline(64), b"b": outline(64)}
    outlines = Outlines(most_bytes=2 * kept[b"a"].nbytes)
    for name, one in kept.items():
        outlines.keep(name, one)
    kept[b"b"].at(zoom)
    outlines.keep(b"b", kept[b"b"])
    assert [name for name in kept if outlines.get(name)] == [stays]
