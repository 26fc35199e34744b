"""Geography: targets, areas, tiles and the region library.

Functions are synchronous and do no network I/O. Coordinates are longitude, latitude in degrees, WGS84.
"""

#: The start of alertd checks this value: another package named `geofences` in the same environment would replace this one.
OWNER = "alertd"
