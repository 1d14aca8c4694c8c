"""The edge agent: reads the battery, keeps a journal, and sends it up until it is acknowledged."""

VERSION = "0.1.0"
