"""`mobility-sim ride` against a whole demo: real cloud, real agents, real money's sandbox."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cloud.signed_in import SignedIn
from tests.simulator.test_demo import ROOT, a_demo
from tests.stories.one_vehicle import choose_ports

PATIENCE_S = 240.0

pytestmark = [pytest.mark.slow, pytest.mark.story]


def ride(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "simulator", "ride", "--data-dir", str(folder), *options]
    return subprocess.run(
        argv, capture_output=True, text=True, cwd=ROOT, check=False, timeout=PATIENCE_S
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A demo of three rented vehicles; its one simulated customer rides beside us."""
    folder = tmp_path_factory.mktemp("ride")
    choose_ports(folder)
    with a_demo(folder, "--vehicles", "3", "--riders", "1") as (_, told):
        yield told


def moves(demo: dict[str, Any], vehicle: str) -> list[tuple[str, str]]:
    """What commands the vehicle was given, oldest first, and how they ended."""
    auth = SignedIn(demo["api_url"], **demo["logins"]["staff"])
    url = f"{demo['api_url']}/api/v1/vehicles/{vehicle}/commands"
    found = httpx.get(url, auth=auth, timeout=30).raise_for_status().json()
    listed = found["commands"] if isinstance(found, dict) else found
    return [(each["kind"], each["state"]) for each in reversed(listed)]


def test_a_stranger_signs_up_rides_a_real_agent_and_gets_a_receipt(demo: dict[str, Any]) -> None:
    done = ride(Path(demo["data_dir"]), "--minutes-of-ride", "0.2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    steps = " | ".join(step["step"] for step in told["steps"])
    for word in ("signed up", "read the mail", "card", "held", "unlocked", "riding", "accepted"):
        assert word in steps
    receipt, paid = told["receipt"], told["paid"]
    assert receipt["total"] == paid
    assert paid["amount_minor"] == 100 + 22 * receipt["ride_minutes"]
    assert receipt["payment"]["open"]["amount_minor"] == 0
    mine = moves(demo, told["vehicle_id"])
    assert ("unlock", "done") in mine
    assert ("lock", "done") in mine


def test_a_declined_card_unlocks_nothing(demo: dict[str, Any]) -> None:
    before = {f"demo-{n:03d}": moves(demo, f"demo-{n:03d}") for n in (1, 2, 3)}
    done = ride(Path(demo["data_dir"]), "--decline", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["outcome"], told["receipt"], told["paid"]) == ("declined", None, None)
    assert moves(demo, told["vehicle_id"]) == before[told["vehicle_id"]]


def test_a_ride_that_is_called_off_costs_nothing(demo: dict[str, Any]) -> None:
    done = ride(Path(demo["data_dir"]), "--called-off")
    assert done.returncode == 0, done.stderr
    assert "it was called off in time; nothing is charged" in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--vehicle", "nobody-007"], 1, "nobody-007 is not to be had, free and with a price"),
        (["--minutes-of-ride", "0"], 2, "give minutes, such as 1.5"),
        (["--decline", "--late"], 2, "not allowed with"),
        (["--help"], 0, "examples:"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    demo: dict[str, Any], options: list[str], code: int, says: str
) -> None:
    done = ride(Path(demo["data_dir"]), *options)
    assert done.returncode == code
    assert says in done.stdout + done.stderr


def test_without_a_cloud_the_next_step_is_told(tmp_path: Path) -> None:
    done = ride(tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"no cloud serves {tmp_path}; start one with: make demo DATA_DIR={tmp_path}"
    )
