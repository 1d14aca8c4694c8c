"""`make demo`: the whole system with simulated vehicles, until Ctrl-C."""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from edge.stopping import until_terminated
from edge.usage import Parser
from simulator.children import Child, ChildError
from simulator.demo_city import EXTRACTS, MADE_UP, DemoCity, draw_city
from simulator.figures import Observer
from simulator.foreground import own_terminal, stop_with_make
from simulator.logins import make_logins
from simulator.opening import (
    SIGN_UPS,
    Sandbox,
    import_city,
    open_account,
    park,
    set_prices,
)
from simulator.riders import MOST_RIDERS, Riders, Tally
from simulator.vehicles import Vehicle, make_vehicles
from simulator.words import folder, sentence

EXAMPLES = """examples:
  python -m simulator.demo
  python -m simulator.demo --vehicles 5 --data-dir /tmp/demo
  python -m simulator.demo --city made-up --data-dir /tmp/blocks
  python -m simulator.demo --riders 0            nobody rents: vehicles ride about by themselves
  python -m simulator.demo --json > demo.json     one line when ready, then it stays silent
"""
CLOUD_PATIENCE_S = 180.0
FLEET_PATIENCE_S = 60.0
STOP_PATIENCE_S = 30.0
LOOK_EVERY_S = 1.0
QUIET_EVERY_S = 30.0
PREFIX = "demo"
_T = TypeVar("_T")
_DONE, _TROUBLE, _INTERRUPTED = 0, 1, 130


@dataclass(frozen=True, slots=True)
class Options:
    """What a demo is asked for."""

    vehicles: int
    data_dir: Path
    seed: int
    as_json: bool
    riders: int
    city: str | None


class Screen:
    """The terminal: lines that stay, and one line that is written over. Silent for scripts."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._in_place = sys.stdout.isatty()
        self._said_s = float("-inf")

    def say(self, text: str) -> None:
        """Write a line that stays; a script finds it on stderr."""
        out = sys.stderr if self._silent else sys.stdout
        print(f"\r\x1b[K{text}" if self._in_place and not self._silent else text, file=out)
        out.flush()

    def clear(self) -> None:
        """Take the live line away."""
        if self._in_place and not self._silent:
            print("\r\x1b[K", end="", flush=True)

    def show(self, text: str) -> None:
        """Renew the live line; where lines cannot be written over, now and then."""
        now_s = asyncio.get_running_loop().time()
        if self._silent:
            return
        if self._in_place:
            # A line that wraps could not be written over.
            wide = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[:wide]}", end="", flush=True)
        elif now_s - self._said_s >= QUIET_EVERY_S:
            self._said_s = now_s
            print(text, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo: 0 when ended by SIGTERM or, under make, by Ctrl-C; else 130; 1 trouble."""
    options = _options(argv)
    screen = Screen(silent=options.as_json)
    code = _DONE
    # A shell starts what is in the background with Ctrl-C ignored; a script may send it still.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with own_terminal():
            asyncio.run(until_terminated(_demo(options, screen)))
    except KeyboardInterrupt:
        # make would report a clean stop as an error.
        code = _DONE if "MAKELEVEL" in os.environ else _INTERRUPTED
    except (ChildError, OSError, ValueError) as trouble:
        screen.clear()
        print(sentence(trouble), file=sys.stderr)
        return _TROUBLE
    screen.say("Everything is stopped; the next run goes on from here.")
    return code


async def _demo(options: Options, screen: Screen) -> None:
    from cloud.kit.clock import SystemClock
    from cloud.kit.folder import DataFolder

    began = SystemClock().now()
    DataFolder(options.data_dir)
    city = await asyncio.to_thread(draw_city, options.data_dir, options.seed, options.city)
    sandbox = Sandbox.of(options.data_dir)
    riders = Riders(options.data_dir, options.riders, options.seed, SystemClock())
    async with AsyncExitStack() as stack:
        stack.callback(asyncio.create_task(stop_with_make(), name="stop-with-make").cancel)
        cloud, fleet = _cloud(options, sandbox), _fleet(options)
        stack.push_async_callback(cloud.stop, STOP_PATIENCE_S)
        stack.push_async_callback(fleet.stop, STOP_PATIENCE_S)
        screen.show("Starting the cloud and the vehicles …")
        await fleet.start()
        served = await _ready_cloud(cloud, options)
        bank = await _open(options, sandbox, served, city, stack)
        logins = await asyncio.to_thread(make_logins, served["postgres_dsn"], options.data_dir)
        logins["customer"] = await _customer(options, served)
        vehicles = await asyncio.to_thread(_vehicles, options)
        journals = {vehicle.id: vehicle.journal for vehicle in vehicles}
        observer = Observer(served["page_url"], journals, began, logins["staff"])
        await _ready_fleet(fleet, observer)
        if options.riders:
            await asyncio.to_thread(park, served["postgres_dsn"], vehicles)
        pids = {"simulator": fleet.pid, "demo": os.getpid()}
        pids |= {} if bank is None else {"payments": bank.pid}
        told = {**_told(served, options), "city": asdict(city), "logins": logins}
        _announce(options, screen, {**told, "pids": {**served["pids"], **pids}}, city)
        stack.callback(screen.say, "Stopping: vehicles first, then the cloud …")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(cloud.keep_running(screen.say), name="cloud")
            tasks.create_task(fleet.keep_running(screen.say), name="fleet")
            if bank is not None:
                tasks.create_task(bank.keep_running(screen.say), name="payments")
            tasks.create_task(riders.run(), name="riders")
            tasks.create_task(_watch(observer, options, screen, riders.tally), name="watch")


def _cloud(options: Options, sandbox: Sandbox | None) -> Child:
    argv = [sys.executable, "-m", "cloud", "serve", "--data-dir", str(options.data_dir)]
    if "MOBILITY_TRACES" not in os.environ:
        argv += ["--traces", "file"]
    environ = {"MOBILITY_SIGN_UPS_PER_ADDRESS": SIGN_UPS, **os.environ}
    environ |= {} if sandbox is None else sandbox.for_the_cloud
    log = options.data_dir / "logs" / "cloud.log"
    return Child("the cloud", argv, log, environ=environ)


async def _open(
    options: Options,
    sandbox: Sandbox | None,
    served: dict[str, Any],
    city: DemoCity,
    stack: AsyncExitStack,
) -> Child | None:
    """Import the city, set prices and start the payment provider; return it, if it is ours."""
    await import_city(options.data_dir)
    await asyncio.to_thread(set_prices, served["postgres_dsn"], served["page_url"], city.name)
    if sandbox is None:
        return None
    bank = sandbox.child(served["page_url"], options.data_dir / "logs" / "payments.log")
    stack.push_async_callback(bank.stop, STOP_PATIENCE_S)
    await bank.start()
    return bank


async def _customer(options: Options, served: dict[str, Any]) -> dict[str, str]:
    account = await open_account(served["api_url"], options.data_dir)
    return {"user": account.email, "password": account.password}


def _fleet(options: Options) -> Child:
    argv = [sys.executable, "-m", "simulator", "run", "--vehicles", str(options.vehicles)]
    argv += ["--data-dir", str(options.data_dir), "--seed", str(options.seed), "--prefix", PREFIX]
    argv += ["--wait", str(CLOUD_PATIENCE_S), *(["--rented"] if options.riders else [])]
    return Child("the simulator", argv, options.data_dir / "logs" / "simulator.log")


async def _ready_cloud(cloud: Child, options: Options) -> dict[str, Any]:
    from cloud.kit.runfile import read_runfile

    async def served() -> dict[str, Any] | None:
        found = read_runfile(options.data_dir)
        return found if found and found["pids"]["cloud"] == cloud.pid else None

    await cloud.start()
    return await _first(served, cloud, CLOUD_PATIENCE_S, "is not ready")


async def _ready_fleet(fleet: Child, observer: Observer) -> None:
    await _first(observer.everyone_lives, fleet, FLEET_PATIENCE_S, "has not brought all to life")


async def _first(
    look: Callable[[], Awaitable[_T | None]], child: Child, patience_s: float, but: str
) -> _T:
    """Look until there is something; raises ChildError when the child ends or it takes too long."""
    ended = asyncio.ensure_future(child.ended())
    try:
        async with asyncio.timeout(patience_s):
            while not (found := await look()):
                await asyncio.wait({ended}, timeout=0.1)
                if ended.done():
                    raise child.failure(ended.result())
    except TimeoutError:
        raise ChildError(f"{child.name} {but} after {patience_s:.0f} s; {child.advice}") from None
    finally:
        ended.cancel()
    return found


async def _watch(observer: Observer, options: Options, screen: Screen, tally: Tally) -> None:
    from cloud.kit.runfile import read_runfile

    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        figures = await observer.look()
        for engine in figures.restarted if figures else ():
            screen.say(f"{engine} ended and was started again")
        told = f"{figures.use} · {tally} · {figures}" if figures and options.riders else figures
        screen.show("the cloud does not answer now" if told is None else str(told))
        served = read_runfile(options.data_dir)
        if served and served["page_url"] != observer.page_url:
            observer.page_url = served["page_url"]
            screen.say(f"The page is now at {observer.page_url}")


def _announce(
    options: Options,
    screen: Screen,
    told: dict[str, Any],
    city: DemoCity,
) -> None:
    """Say that everything is there: for people in a few lines, for scripts in one of JSON."""
    if not options.as_json:
        screen.say(f"{options.vehicles} vehicles are alive in {city}: {told['page_url']}")
        screen.say("Sign in as " + " or ".join(map(_login, told["logins"].values())))
        if options.riders:
            screen.say(
                f"{options.riders} simulated customers ride; ride yourself: mobility-sim ride"
            )
        screen.say("Ctrl-C stops everything.")
        return
    print(json.dumps(told), flush=True)


def _told(served: dict[str, Any], options: Options) -> dict[str, Any]:
    names = ("page_url", "api_url", "mqtt", "postgres_dsn", "device_https", "ca_file")
    return {name: served[name] for name in names} | {"data_dir": str(options.data_dir)}


def _login(login: dict[str, str]) -> str:
    return f"{login['user']} / {login['password']}"


def _vehicles(options: Options) -> list[Vehicle]:
    return make_vehicles(
        options.data_dir,
        count=options.vehicles,
        seed=options.seed,
        prefix=PREFIX,
        rented=options.riders > 0,
    )


def _options(argv: Sequence[str] | None) -> Options:
    from simulator.cli import count

    parser = Parser(
        prog="python -m simulator.demo",
        description="The whole system with simulated vehicles, until Ctrl-C.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--vehicles", type=count, metavar="N", default=20)
    parser.add_argument("--data-dir", type=folder, metavar="DIR", default=Path(".demo"))
    parser.add_argument("--seed", type=int, metavar="S", default=0)
    parser.add_argument(
        "--riders", type=_riders, metavar="N", help="customers at once, 0 to 6; one for 3 vehicles"
    )
    parser.add_argument(
        "--city",
        choices=[*EXTRACTS, MADE_UP],
        help="the streets it runs in; without: the first whose map lies in MOBILITY_OSM_DIR or "
        "beside the repository, else made-up. A city that the folder has stays",
    )
    parser.add_argument("--json", action="store_true", help="one JSON line when ready")
    args = parser.parse_args(argv)
    usual = min(MOST_RIDERS, max(1, args.vehicles // 3))
    riders = usual if args.riders is None else args.riders
    return Options(args.vehicles, args.data_dir.resolve(), args.seed, args.json, riders, args.city)


def _riders(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_RIDERS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of customers; give 0 to 6.")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
