"""Which plan a vehicle has, and since when."""

from datetime import UTC, datetime

import pytest

from cloud.kit.db import Db
from cloud.kit.scope import DEMO, Scope
from cloud.payments import api
from cloud.payments.api import PlanExistsError, PlanUnknownError
from tests.cloud.payments.parts import NOON, a_plan


def test_a_new_price_begins_at_its_moment_and_never_before(db: Db) -> None:
    api.add_plan(db, DEMO, a_plan(), NOON)
    dearer = a_plan(price=2, valid_from="2026-08-01T00:00:00.000Z")
    api.add_plan(db, DEMO, dearer, NOON)
    assert api.plan_for(db, DEMO, "scooter", NOON) == a_plan()
    assert api.plan_for(db, DEMO, "scooter", datetime(2026, 8, 1, tzinfo=UTC)) == dearer


def test_the_same_plan_again_changes_nothing_and_another_price_is_refused(db: Db) -> None:
    api.add_plan(db, DEMO, a_plan(), NOON)
    api.add_plan(db, DEMO, a_plan(), NOON)
    with pytest.raises(PlanExistsError):
        api.add_plan(db, DEMO, a_plan(price=2), NOON)


def test_a_vehicle_type_without_a_plan_has_no_price(db: Db) -> None:
    api.add_plan(db, DEMO, a_plan(), NOON)
    with pytest.raises(PlanUnknownError):
        api.plan_for(db, DEMO, "car", NOON)
    with pytest.raises(PlanUnknownError):
        api.plan_for(db, Scope("demo", "elsewhere"), "scooter", NOON)
