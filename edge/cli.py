"""`mobility-edge`: the agent, and what a person standing beside the vehicle needs."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from edge.usage import DONE, TROUBLE, Command, Parser, run_command

EXAMPLES = """examples:
  mobility-edge run --config agent.toml
  mobility-edge doctor --config agent.toml
  mobility-edge enrol --config agent.toml
  mobility-edge journal --config agent.toml
  mobility-edge decode --protocol jbd_uart < frames.jsonl
  mobility-edge probe --port /dev/ttyUSB0
  mobility-edge protocols

A configuration is written by: mobility-cloud devices add ID --battery NAME --port PATH --out FILE
"""
_RUN = """examples:
  mobility-edge run --config agent.toml
  MOBILITY_BATTERY_PORT=/dev/ttyUSB1 mobility-edge run --config agent.toml --verbose

Every key can be set as MOBILITY_<SECTION>_<KEY> in the environment, which wins over the file.
Without a broker the journal fills and is sent later. SIGTERM and Ctrl-C close it in good order.
It tells on stderr what changes, and once a minute how things are. Exit code 75 means that a command
asks for a restart: whoever runs it starts it again.
"""
_JOURNAL = """examples:
  mobility-edge journal --config agent.toml            lanes, epochs, what is not acknowledged
  mobility-edge journal --path journal.db --json       the same for scripts
  mobility-edge journal export --path journal.db --format csv > readings.csv

It only reads, and may be used while the agent runs.
"""
_EXPORT = """examples:
  mobility-edge journal export --config agent.toml > readings.jsonl
  mobility-edge journal export --path journal.db --format csv > readings.csv

Every reading that is not acknowledged, ordered by seq: a line {"lane", "epoch", "seq", "time",
"values"} with values by their catalogue name, or a table with a column for each signal.
"""
_DOCTOR = """examples:
  mobility-edge doctor --config agent.toml
  mobility-edge doctor --config agent.toml --json
"""
_ENROL = """examples:
  mobility-edge enrol --config agent.toml

Turns the claim under [identity] into a key and a certificate now; the agent does the same when it
starts. A claim is good once: get one with mobility-cloud devices claim ID. With a claim that this
vehicle used already nothing is done. Exit code 1 when the cloud refuses or is not there.
"""
_IDENTITY = """examples:
  mobility-edge identity --config agent.toml
  mobility-edge identity --config agent.toml --json

Whom the certificate names, how long it is good, whose commands are believed. Exit code 1 when the
vehicle is not enrolled.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    0 done, 1 trouble, 2 usage, 75 start me again, 130 Ctrl-C.
    """
    return run_command(_parser(), argv)


def _parser() -> Parser:
    from edge import decode
    from edge.field.arguments import add_commands

    parser = Parser(
        prog="mobility-edge",
        description="The agent on a vehicle: reads its battery and reports it without loss.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = _add(commands, "run", "run the agent", _RUN, _run)
    run.add_argument("--config", type=Path, metavar="FILE", required=True)
    how = run.add_mutually_exclusive_group()
    how.add_argument("--verbose", action="store_true", help="tell every attempt as well")
    how.add_argument("--quiet", action="store_true", help="tell only what goes wrong")

    journal = _add(commands, "journal", "tell what the journal holds", _JOURNAL, _journal)
    _which_journal(journal)
    journal.add_argument("--json", action="store_true", help="print one JSON object")
    parts = journal.add_subparsers(parser_class=Parser, metavar="[export]")
    export = _add(parts, "export", "write out what is not acknowledged", _EXPORT, _export)
    _which_journal(export)
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")

    doctor = _add(commands, "doctor", "tell what is wrong and what to do", _DOCTOR, _doctor)
    doctor.add_argument("--config", type=Path, metavar="FILE", required=True)
    doctor.add_argument("--json", action="store_true", help="print one JSON object")

    enrol = _add(commands, "enrol", "get this vehicle its certificate", _ENROL, _enrol)
    enrol.add_argument("--config", type=Path, metavar="FILE", required=True)

    identity = _add(commands, "identity", "tell who this vehicle is", _IDENTITY, _identity)
    identity.add_argument("--config", type=Path, metavar="FILE", required=True)
    identity.add_argument("--json", action="store_true", help="print one JSON object")

    frames = commands.add_parser("decode", help="decode captured frames, JSON lines in and out")
    decode.add_arguments(frames)
    frames.set_defaults(command=decode.run)

    add_commands(partial(_add, commands))
    return parser


def _add(
    commands: "argparse._SubParsersAction[Parser]",
    name: str,
    text: str,
    examples: str,
    command: Command,
) -> Parser:
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command, parser=parser)
    return parser


def _which_journal(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    # Suppressed, or the inner command's absent option would hide the outer command's value.
    for option, text in (("--config", "the agent's configuration"), ("--path", "the journal file")):
        which.add_argument(option, type=Path, metavar="FILE", default=argparse.SUPPRESS, help=text)


def _run(args: argparse.Namespace) -> int:
    import asyncio
    import sqlite3

    from edge.commands.restart import EXIT_CODE, AgentRestart
    from edge.controllers.base import ControllerError
    from edge.drivers.registry import UnknownProtocolError
    from edge.journal import JournalBusyError, JournalVersionError
    from edge.journal.accept import AcceptFdError, accept_fd
    from edge.links.base import LinkDownError
    from edge.main import serve
    from edge.settings import SettingsError, load
    from edge.stopping import until_terminated

    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    level = logging.DEBUG if args.verbose else logging.INFO
    logging.getLogger("edge").setLevel(logging.WARNING if args.quiet else level)
    try:
        settings = load(args.config, os.environ)
        work = serve(settings, accept_fd=accept_fd(os.environ))
        asyncio.run(until_terminated(work))
    except AgentRestart:
        return EXIT_CODE
    except sqlite3.OperationalError as error:
        return _say(
            f"the journal {settings.journal.path} cannot be opened ({error}); check its folder"
        )
    except (
        AcceptFdError,
        ControllerError,
        JournalBusyError,
        JournalVersionError,
        LinkDownError,
        SettingsError,
        UnknownProtocolError,
    ) as error:
        return _say(str(error))
    return DONE


def _journal(args: argparse.Namespace) -> int:
    from edge.journal.inspect import JournalUnreadableError, inspect
    from edge.journal.show import as_json, as_text
    from edge.settings import SettingsError

    try:
        stats = inspect(_journal_path(args))
    except (JournalUnreadableError, SettingsError) as error:
        return _say(str(error))
    sys.stdout.write(as_json(stats) if args.json else as_text(stats))
    return DONE


def _export(args: argparse.Namespace) -> int:
    from edge.journal.inspect import JournalUnreadableError
    from edge.journal.show import write_csv, write_jsonl
    from edge.settings import SettingsError

    write = write_csv if args.format == "csv" else write_jsonl
    try:
        write(_journal_path(args), sys.stdout)
    except (JournalUnreadableError, SettingsError) as error:
        return _say(str(error))
    return DONE


def _doctor(args: argparse.Namespace) -> int:
    from edge.doctor import examine, report

    findings = examine(args.config, os.environ)
    sys.stdout.write(report(findings, as_json=args.json))
    return DONE if all(finding.ok for finding in findings) else TROUBLE


def _enrol(args: argparse.Namespace) -> int:
    from edge.identity.exchange import CloudAwayError, RefusedError
    from edge.identity.keys import KeyStoreError
    from edge.identity.now import enrol_now
    from edge.settings import SettingsError, load

    try:
        print(enrol_now(load(args.config, os.environ)))
    except (CloudAwayError, KeyStoreError, RefusedError, SettingsError) as error:
        return _say(str(error))
    return DONE


def _identity(args: argparse.Namespace) -> int:
    from edge.identity.doctor import as_json, as_text, describe
    from edge.identity.keys import KeyStoreError
    from edge.settings import SettingsError, load

    try:
        told = describe(load(args.config, os.environ))
    except (KeyStoreError, SettingsError) as error:
        return _say(str(error))
    sys.stdout.write(as_json(told) if args.json else as_text(told))
    return DONE if told["enrolled"] else TROUBLE


def _journal_path(args: argparse.Namespace) -> Path:
    """Return the journal that was named; leaves with a usage error when none was."""
    from edge.settings import load

    parser: Parser = args.parser
    if "path" not in args and "config" not in args:
        parser.error("which journal? name it with --config FILE or --path FILE")
    if "path" in args:
        return Path(args.path)
    return Path(load(args.config, os.environ).journal.path)


def _say(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return TROUBLE
