"""Simulated vehicles: enrolled, configured, with controllers of their own, all from one seed."""

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge.clock import SystemClock
from firmware_shim.gnss import GnssReceiver
from firmware_shim.jbd_uart import JbdController
from firmware_shim.lock_unit import LockUnit
from firmware_shim.pack import Pack, PackDesign
from firmware_shim.pty import Controller
from simulator.load import LoadProfile
from simulator.motion import Kept, Motion
from simulator.streets import StreetMap
from simulator.trip import read_trip, trip_file

if TYPE_CHECKING:
    from cloud.kit.db import Db

BATTERY = "jbd_uart"
LOCK = "lock_unit"
CITY = "city.geojson"
LOOK_EVERY_S = 0.05
_NEIGHBOURHOOD = 24
LIVE = {"poll_s": 1.0, "flush_s": 1.0, "seal_s": 1.0}


class NoCloudError(RuntimeError):
    """There is no cloud to report to; start one as the text says."""


@dataclass(frozen=True, slots=True)
class Vehicle:
    """One simulated vehicle and where it lives: its folder holds configuration and journal."""

    id: str
    folder: Path
    battery: JbdController
    lock: LockUnit
    gnss: GnssReceiver
    motion: Motion

    @property
    def config(self) -> Path:
        """Its agent's configuration."""
        return self.folder / "agent.toml"

    @property
    def journal(self) -> Path:
        """Its agent's journal, beside the configuration."""
        return self.folder / f"{self.id}.journal.db"

    @property
    def identity(self) -> Path:
        """Its agent's key and certificate."""
        return self.folder / f"{self.id}.identity"

    @property
    def ports(self) -> dict[str, tuple[Controller, Path]]:
        """What is on it, by name, and the serial port it is wired to."""
        fitted: dict[str, Controller] = {
            "battery": self.battery,
            "lock": self.lock,
            "gnss": self.gnss,
        }
        return {name: (one, self.folder / name) for name, one in fitted.items()}

    def port(self, name: str) -> str:
        """Return the serial port of its battery, lock or gnss."""
        return str(self.ports[name][1])

    @property
    def trip_file(self) -> Path:
        """Where its rider says which way to go."""
        return trip_file(self.folder)

    def follow_trip(self) -> None:
        """Do as its rider's file says now; take the file away when it has arrived."""
        trip = read_trip(self.trip_file, self.motion.trip)
        if trip is not None and trip.is_over:
            self.trip_file.unlink(missing_ok=True)
            trip = None
        if trip is not self.motion.trip:
            self.motion.follow(trip)

    def remember(self) -> None:
        """Keep the pack's charge, the latch and the place, so that the next run goes on."""
        pack = self.battery.pack
        state = {
            "soc_pct": pack.soc_pct,
            "cycles": pack.cycles,
            "temperature_c": pack.temperature_c,
        }
        self._keep("pack.json", json.dumps(state).encode())
        self._keep("vehicle.json", msgspec.json.encode(self.motion.kept()))

    def _keep(self, name: str, content: bytes) -> None:
        fresh = self.folder / f".{name}"
        fresh.write_bytes(content)
        fresh.replace(self.folder / name)


def make_vehicles(
    data_dir: Path, *, count: int, seed: int, prefix: str, rented: bool = False
) -> list[Vehicle]:
    """Return vehicles `prefix-001` … with their controllers.

    The same seed gives the same ones, except for what an earlier run left: charge and warmth, the
    latch, the place. They begin in the bays of the city of `data_dir`, where it has one, and rented
    ones stand until somebody's trip moves them.

    Raises:
        ValueError: there is a file of a city that cannot be read.
    """
    homes = _homes(data_dir, seed)
    return [
        _vehicle(
            f"{prefix}-{number:03d}",
            data_dir,
            f"{seed}/{number}",
            home=homes[(number - 1) % len(homes)] if homes else None,
            rented=rented,
        )
        for number in range(1, count + 1)
    ]


def _homes(data_dir: Path, seed: int) -> list[tuple[float, float]]:
    """Return latitude and longitude of the bays, the middle of the town first."""
    town = StreetMap.read(data_dir / CITY)
    if town is None or not town.bays:
        return []
    near = town.neighbourhood(_NEIGHBOURHOOD)
    random.Random(seed).shuffle(near)
    return [(bay.at[1], bay.at[0]) for bay in near]


def enrol(vehicles: Sequence[Vehicle], data_dir: Path, *, wait_s: float = 0.0) -> None:
    """Let the vehicles enrol with the cloud of `data_dir`: write their agents' configurations.

    One that has a certificate keeps it; the others get a claim, which their agents redeem.

    Raises:
        NoCloudError: No cloud serves that folder, nor did one begin to within `wait_s`.
    """
    import psycopg

    from cloud.kit.db import connect

    cloud = served(data_dir, wait_s)
    try:
        with connect(cloud["postgres_dsn"]) as db:
            claims = {vehicle.id: _claim(db, vehicle) for vehicle in vehicles}
    except psycopg.Error as error:
        raise NoCloudError(
            f"the database of {data_dir} does not take the vehicles ({error}); "
            f"look at: mobility-cloud doctor --data-dir {data_dir}"
        ) from error
    for vehicle in vehicles:
        _configure(vehicle, claims[vehicle.id], cloud)


def _claim(db: "Db", vehicle: Vehicle) -> str | None:
    """Return a fresh claim; None for a vehicle whose certificate this cloud still believes."""
    from cloud.devices.api import certificates_of, make_claim
    from cloud.devices.api import enrol as register
    from cloud.kit.clock import SystemClock
    from edge.identity.keys import FileKeyStore

    now = SystemClock().now()
    register(db, vehicle.id, BATTERY, now)
    held = FileKeyStore(vehicle.identity).held()
    for row in certificates_of(db, vehicle.id):
        is_held = held is not None and row.serial == held.serial
        if is_held and row.revoked_at is None and row.not_after > now:
            return None
    return make_claim(db, vehicle.id, now, battery=BATTERY).claim


def _configure(vehicle: Vehicle, claim: str | None, served: Mapping[str, Any]) -> None:
    from cloud.devices.api import agent_config

    vehicle.folder.mkdir(parents=True, exist_ok=True)
    text = agent_config.render(
        vehicle.id,
        battery=BATTERY,
        battery_port=vehicle.port("battery"),
        mqtt=agent_config.Mqtt(**served["mqtt"]),
        identity=agent_config.Identity(
            enrol_url=served["device_https"],
            claim=claim,
            ca=Path(served["ca_file"]).read_text("utf-8"),
        ),
        file_name=vehicle.config.name,
        controller=agent_config.Controller(LOCK, vehicle.port("lock")),
        gnss_port=vehicle.port("gnss"),
    )
    intervals = "\n".join(f"{key} = {value}" for key, value in LIVE.items())
    text += f"\n# Somebody watches: everything every second.\n[intervals]\n{intervals}\n"
    agent_config.write(vehicle.config, text, overwrite=True)


def served(
    data_dir: Path, wait_s: float = 0.0, *, start: str = "mobility-cloud serve --data-dir "
) -> dict[str, Any]:
    """Return what the cloud that serves a folder told.

    Args:
        data_dir: of the cloud.
        wait_s: how long to wait for one, seconds; this blocks.
        start: what to run, before the folder, where there is none.

    Raises:
        NoCloudError: no cloud serves that folder, nor did one begin to within `wait_s`.
    """
    from cloud.kit.runfile import read_runfile

    ends_s = time.monotonic() + wait_s
    while (told := read_runfile(data_dir)) is None or not _lives(told["pids"]["cloud"]):
        if time.monotonic() >= ends_s:
            raise NoCloudError(f"no cloud serves {data_dir}; start one with: {start}{data_dir}")
        time.sleep(LOOK_EVERY_S)
    return told


def _lives(pid: int) -> bool:
    """A cloud that was killed leaves its file behind."""
    return Path(f"/proc/{pid}").exists()


def _vehicle(
    vehicle_id: str,
    data_dir: Path,
    seed: str,
    *,
    home: tuple[float, float] | None,
    rented: bool,
) -> Vehicle:
    chance = random.Random(seed)
    design = PackDesign(
        cells=chance.choice((10, 10, 13, 14)),
        capacity_ah=chance.choice((7.8, 10.4, 12.8, 14.0, 17.5)),
        resistance_ohm=chance.uniform(0.08, 0.2),
        ambient_c=chance.uniform(9, 26),
        sensors=chance.choice((1, 2, 3)),
    )
    folder = data_dir.resolve() / "vehicles" / vehicle_id
    charge = {"soc_pct": chance.uniform(25, 96), "cycles": chance.randint(5, 500)}
    pack_seed, load_seed, motion_seed = (chance.getrandbits(32) for _ in range(3))
    pack = Pack(design, seed=pack_seed, **(_remembered_pack(folder) or charge))
    lock, gnss = LockUnit(), GnssReceiver(began=_now())
    load = LoadProfile(load_seed)
    motion = Motion(load, pack, lock, gnss, seed=motion_seed, home=home, rented=rented)
    kept = _remembered_motion(folder)
    if kept is not None:
        motion.go_on(kept)
    return Vehicle(vehicle_id, folder, JbdController(pack), lock, gnss, motion)


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().wall_ms() / 1000, UTC)


def _remembered_motion(folder: Path) -> Kept | None:
    try:
        return msgspec.json.decode((folder / "vehicle.json").read_bytes(), type=Kept)
    except (OSError, ValueError):
        return None


def _remembered_pack(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / "pack.json").read_text())
        return {
            "soc_pct": float(found["soc_pct"]),
            "cycles": int(found["cycles"]),
            "temperature_c": float(found["temperature_c"]),
        }
    except (OSError, ValueError, LookupError, TypeError):
        return None
