"""How much of an alert's area the public sees: in CAP documents, in the list of alerts and on their map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import shapely

from alertd.model.alert import Alert, Exclusion
from alertd.service.areas.targeting import Share
from geofences.errors import UnknownRegion
from geofences.regions import Library

#: Which outline of the alert's area to publish: the exact one, that of the regions that it lies in, or none.
Outline = Literal["exact", "regions", "none"]
#: Minimum share of a region that must lie in the area for a document to name the region's code. Otherwise a sliver
#: would alert a whole county.
LEAST_SHARE = 0.1


def published_codes(library: Library, shares: Sequence[Share]) -> list[str]:
    """Returns the codes of the regions that stand for a drawn area: those with at least `LEAST_SHARE` of them in the
    area, else the smallest that the area touches. Ignores regions that `library` does not contain.
    """
    known = [share for share in shares if share.code in library]
    smallest = sorted((share.code for share in known), key=lambda code: library.get(code).km2)[:1]
    return [share.code for share in known if share.share >= LEAST_SHARE] or smallest


def published_outline(
    library: Library, alert: Alert, ground: shapely.MultiPolygon, shares: Sequence[Share], outline: Outline
) -> shapely.MultiPolygon | None:
    """Returns the outline to publish (WGS 84, lon/lat), or None. A drawn area reveals where a child is searched for. So
    `regions` publishes whole regions if a part of the target is drawn: the smallest of `published_codes`.
    """
    target = alert.target
    drawn = target.polygons or target.circles or target.rings or target.buffer_km or target.exclude != Exclusion()
    is_named = not drawn and not any(_is_drawn(library, code) for code in target.regions)
    if outline == "exact" or (outline == "regions" and is_named):
        return ground
    codes = published_codes(library, shares)
    above = {region.code for code in codes for region in library.ancestors(code)}
    if outline == "none" or not codes:
        return None
    shape = library.ground([code for code in codes if code not in above]).outline
    return shapely.MultiPolygon(shapely.get_parts(shape).tolist())


def _is_drawn(library: Library, code: str) -> bool:
    """Returns whether a code in a target names no region of the library itself: an organisation drew the region, or the
    region was deleted after the alert was written.
    """
    try:
        library.without_drawn.codes(code)
    except UnknownRegion:
        return True
    return False
