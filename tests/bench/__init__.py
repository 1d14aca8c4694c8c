"""Benchmarks: `python -m tests.bench` measures, prints a table, writes docs/results/bench.*.

They never assert on time: a figure next to its target is for a person to judge.
"""
