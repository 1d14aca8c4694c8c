"""All SQL of the context identity."""
