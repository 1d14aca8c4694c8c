"""A database with a small city in it: vehicles, customers, prices. It can begin anew."""

from collections.abc import Sequence
from typing import Any

from cloud.app import prepare_database
from cloud.fleet.city import import_city
from cloud.fleet.states import assign
from cloud.identity import api as identity
from cloud.kit.clock import Clock
from cloud.kit.db import connect
from cloud.kit.events import Subscriber, run_due
from cloud.kit.scope import DEMO
from cloud.payments import api as payments
from tests.cloud.booking.parts import a_customer
from tests.cloud.devices.commanded import an_able_device
from tests.cloud.fleet.city import a_bay, a_city, box
from tests.cloud.identity.customers_parts import a_known_customer
from tests.cloud.payments.parts import SELLER

VEHICLES = ("any-001", "any-002", "any-003")
CARDS = {1: "tok_ok", 2: "tok_no_top_up", 3: "tok_ok_too"}
"""By customer: the second one's card holds once and no more."""
SPOTS = {
    "centre": (0.0, 0.0),
    "east": (200.0, 0.0),
    "garage": (-50.0, 50.0),
    "street": (100.0, 40.0),
    "park": (-200.0, -200.0),
}
"""Metres east and north: two bays with one place, one for cars, no bay, and no parking."""
PLAN: dict[str, Any] = {
    "plan_id": "any",
    "name": "Any",
    "currency": "EUR",
    "price": 1.0,
    "is_taxable": False,
    "per_min_pricing": [
        {"start": 0, "rate": 0.25, "interval": 1, "end": 20},
        {"start": 20, "rate": 1.1, "interval": 7},
    ],
    "pause_per_min": 0.1,
    "tax_rate_bp": 1900,
    "hold_amount": 3.0,
    "vehicle_types": ["scooter", "car"],
    "valid_from": "2026-01-01T00:00:00Z",
}


_KEEP = """
CREATE SCHEMA seed;
CREATE TABLE seed.kept AS SELECT c.oid::regclass AS name, (
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
) AS columns FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND NOT relispartition
AND nspname NOT IN ('pg_catalog', 'information_schema', 'seed');
DO $$ DECLARE kept record; BEGIN
    FOR kept IN SELECT * FROM seed.kept LOOP
        EXECUTE format('CREATE TABLE seed.%I AS SELECT %s FROM %s',
            kept.name::text, kept.columns, kept.name);
    END LOOP;
END $$;
"""
# Triggers that refuse changes are for the product; a story begins as if nothing had ever happened.
_BEGIN_ANEW = """
SET session_replication_role = replica;
DO $$ DECLARE kept record; BEGIN
    FOR kept IN SELECT * FROM seed.kept LOOP
        EXECUTE format('DELETE FROM %s', kept.name);
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM seed.%I',
            kept.name, kept.columns, kept.columns, kept.name::text);
    END LOOP;
END $$;
RESET session_replication_role;
"""


def build_city(dsn: str, subscribers: Sequence[Subscriber], clock: Clock) -> None:
    """Fill a migrated database, and keep what it is then for `begin_anew`."""
    prepare_database(dsn, clock, subscribers)
    with connect(dsn) as db:
        for vehicle_id in VEHICLES:
            an_able_device(db, vehicle_id)
        run_due(db, subscribers, clock.now())
        assign(db, DEMO, VEHICLES[2], "e_car", clock.now())
        garage = a_bay("garage", box(-55, 45, -45, 55), 1, ("e_car",))
        import_city(db, identity.console(DEMO), "c", a_city(garage, places=1), clock.now())
        payments.add_plan(db, DEMO, payments.Plan.from_json(PLAN), clock.now())
        payments.set_seller(db, DEMO, SELLER)
        for number, token in CARDS.items():
            rider = a_customer(number)
            a_known_customer(db, rider.id, clock.now())
            card = identity.Card("sandbox", token, "4242", "Visa")
            identity.add_payment_method(db, DEMO, rider.id, card, clock.now())
        run_due(db, subscribers, clock.now())
        db.execute(_KEEP.encode())


def begin_anew(dsn: str) -> None:
    """Let a city be as it was built."""
    with connect(dsn) as db:
        db.execute(_BEGIN_ANEW.encode())
