"""The whole of renting on real parts, in any order, with processes that die at any step."""
