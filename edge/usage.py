"""How our programs run a command, and how they answer a wrong command line."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

DONE, TROUBLE, INTERRUPTED = 0, 1, 130

Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence and where to look; exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print the sentence to stderr and leave."""
        self.exit(2, f"{self.prog}: {message.rstrip('.')}; see {self.prog} --help\n")


def run_command(parser: Parser, argv: Sequence[str] | None) -> int:
    """Run the command that was chosen.

    Returns 0 done, 1 trouble or nobody reads on, 130 Ctrl-C (2 usage exits).
    """
    args = parser.parse_args(argv)
    command: Command = args.command
    try:
        return command(args)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit; it must not find the broken pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TROUBLE
