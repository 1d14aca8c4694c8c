"""Fuzz targets: each decoder of the registry against bytes nobody planned."""
