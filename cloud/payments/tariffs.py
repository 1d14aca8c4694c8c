"""Plans and sellers: what must be there before anybody rides."""

from datetime import datetime

from cloud.kit.db import Db
from cloud.kit.scope import Scope
from cloud.payments.documents import Seller
from cloud.payments.model import Plan
from cloud.payments.store import tariffs as store


class PlanUnknownError(LookupError):
    """No plan covers the vehicle type: add one before anybody rides."""


class PlanExistsError(ValueError):
    """Another price from the same moment on: choose a later valid_from."""


def set_seller(db: Db, scope: Scope, seller: Seller) -> None:
    """Make this the legal seller of a city; invoices that were issued keep theirs.

    Raises:
        psycopg.errors.UniqueViolation: another city of the tenant has the prefix.
    """
    with db.transaction():
        store.set_seller(db, scope, seller)


def seller(db: Db, scope: Scope) -> Seller | None:
    """Return the legal seller of a city; None before one was set."""
    return store.seller(db, scope)


def add_plan(db: Db, scope: Scope, plan: Plan, at: datetime) -> None:
    """Add a plan, or another price of one from its valid_from on; the same again changes nothing.

    Raises:
        PlanExistsError: it has another price from that moment on.
    """
    document = plan.as_json()
    with db.transaction():
        if store.add_plan(db, scope, plan.plan_id, plan.valid_from, document, at):
            return
        for there in store.plans(db, scope, plan.valid_from):
            if there["plan_id"] == plan.plan_id and there == document:
                return
    raise PlanExistsError(
        f"plan {plan.plan_id} has another price from {plan.valid_from} on; choose a later moment"
    )


def plans(db: Db, scope: Scope, at: datetime) -> list[Plan]:
    """Return every plan as it is at a time."""
    return [Plan.from_json(document) for document in store.plans(db, scope, at)]


def plan_for(db: Db, scope: Scope, vehicle_type_id: str, at: datetime) -> Plan:
    """Return the plan of a vehicle type at a time; of several the newest.

    Raises:
        PlanUnknownError: there is none.
    """
    for plan in plans(db, scope, at):
        if vehicle_type_id in plan.vehicle_types:
            return plan
    raise PlanUnknownError(f"no plan of {scope.tenant}/{scope.city} covers {vehicle_type_id!r}")
