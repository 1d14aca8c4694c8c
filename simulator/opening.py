"""What the demo needs before anybody rides: a city, prices, who sells, a payment provider."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cloud.kit.folder import DataFolder
from simulator.children import Child, ChildError
from simulator.customer import Account, Customer, RefusedError, RideError
from simulator.vehicles import CITY, Vehicle

PAYMENTS_PORT: Final = 8_090
SIGN_UPS: Final = "2000"
_VALID_FROM: Final = "2026-01-01T00:00:00Z"
# Name, then unlock, minute, minute of pause, and hold, in major units, and whose.
_PRICES: Final = (
    ("scooter", "E-scooter", 1.0, 0.22, 0.08, 15, ("scooter", "e_scooter")),
    ("bike", "E-bike", 0.5, 0.15, 0.05, 15, ("bike", "e_bike")),
    ("car", "E-car", 0, 0.39, 0.19, 60, ("car", "e_car")),
    ("van", "E-van", 0, 0.55, 0.25, 90, ("van", "e_van")),
)
_CUSTOMER: Final = "customer@example.org"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The demo's own payment provider.

    Attributes:
        url: where it answers.
        key: lets the cloud in.
        secret: signs what it tells the cloud.
        file: where it remembers what was paid.
    """

    url: str
    key: str
    secret: str
    file: Path

    @classmethod
    def of(cls, data_dir: Path) -> "Sandbox | None":
        """Return it with the keys that the folder keeps; None when another one is set."""
        if (
            os.environ.get("MOBILITY_PAYMENT_URL")
            or os.environ.get("MOBILITY_PAYMENT_PROVIDER") == "stripe"
        ):
            return None
        folder = DataFolder(data_dir)
        port = folder.choose_ports("payments", {"http": PAYMENTS_PORT})["http"]
        return cls(
            f"http://127.0.0.1:{port}",
            folder.secret("payment_key"),
            folder.secret("payment_webhook_secret"),
            data_dir / "payments-sandbox.jsonl",
        )

    @property
    def for_the_cloud(self) -> dict[str, str]:
        """What the cloud is told."""
        return {
            "MOBILITY_PAYMENT_URL": self.url,
            "MOBILITY_PAYMENT_KEY": self.key,
            "MOBILITY_PAYMENT_WEBHOOK_SECRET": self.secret,
        }

    def child(self, page_url: str, log: Path) -> Child:
        """Return the program that serves it and tells the cloud at `page_url`."""
        argv = [sys.executable, "-m", "simulator", "payments", "--file", str(self.file)]
        argv += ["--http", self.url.removeprefix("http://")]
        argv += ["--webhook", f"{page_url}api/v1/payments/webhooks/sandbox"]
        secrets = {"SANDBOX_API_KEY": self.key, "SANDBOX_WEBHOOK_SECRET": self.secret}
        return Child("the payment provider", argv, log, environ=secrets)


async def import_city(data_dir: Path) -> None:
    """Give the cloud the city, as anybody would; raises ChildError when it is not taken."""
    argv = [sys.executable, "-m", "cloud", "city", "import", str(data_dir / CITY)]
    argv += ["--data-dir", str(data_dir)]
    child = Child("the import of the city", argv, data_dir / "logs" / "city.log")
    await child.start()
    if code := await child.ended():
        raise child.failure(code)


def set_prices(dsn: str, page_url: str, city: str) -> None:
    """Say who sells, and a plan for each type of vehicle; a price that is there stays.

    Raises:
        psycopg.Error: the database does not take them.
    """
    from cloud.kit.clock import SystemClock
    from cloud.kit.db import connect
    from cloud.kit.scope import DEMO
    from cloud.payments.api import Plan, PlanExistsError, Seller, add_plan, set_seller

    seller = Seller(
        legal_name="Demo Mobility (simulated)",
        vat_id="DE000000000",
        address=f"1 Demo Square, {city}",
        prefix="DEMO-",
        dispute_url=f"{page_url}ride/rentals/{{rental_id}}/receipt",
    )
    with connect(dsn) as db:
        set_seller(db, DEMO, seller)
        for told in map(_plan, _PRICES):
            try:
                add_plan(db, DEMO, Plan.from_json(told), SystemClock().now())
            except PlanExistsError:
                continue


def park(dsn: str, vehicles: Sequence[Vehicle]) -> int:
    """Let vehicles that stand in a bay have a place of it; return how many got one.

    Raises:
        psycopg.Error: the database does not take them.
    """
    from cloud.fleet.api import BayFullError, Point, bay_at, place_of, take_place
    from cloud.kit.clock import SystemClock
    from cloud.kit.db import connect
    from cloud.kit.scope import DEMO

    parked = 0
    with connect(dsn) as db:
        for vehicle in vehicles:
            now, sky = SystemClock().now(), vehicle.gnss.sky
            bay = bay_at(db, DEMO, Point(sky.latitude_deg, sky.longitude_deg), 1.0)
            if bay is None or place_of(db, DEMO, vehicle.id, now) is not None:
                continue
            with contextlib.suppress(BayFullError, LookupError):
                take_place(db, DEMO, bay.id, vehicle.id, now)
                parked += 1
    return parked


async def open_account(api_url: str, data_dir: Path) -> Account:
    """Make sure that there is a customer with a card, for whoever wants to try it.

    Raises:
        ChildError: the cloud makes no account.
    """
    account = Account(_CUSTOMER, DataFolder(data_dir).secret("login_customer"))
    try:
        async with Customer(api_url, data_dir / "outbox", account) as customer:
            try:
                await customer.sign_in()
            except RefusedError:
                await customer.join("Kim Customer", time_zone="Europe/Berlin")
            if not await customer.cards():
                await customer.add_card("tok_ok")
    except RideError as trouble:
        raise ChildError(
            f"no customer could be signed up ({trouble}); look into {data_dir / 'logs'}"
        ) from trouble
    return account


def _plan(price: tuple[str, str, float, float, float, float, tuple[str, ...]]) -> Mapping[str, Any]:
    plan_id, name, unlock, minute, pause, hold, types = price
    return {
        "plan_id": plan_id,
        "name": [{"text": name, "language": "en"}, {"text": name, "language": "de"}],
        "currency": "EUR",
        "price": unlock,
        "is_taxable": False,
        "per_min_pricing": [{"start": 0, "rate": minute, "interval": 1}],
        "tax_rate_bp": 1_900,
        "pause_per_min": pause,
        "hold_amount": hold,
        "vehicle_types": list(types),
        "valid_from": datetime.fromisoformat(_VALID_FROM).astimezone(UTC).isoformat(),
    }
