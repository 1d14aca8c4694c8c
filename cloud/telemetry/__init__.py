"""Context telemetry: every segment as it came, minute sums, last state, range queries."""
