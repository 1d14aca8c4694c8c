"""The pages of devices over real Postgres, as a browser without JavaScript reads them."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from cloud.devices import alarms, requests, staff
from cloud.devices import api as devices
from cloud.devices.enrolment import redeem
from cloud.devices.model import Progress
from cloud.devices.store import alarms as alarm_store
from cloud.devices.store import greet
from cloud.fleet import store as fleet_store
from cloud.fleet.model import Vehicle
from cloud.kit.clock import ManualClock
from cloud.kit.db import Db, Pool, open_pool
from cloud.kit.ports.authority import FileAuthority
from cloud.kit.scope import DEMO, Scope
from cloud.pages.device_words import alarm_words
from protocol.alarms import ALARMS
from tests.certificates import csr_for
from tests.cloud.devices.commanded import ASKER, PROGRAM, ask, hello_of
from tests.cloud.pages.parts import a_browser, add_vehicle, an_app, commit_lane

DEVICE = "demo-001"


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, max_size=4) as pool, pool.connection() as db:
        db.execute(
            "TRUNCATE devices.device, devices.presence, devices.ledger, devices.gap,"
            " devices.certificate, devices.claim, devices.alarm, devices.command, devices.asked,"
            " devices.twin, fleet.vehicle, kit.event CASCADE"
        )
        yield pool


@pytest.fixture
def db(pool: Pool, clock: ManualClock) -> Iterator[Db]:
    """A connection, and a device that has said hello in the database."""
    with pool.connection() as db:
        add_vehicle(db, DEVICE, clock.now())
        greet(db, DEMO, DEVICE, hello_of(["lock", "unlock", "immobilise", "reboot"]), clock.now())
        yield db


async def read(pool: Pool, clock: ManualClock, path: str, role: str = "viewer") -> str:
    async with a_browser(an_app(pool, clock), role) as browser:
        answer = await browser.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def plain(text: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def buttons(text: str) -> list[tuple[str, str]]:
    """Kind and arguments of the buttons for commands."""
    return re.findall(r'data-kind="(\w+)" data-args="([^"]*)"', text)


async def test_the_list_shows_devices_of_ones_own_city(
    db: Db, pool: Pool, clock: ManualClock
) -> None:
    devices.enrol(db, "theirs-001", "jbd_uart", clock.now(), scope=Scope("other", "demo"))
    alarms.suspect_clone(db, DEVICE, "takeover", {}, clock.now())
    text = await read(pool, clock, "/devices")
    assert re.findall(r'<tr data-id="([\w-]+)"', text) == [DEVICE]
    assert "demo-001 Connected 0 s ago 1.2.3 none Clone" in plain(text)


async def test_a_device_page_shows_connection_certificate_versions_and_gaps(
    db: Db, pool: Pool, clock: ManualClock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    now = clock.now()
    claim = devices.make_claim(db, DEVICE, now).claim
    authority = FileAuthority(tmp_path_factory.mktemp("pki"), clock)
    redeem(db, authority, DEVICE, claim, csr_for(DEVICE), now, timedelta(days=90))
    commit_lane(db, DEVICE, Progress(18, ((21, 22),)), now)
    text = plain(await read(pool, clock, f"/devices/{DEVICE}"))
    for told in (
        "Now Connected",
        "Since 2026-07-01 12:00 UTC",
        "Last heard 0 s ago",
        "until 2026-09-29, 90 days left",
        "Agent 1.2.3",
        "Battery protocol jbd_uart",
        "Can immobilise, lock, reboot, unlock",
        "signal 04bb1c9d 18 and 21 to 22 1 14 records",
        "signal 3 to 16, noted 2026-07-01 12:00 UTC : the vehicle no longer holds them",
        "Nothing is wanted beyond what it does by itself.",
        "Nothing has been asked of it yet.",
    ):
        assert told in text


async def test_a_role_gets_the_buttons_of_its_scopes(
    db: Db, pool: Pool, clock: ManualClock
) -> None:
    assert db
    found = {
        role: {kind for kind, _ in buttons(await read(pool, clock, f"/devices/{DEVICE}", role))}
        for role in ("viewer", "operator", "supervisor", "admin")
    }
    assert found == {
        "viewer": set(),
        "operator": {"lock", "unlock"},
        "supervisor": {"lock", "unlock", "immobilise", "reboot"},
        "admin": {"lock", "unlock", "immobilise", "reboot"},
    }
    text = await read(pool, clock, f"/devices/{DEVICE}", "admin")
    assert ("immobilise", "{&#34;on&#34;: true}") in buttons(text)
    assert "/revoke" in text
    assert "/revoke" not in await read(pool, clock, f"/devices/{DEVICE}", "supervisor")


async def test_a_car_gets_no_button_for_what_cars_have_not(pool: Pool, clock: ManualClock) -> None:
    with pool.connection() as db:
        devices.enrol(db, "a-car", "jbd_uart", clock.now())
        greet(db, DEMO, "a-car", hello_of(["lock", "open_battery"]), clock.now())
        fleet_store.add(db, DEMO, Vehicle("a-car", "a-car", "car", "a-car", "free"), clock.now())
    assert buttons(await read(pool, clock, "/devices/a-car", "admin")) == [("lock", "{}")]


async def test_what_was_asked_is_told_with_its_timeline_and_what_to_do(
    db: Db, pool: Pool, clock: ManualClock
) -> None:
    row = ask(db, DEVICE, "lock")
    clock.advance(timedelta(seconds=60))
    requests.expire(db, clock.now())
    text = await read(pool, clock, f"/devices/{DEVICE}/commands")
    assert f'data-id="{row.id}" data-state="expired"' in text
    assert plain(text).startswith(
        "Lock no answer came in time Look at its connection, then ask again; an answer that comes"
        " later shows here. 2026-07-01 12:00 UTC , ada: a test wants it asked expired +"
    )
    assert "<html" not in text


async def test_a_waiting_command_offers_its_approval_to_a_second_person(
    db: Db, pool: Pool, clock: ManualClock
) -> None:
    # A page shows the newest few: those of one moment have no order.
    for number in range(11):
        at = clock.now() + timedelta(milliseconds=number)
        row = ask(db, DEVICE, "immobilise", who=PROGRAM, at=at, on=True)
    assert row.state == "awaiting_approval"
    address = f"/api/v1/commands/{row.id}/approve"
    for role, offered in (("viewer", False), ("operator", False), ("supervisor", True)):
        assert (address in await read(pool, clock, f"/devices/{DEVICE}", role)) == offered, role


async def test_an_open_alarm_can_be_cleared_by_whom_may(
    db: Db, pool: Pool, clock: ManualClock
) -> None:
    alarms.suspect_clone(db, DEVICE, "boot_id", {}, clock.now())
    (alarm,) = devices.open_alarms(db)
    address = f"/api/v1/alarms/{alarm.id}/clear"
    for role, offered in (("viewer", False), ("supervisor", True)):
        text = await read(pool, clock, f"/devices/{DEVICE}", role)
        assert "The same identity seems to be in two places." in text
        assert (address in text) == offered, role
    assert staff.clear_alarm(db, ASKER, alarm.id, "looked at", clock.now())
    assert "two places" not in await read(pool, clock, f"/devices/{DEVICE}/state")


async def test_an_alarm_of_a_sensor_says_what_was_felt_and_what_to_do(
    db: Db, pool: Pool, clock: ManualClock
) -> None:
    for kind in ("tampered", "tipped_over"):
        alarm_store.add_alarm(db, DEMO, DEVICE, kind, {}, clock.now())
    assert "none Tipped over, Tampered with" in plain(await read(pool, clock, "/devices"))
    text = plain(await read(pool, clock, f"/devices/{DEVICE}"))
    assert "Somebody tampers with the vehicle. Seen 1 time, last 0 s ago. Look where" in text
    assert "The vehicle has tipped over. Seen 1 time, last 0 s ago. Ask its rider" in text


def test_every_alarm_of_a_vehicle_has_words_and_says_what_to_do() -> None:
    for name in ALARMS:
        words = alarm_words(name)
        assert words.advice != alarm_words("nothing").advice, name


async def test_an_unknown_or_foreign_device_gets_a_friendly_page(
    db: Db, pool: Pool, clock: ManualClock
) -> None:
    devices.enrol(db, "theirs-001", "jbd_uart", clock.now(), scope=Scope("other", "demo"))
    async with a_browser(an_app(pool, clock)) as browser:
        for device_id in ("nobody", "theirs-001", "%3Cscript%3E"):
            answer = await browser.get(f"/devices/{device_id}")
            assert answer.status_code == 404
            assert "No such device" in answer.text
            assert "<script>" not in answer.text
        assert (await browser.get(f"/devices/{DEVICE}")).status_code == 200


async def test_reasons_are_text_and_not_markup(db: Db, pool: Pool, clock: ManualClock) -> None:
    wish = devices.Wish(DEVICE, DEVICE, "lock", {}, '"><script>alert(1)</script>')
    devices.request_command(db, ASKER, wish, clock.now())
    text = await read(pool, clock, f"/devices/{DEVICE}")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


@pytest.mark.parametrize("path", ["/devices", f"/devices/{DEVICE}"])
async def test_nothing_is_inline_or_from_elsewhere_and_every_address_is_there(
    db: Db, pool: Pool, clock: ManualClock, path: str
) -> None:
    assert db
    async with a_browser(an_app(pool, clock), "admin") as browser:
        answer = await browser.get(path)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", answer.text)
        addresses = set(re.findall(r'(?:href|src|hx-get)="([^"#]+)"', answer.text))
        for address in addresses - {"/openapi.json"}:
            assert address.startswith("/"), address
            assert (await browser.get(address)).status_code == 200, address
