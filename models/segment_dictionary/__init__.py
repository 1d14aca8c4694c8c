"""How the zstd dictionary of the segment codec is made."""
