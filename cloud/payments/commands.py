"""What `mobility-cloud tariffs` and `mobility-cloud seller` do; returns exit codes."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from psycopg.errors import UniqueViolation

from cloud.identity.api import audit, console
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.money import Money
from cloud.kit.scope import DEMO
from cloud.payments import tariffs
from cloud.payments.currency import shown
from cloud.payments.documents import Seller
from cloud.payments.meter import ride_amount
from cloud.payments.model import Plan, PlanError, check_members

DONE, TROUBLE = 0, 1
_HALF_HOUR = 30


def set_tariffs(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Add the plans of a file, all of them or none; raises ValueError for what cannot be."""
    now, plans = clock.now(), [_read(told) for told in _plans_of(arguments)]
    with db.transaction():
        for plan in plans:
            tariffs.add_plan(db, DEMO, plan, now)
        names = [plan.plan_id for plan in plans]
        audit(db, console(DEMO), "tariffs.set", ", ".join(names), {"plans": names}, now)
    for plan in plans:
        sys.stdout.write(_line(plan))
    return DONE


def show_tariffs(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Print the plans that are in force."""
    found = tariffs.plans(db, DEMO, clock.now())
    if arguments.json:
        sys.stdout.write(json.dumps([plan.as_json() for plan in found], indent=2) + "\n")
        return DONE
    if not found:
        sys.stderr.write("nothing has a price; set one with `mobility-cloud tariffs set FILE`\n")
    for plan in found:
        sys.stdout.write(_line(plan))
    return DONE


def set_seller(arguments: argparse.Namespace, db: Db, clock: Clock) -> int:
    """Set who sells; raises ValueError for a prefix that another city's invoices have."""
    seller = Seller(
        legal_name=arguments.name,
        vat_id=arguments.vat_id,
        address=arguments.address,
        prefix=arguments.prefix,
        dispute_url=arguments.dispute_url,
        dispute_days=arguments.dispute_days,
        terms_version=arguments.terms_version,
    )
    blank = [name for name, text in asdict(seller).items() if not str(text).strip()]
    if blank or seller.dispute_days < 1:
        wrong = blank[0] if blank else "dispute_days"
        raise ValueError(f"the seller's {wrong.replace('_', ' ')} is empty or too small; give it")
    try:
        with db.transaction():
            tariffs.set_seller(db, DEMO, seller)
            audit(db, console(DEMO), "seller.set", seller.vat_id, asdict(seller), clock.now())
    except UniqueViolation:
        raise ValueError(
            f"another city numbers its invoices with {seller.prefix!r}; choose another --prefix"
        ) from None
    return _print(asdict(seller))


def show_seller(_arguments: argparse.Namespace, db: Db, _clock: Clock) -> int:
    """Print who sells."""
    seller = tariffs.seller(db, DEMO)
    if seller is None:
        sys.stderr.write("nobody sells here yet; set who with `mobility-cloud seller set`\n")
        return TROUBLE
    return _print(asdict(seller))


def _plans_of(arguments: argparse.Namespace) -> Sequence[Mapping[str, Any]]:
    """Return the plans of a file: one, a list, or GBFS's `plans`, also below `data`."""
    name = str(arguments.file)
    try:
        told = json.loads(sys.stdin.read() if name == "-" else arguments.file.read_text("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as wrong:
        raise PlanError(f"{name} is no JSON ({wrong}); correct it") from None
    if isinstance(told, dict):
        told = told.get("data", told)
    if isinstance(told, dict):
        told = told.get("plans", [told])
    if not isinstance(told, list) or not told or not all(isinstance(one, dict) for one in told):
        raise PlanError(f"{name} holds no plan; write one as a JSON object, or several as a list")
    return told


def _read(told: Mapping[str, Any]) -> Plan:
    check_members(told)
    return Plan.from_json(told)


def _line(plan: Plan) -> str:
    ride = ride_amount(plan, _HALF_HOUR)
    price = shown(Money(plan.price_minor, plan.currency))
    return (
        f"{plan.plan_id}\t{plan.named()}\t{', '.join(plan.vehicle_types)}\tunlock {price}"
        f"\t{_HALF_HOUR} min {shown(ride)}\tsince {plan.valid_from.isoformat()}\n"
    )


def _print(document: object) -> int:
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    return DONE
