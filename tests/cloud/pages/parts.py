"""A pages application on real Postgres, and vehicles in it without any MQTT."""

import json
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import httpx
from fastapi import FastAPI

from cloud.devices import api as devices
from cloud.devices import store as device_store
from cloud.devices.batch import LaneKey
from cloud.devices.model import Progress, ToldClock
from cloud.devices.store import LaneChange
from cloud.fleet import store as fleet_store
from cloud.fleet.model import Vehicle
from cloud.kit.clock import Clock
from cloud.kit.db import Db, Pool
from cloud.kit.http import install_problems
from cloud.kit.scope import DEMO
from cloud.pages.assets import find_npm
from cloud.pages.http import install, router
from cloud.telemetry import store as telemetry_store
from protocol.messages import Hello
from protocol.signals import BY_KEY
from tests.cloud.signed_in import by_role, cookies

VALUES: dict[str, float] = {
    "voltage_v": 39.58,
    "current_a": -3.4,
    "soc_pct": 76,
    "remaining_ah": 9.12,
    "full_ah": 12,
    "cycles": 142,
    "temperature_1_c": 24.1,
    "temperature_2_c": 21.7,
    "cell_1_v": 3.961,
    "cell_2_v": 3.954,
    "charge_fet": 1,
    "discharge_fet": 0,
    "protection_bits": 0b1000000010,
}


def an_app(pool: Pool, clock: Clock) -> FastAPI:
    """An application that holds the pages and nothing else."""
    app = FastAPI(docs_url=None, redoc_url=None)
    app.state.pool, app.state.clock = pool, clock
    app.state.authenticate = by_role
    install_problems(app)
    app.include_router(router)
    install(app)
    return app


def a_browser(app: FastAPI, role: str = "viewer") -> httpx.AsyncClient:
    """A client without a network between, of somebody with this role; of nobody when empty."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://pages",
        cookies=cookies(role) if role else None,
    )


def in_node(script: str) -> object:
    """What a script of the browser prints as JSON."""
    node = Path(find_npm()[0]).parent / "node"
    done = subprocess.run(
        [node, "--input-type=module", "--eval", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def add_vehicle(db: Db, vehicle_id: str, at: datetime) -> None:
    """Enrol a device and put it on a vehicle."""
    devices.enrol(db, vehicle_id, "jbd_uart", at)
    vehicle = Vehicle(vehicle_id, vehicle_id, "scooter", vehicle_id, "available")
    fleet_store.add(db, DEMO, vehicle, at)


def hear(db: Db, vehicle_id: str, at: datetime, values: dict[str, float]) -> None:
    """Make the vehicle connected and its last state these values of that moment."""
    greeting = Hello(
        nonce="n1",
        sent_at_ms=0,
        boot_id=1,
        lanes=[],
        agent_version="0.1.0",
        battery="jbd_uart",
        capabilities=[],
    )
    device_store.greet(db, DEMO, vehicle_id, greeting, at)
    moment = int(at.timestamp() * 1000)
    state = {BY_KEY[key].id: (BY_KEY[key].to_raw(v) or 0, moment) for key, v in values.items()}
    with db.transaction():
        telemetry_store.lock_states(db, {vehicle_id: DEMO}, at)
        telemetry_store.save_states(db, {vehicle_id: state}, at)


def commit_lane(db: Db, vehicle_id: str, progress: Progress, at: datetime) -> None:
    """Note in the ledger what is committed of the vehicle's signals."""
    key: LaneKey = (vehicle_id, 1, "04bb1c9de4b7751c")
    with db.transaction():
        device_store.lock_lanes(db, [key], {vehicle_id: DEMO}, at)
        device_store.save_lanes(
            db, {key: LaneChange(progress, ToldClock(), segments=3, records=20)}, at
        )
        device_store.add_gaps(db, DEMO, key, ((3, 16),), "floor", at)


MOMENTS_AGO = timedelta(seconds=4)
