"""Errors of the operating system in a sentence, and values of the command line."""

import argparse
from pathlib import Path


def sentence(trouble: Exception) -> str:
    """Return what went wrong and what to do next."""
    if isinstance(trouble, OSError) and trouble.filename:
        path = trouble.filename2 or trouble.filename
        return f"Cannot use {path}: {trouble.strerror}; choose another path."
    return str(trouble)


def folder(text: str) -> Path:
    """Read a folder for argparse; an empty name would mean the folder we are in."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the folder has no name; give one such as .demo")
    return Path(text)
