"""All SQL of the context payments: tariffs, holds, books, and what providers tell."""
