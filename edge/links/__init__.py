"""Ways to move bytes to and from a battery controller."""
