"""Writes the active alerts as GeoJSON (RFC 7946), for maps on other sites. It names no person, because other sites may
store it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import shapely
from shapely.geometry import mapping

from alertd.common.clock import second_of
from alertd.model.alert import Alert
from alertd.service.sharing.public_alerts import PublicAlert

GEOJSON_TYPE = "application/geo+json"


def feature(found: PublicAlert, alert: Alert, *, headline: str, language: str, area: str, link: str) -> dict[str, Any]:
    """Returns one alert as a Feature. `headline` and `area` (its name) are in `language`; `link` is the page's URL. Its
    geometry is the published area (WGS 84, lon/lat), null if the author publishes none.
    """
    return {
        "type": "Feature",
        "id": found.public_id,
        "geometry": _geometry(found),
        "properties": {
            "headline": headline, "language": language, "kind": alert.kind, "level": alert.level, "area": area, "url": link,
            "updated": second_of(found.updated), "expires": alert.expires.isoformat(),
        },
    }  # fmt: skip


def collection(features: list[dict[str, Any]]) -> bytes:
    """Returns a FeatureCollection as JSON in UTF-8."""
    return msgspec.json.encode({"type": "FeatureCollection", "features": features})


def _geometry(found: PublicAlert) -> dict[str, Any] | None:
    """Returns the area of the rings, whose outer rings run counterclockwise (RFC 7946, section 3.1.6). CAP cuts an area
    into adjacent rings, which one valid MultiPolygon may not contain.
    """
    if not found.rings:
        return None
    area = shapely.union_all([shapely.Polygon(ring) for ring in found.rings])
    geometry: dict[str, Any] = mapping(shapely.orient_polygons(area))
    return geometry
