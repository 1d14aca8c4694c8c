"""Plans and sellers: what must be there before anybody rides."""

from dataclasses import dataclass
from datetime import datetime

from cloud.kit.db import Db
from cloud.kit.money import Money
from cloud.kit.scope import Scope
from cloud.payments.documents import Seller
from cloud.payments.meter import Usage, line, meter, total
from cloud.payments.model import BASIS_POINTS, Plan, snapshot
from cloud.payments.store import tariffs as store

_LOOK_MIN = 10


@dataclass(frozen=True, slots=True)
class Preview:
    """What a plan costs before one rides, every amount as the customer pays it: with tax.

    Attributes:
        unlock: a ride of no time.
        per_minute: what the first minute adds.
        pause_per_minute: of a pause.
        first_minute: a ride of a minute.
        for_10_min: a ride of ten minutes, unlock included, kilometres not.
        is_flat: any ride of n minutes is exactly `unlock` and n times `per_minute`, unless a cap
            makes it less.
    """

    unlock: Money
    per_minute: Money
    pause_per_minute: Money
    first_minute: Money
    for_10_min: Money
    is_flat: bool


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


def preview(plan: Plan) -> Preview:
    """Return what to tell of a plan before anybody rides, by the arithmetic of its invoices."""
    price = snapshot(plan, plan.valid_from)

    def ride(minutes: int) -> Money:
        return total(meter(price, Usage(60 * minutes)))

    unlock, first_minute = ride(0), ride(1)
    return Preview(
        unlock=unlock,
        per_minute=first_minute - unlock,
        pause_per_minute=line(plan, "pause", plan.pause_per_min_minor).gross,
        first_minute=first_minute,
        for_10_min=ride(_LOOK_MIN),
        is_flat=_is_flat(plan),
    )


def _is_flat(plan: Plan) -> bool:
    if plan.per_km or len(plan.per_min) > 1:
        return False
    if any(each.start or each.interval != 1 or each.end is not None for each in plan.per_min):
        return False
    # Where tax is added, a minute has a price of its own only if no minor unit is ever rounded.
    amounts = (plan.price_minor, *(each.rate_minor for each in plan.per_min))
    return not plan.is_taxable or all(
        amount * plan.tax_rate_bp % BASIS_POINTS == 0 for amount in amounts
    )
