"""Places on the map: targets, areas, tiles and the region library.

Pure and synchronous; coordinates are lon/lat, WGS84.
"""

#: Start-up looks for this mark: another package of this name in the same environment would replace this file.
OWNER = "alertd"
