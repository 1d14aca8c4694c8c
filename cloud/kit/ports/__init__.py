"""Doors to what may be elsewhere one day: each a Protocol with an honest default of its own."""
