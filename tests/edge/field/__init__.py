"""Tests of the field engineer's commands."""
