"""How our programs answer a wrong command line."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence and where to look; exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence to stderr and leave."""
        self.exit(2, f"{self.prog}: {message.rstrip('.')}; see {self.prog} --help\n")
