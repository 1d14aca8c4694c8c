"""All of booking's SQL."""
