"""`mobility-cloud tariffs` and `seller` as a person types them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloud.cli import main
from cloud.kit.db import connect
from tests.cloud.payments.parts import a_plan

Captured = pytest.CaptureFixture[str]
SELLER = [
    *("seller", "set", "--name", "Example GmbH", "--vat-id", "DE1"),
    *("--address", "Main Street 1", "--dispute-url", "https://example.org/{rental_id}"),
]


@pytest.fixture(autouse=True)
def _elsewhere(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("MOBILITY_DATA_DIR", str(tmp_path / "data"))
    with connect(dsn) as db:
        # Plans are never changed; a test begins with none all the same.
        db.execute("SET session_replication_role = replica")
        db.execute("TRUNCATE payments.plan, payments.seller")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[Any], str]:
    def write(told: Any) -> str:
        path = tmp_path / "plans.json"
        path.write_text(told if isinstance(told, str) else json.dumps(told), "utf-8")
        return str(path)

    return write


def test_a_plan_is_set_and_shown_as_it_can_be_set_again(
    file: Callable[[Any], str], capsys: Captured
) -> None:
    assert main(["tariffs", "show"]) == 0
    assert "tariffs set FILE" in capsys.readouterr().err
    assert main(["tariffs", "set", file(a_plan().as_json())]) == 0
    assert "city\tCity\tscooter\tunlock EUR 1.00\t30 min EUR 8.50" in capsys.readouterr().out
    assert main(["tariffs", "show", "--json"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown) == [a_plan().as_json()]
    assert main(["tariffs", "set", file(shown)]) == 0


def test_plans_come_as_gbfs_publishes_them_too(
    file: Callable[[Any], str], capsys: Captured
) -> None:
    two = [a_plan().as_json(), a_plan(plan_id="other").as_json()]
    assert main(["tariffs", "set", file({"data": {"plans": two}})]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"per_min_price": []}, "no 'per_min_price'"),
        ({"per_min_pricing": [{"start": 0, "rates": 1, "interval": 1}]}, "no 'rates'"),
        ({"price": 0.001}, "more than 2 decimals"),
        ({"currency": ""}, "lacks currency"),
    ],
)
def test_a_plan_that_cannot_be_is_one_sentence_and_nothing_of_its_file_is_added(
    file: Callable[[Any], str], capsys: Captured, changes: dict[str, Any], words: str
) -> None:
    bad = a_plan(plan_id="bad").as_json() | changes
    assert main(["tariffs", "set", file([a_plan().as_json(), bad])]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
    assert main(["tariffs", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize("told", ["nothing", "[]", "[1]", "3"])
def test_a_file_without_a_plan_says_so(
    file: Callable[[Any], str], capsys: Captured, told: str
) -> None:
    assert main(["tariffs", "set", file(told)]) == 1
    assert "JSON" in capsys.readouterr().err


def test_another_price_from_the_same_moment_is_refused(
    file: Callable[[Any], str], capsys: Captured
) -> None:
    main(["tariffs", "set", file(a_plan().as_json())])
    assert main(["tariffs", "set", file(a_plan(price=2).as_json())]) == 1
    assert "choose a later moment" in capsys.readouterr().err


def test_the_seller_is_set_and_shown(dsn: str, capsys: Captured) -> None:
    assert main(["seller", "show"]) == 1
    assert "seller set" in capsys.readouterr().err
    assert main(SELLER) == 0
    capsys.readouterr()
    assert main(["seller", "show"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["legal_name"], told["prefix"], told["dispute_days"]) == (
        "Example GmbH",
        "INV-",
        14,
    )
    with connect(dsn) as db:
        action = db.execute(
            "SELECT action FROM identity.audit ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        db.execute("UPDATE payments.seller SET city = 'elsewhere'")
    assert action == ("seller.set",)
    assert main(SELLER) == 1
    assert "choose another --prefix" in capsys.readouterr().err
    assert main([*SELLER, "--prefix", "X-", "--name", " "]) == 1
    assert "legal name is empty" in capsys.readouterr().err
