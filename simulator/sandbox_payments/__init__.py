"""A payment provider to play with: real HTTP, no real money, and every trouble on demand."""
