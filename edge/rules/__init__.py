"""Local rules: pure functions from what was observed to what is true."""
