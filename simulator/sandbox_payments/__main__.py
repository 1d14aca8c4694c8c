"""`mobility-sim payments`: the sandbox provider as a process of its own."""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

EXAMPLES: Final = """\
examples:
  mobility-sim payments --http 127.0.0.1:8090 \\
      --webhook http://127.0.0.1:8080/api/v1/payments/webhooks/sandbox --file sandbox.jsonl
  curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
      -d '{"faults": [{"on": "capture", "what": "timeout"}]}' http://127.0.0.1:8090/control

SANDBOX_API_KEY and SANDBOX_WEBHOOK_SECRET are read from the environment; without them it does not
start. Card tokens: tok_ok, tok_declined, tok_insufficient, tok_no_top_up, tok_no_capture.
"""
_TROUBLE: Final = 1
_HIGHEST_PORT: Final = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to argparse."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = "Serve a payment provider that moves no real money."
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--http", metavar="HOST:PORT", type=_address, default=("127.0.0.1", 8090), help="where"
    )
    parser.add_argument("--webhook", metavar="URL", help="who is told; nobody without")
    parser.add_argument("--file", metavar="FILE", type=Path, help="remembers across restarts")


def run(args: argparse.Namespace) -> int:
    """Serve until stopped; 1 when it cannot start."""
    import uvicorn

    from cloud.kit.clock import SystemClock
    from simulator.sandbox_payments.bank import Bank
    from simulator.sandbox_payments.server import build
    from simulator.sandbox_payments.webhooks import Teller

    api_key = os.environ.get("SANDBOX_API_KEY", "")
    secret = os.environ.get("SANDBOX_WEBHOOK_SECRET", "")
    if not (api_key and secret):
        print(
            "There is no key to let in; set SANDBOX_API_KEY and SANDBOX_WEBHOOK_SECRET.",
            file=sys.stderr,
        )
        return _TROUBLE
    clock = SystemClock()
    teller = Teller(args.webhook, secret, clock)
    app = build(Bank(clock, args.file, teller.tell), teller, api_key)
    host, port = args.http
    uvicorn.run(app, host=host, port=port, log_level="warning")
    return 0


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8090")
    return host.strip("[]"), int(port)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m simulator.sandbox_payments")
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
