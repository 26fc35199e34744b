"""Places on the map: targets, areas, tiles and the region library. Pure and synchronous; coordinates are lon/lat, WGS84."""
