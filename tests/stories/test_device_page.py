"""A vehicle is asked from its device's page, and does it: every part real, watched by Chromium."""

import json
import re
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Unpack

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from cloud.kit.db import connect
from cloud.pages import assets
from edge.identity.keys import FileKeyStore
from tests.broker import raw_connection
from tests.cloud.signed_in import an_account
from tests.stories import browsing
from tests.stories.browsing import Looks, Scheme, troubles
from tests.stories.one_vehicle import LOCK, OneVehicle, until

pytestmark = [pytest.mark.story, pytest.mark.slow]

SOON_MS = 30_000
STEP = re.compile(r"^\w+ \+[\d,.]+ m?s$")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing.a_chromium(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module")
def house(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneVehicle]:
    assert chromium
    assert assets.is_installed(), "run `python -m cloud.pages.assets` first"
    with OneVehicle(tmp_path_factory.mktemp("house")) as house:
        yield house


class Roles:
    """Browsers that are signed in, one for each role."""

    def __init__(self, chromium: Browser, house: OneVehicle) -> None:
        self._chromium = chromium
        self._house = house
        told = json.loads((house.folder / "data" / "cloud.json").read_text("utf-8"))
        self._dsn: str = told["postgres_dsn"]
        self._states: dict[str, Any] = {}

    @contextmanager
    def watching(self, role: str, path: str = "", **looks: Unpack[Looks]) -> Iterator[Page]:
        """Look at a page, the device's own when none is named, as somebody with this role."""
        url = self._house.url
        if role not in self._states:
            login = an_account(self._dsn, role)
            self._states[role] = browsing.sign_in(self._chromium, url, *login)
        path = path or f"/devices/{self._house.device}"
        with browsing.watching(self._chromium, url, path, self._states[role], **looks) as page:
            yield page

    def forget_limits(self) -> None:
        """Let nobody have asked for anything lately."""
        with connect(self._dsn) as db:
            db.execute("DELETE FROM devices.asked")


@pytest.fixture(scope="module")
def roles(chromium: Browser, house: OneVehicle) -> Roles:
    return Roles(chromium, house)


def ask(page: Page, label: str, reason: str) -> None:
    """Ask by keyboard alone."""
    page.get_by_role("button", name=label, exact=True).press("Enter")
    field = page.get_by_label("Reason, for the record")
    expect(field).to_be_visible()
    field.fill(reason)
    field.press("Enter")
    expect(page.locator("#ask")).to_be_hidden(timeout=SOON_MS)


def newest(page: Page) -> Any:
    return page.locator(".commands > li").first


def test_a_viewer_sees_the_device_and_no_button(roles: Roles) -> None:
    with roles.watching("viewer") as page:
        expect(page.locator("#feed")).to_have_text("Live")
        expect(page.locator("#state .word")).to_have_text("Connected")
        expect(page.locator(".certificates .good")).to_have_text(
            re.compile(r"^until \d{4}-\d\d-\d\d, \d+ days left$")
        )
        expect(page.locator("#actions")).to_have_count(0)
        expect(page.locator("#device button")).to_have_count(0)


def test_an_operator_unlocks_with_a_reason_and_sees_it_done(
    roles: Roles, house: OneVehicle
) -> None:
    with roles.watching("operator") as page:
        page.evaluate("window.loadedOnce = true")
        ask(page, "Unlock", "a story unlocks it")
        item = newest(page)
        expect(item).to_have_attribute("data-state", "done", timeout=SOON_MS)
        expect(item.locator(".what b")).to_have_text("Unlock")
        expect(item).to_contain_text("test-operator: a story unlocks it")
        steps = item.locator(".steps li").all_inner_texts()
        assert steps[0] == "asked"
        assert [step.split()[0] for step in steps][-1] == "done"
        assert "sent" in {step.split()[0] for step in steps}
        assert all(STEP.match(step) for step in steps[1:]), steps
        told = re.compile(r"^Unlock: done \S+ m?s after it was asked for\.$")
        expect(page.locator("#outcome")).to_have_text(told)
        expect(page.get_by_role("button", name="Unlock", exact=True)).to_be_focused()
        assert page.evaluate("window.loadedOnce") is True
    assert house.moves()[-1] == "unlock"


def test_a_refusal_is_said_in_words_with_what_to_do(roles: Roles, house: OneVehicle) -> None:
    with roles.watching("operator") as page:
        house.set(LOCK, speed_kmh=20)
        try:
            until("the vehicle rides", lambda: speed(house) == 20)
            ask(page, "Lock", "a story locks it at speed")
            item = newest(page)
            expect(item).to_have_attribute("data-state", "refused", timeout=SOON_MS)
            expect(item.locator(".how")).to_have_text("refused: the vehicle was moving")
            expect(item.locator(".advice")).to_have_text(
                "Wait until it stands still, then ask again."
            )
            expect(page.locator("#outcome")).to_contain_text("refused: the vehicle was moving")
        finally:
            house.set(LOCK, speed_kmh=0)
        until("the vehicle stands", lambda: speed(house) == 0)
        ask(page, "Unlock", "a story unlocks what it locks")
        expect(newest(page).locator(".what b")).to_have_text("Unlock")
        expect(newest(page)).to_have_attribute("data-state", "done", timeout=SOON_MS)
        ask(page, "Lock", "a story locks it at rest")
        expect(newest(page).locator(".what b")).to_have_text("Lock")
        expect(newest(page)).to_have_attribute("data-state", "done", timeout=SOON_MS)
    assert house.moves()[-1] == "lock"


def speed(house: OneVehicle) -> Any:
    return house.vehicle()["values"].get("Vehicle.Speed")


def test_a_reason_is_needed_and_a_grave_one_is_asked_twice(roles: Roles, house: OneVehicle) -> None:
    moved = len(house.moves())
    with roles.watching("admin") as page:
        before = page.locator(".commands > li").count()
        button = page.get_by_role("button", name="Immobilise", exact=True)
        button.click()
        field = page.get_by_label("Reason, for the record")
        field.fill("no")
        field.press("Enter")
        assert not page.evaluate("document.querySelector('[name=reason]').validity.valid")
        expect(page.locator("#ask-sure")).to_be_hidden()
        field.fill("a story immobilises it")
        field.press("Enter")
        expect(page.locator("#ask-sure")).to_contain_text("Immobilise it?")
        page.keyboard.press("Escape")
        expect(page.locator("#ask")).to_be_hidden()
        expect(button).to_be_focused()
        assert page.locator(".commands > li").count() == before
        button.click()
        field.fill("a story immobilises it")
        page.locator("#ask-send").click()
        page.get_by_role("button", name="Yes: Immobilise").click()
        expect(page.locator("#ask")).to_be_hidden(timeout=SOON_MS)
        expect(newest(page)).to_have_attribute("data-state", "done", timeout=SOON_MS)
        ask(page, "Release the motor", "a story is over")
        expect(newest(page).locator(".what b")).to_have_text("Release the motor")
        expect(newest(page)).to_have_attribute("data-state", "done", timeout=SOON_MS)
    assert len(house.moves()) == moved


def test_what_another_person_asks_appears_by_itself(roles: Roles, house: OneVehicle) -> None:
    with roles.watching("viewer") as page:
        expect(page.locator("#feed")).to_have_text("Live")
        page.evaluate("window.loadedOnce = true")
        with house.client("admin") as admin:
            body = {"kind": "read_now", "reason": "a story reads it"}
            path = f"/api/v1/vehicles/{house.device}/commands"
            asked = admin.post(path, json=body, headers={"Idempotency-Key": "story-1"})
            assert asked.status_code == 202
        item = page.locator(f'[data-id="{asked.json()["id"]}"]')
        expect(item).to_have_attribute("data-state", "done", timeout=SOON_MS)
        assert page.evaluate("window.loadedOnce") is True


def test_a_second_person_approves_what_waits_for_one(roles: Roles, house: OneVehicle) -> None:
    with house.client("admin") as admin:
        path = f"/api/v1/vehicles/{house.device}/commands"

        def wish(on: bool, key: str) -> Any:
            body = {"kind": "immobilise", "args": {"on": on}, "reason": "a story about two"}
            return admin.post(path, json=body, headers={"Idempotency-Key": key}).json()

        asked = [wish(on=True, key=f"two-{number}") for number in range(11)]
        assert asked[-1]["state"] == "awaiting_approval"
        item_of = f'[data-id="{asked[-1]["id"]}"]'
        with roles.watching("admin") as page:
            expect(page.locator(f"{item_of} .how")).to_have_text("waits for a second person")
            expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        with roles.watching("supervisor") as page:
            page.locator(item_of).get_by_role("button", name="Approve").press("Enter")
            item = page.locator(item_of)
            expect(item).to_have_attribute("data-state", "done", timeout=SOON_MS)
            expect(item).to_contain_text("approved by test-supervisor")
            expect(page.locator("#outcome")).to_contain_text("Immobilise: done")
        assert wish(on=False, key="two-over")["state"] == "pending"
    roles.forget_limits()


def test_the_list_shows_without_reload_what_was_felt_and_who_is_away(
    roles: Roles, house: OneVehicle
) -> None:
    with roles.watching("viewer", "/devices") as page:
        page.evaluate("window.loadedOnce = true")
        row = page.locator(f'tr[data-id="{house.device}"]')
        expect(page.locator("#feed")).to_have_text("Live")
        expect(row).not_to_contain_text("Tipped over")
        house.set(LOCK, tip_over=True)
        expect(row).to_contain_text("Tipped over", timeout=SOON_MS)
        house.set(LOCK, tip_over=False)
        house.fall_silent()
        try:
            expect(row.locator(".word")).to_have_text("Offline", timeout=SOON_MS)
        finally:
            house.speak()
        expect(row.locator(".word")).to_have_text("Connected", timeout=SOON_MS)
        assert page.evaluate("window.loadedOnce") is True
    with house.client("supervisor") as api:
        (alarm,) = api.get("/api/v1/alarms").raise_for_status().json()
        assert (alarm["kind"], alarm["device_id"]) == ("tipped_over", house.device)
        clear(api, alarm["id"])


def test_a_copy_of_the_vehicles_key_that_connects_once_is_an_alarm(
    roles: Roles, house: OneVehicle
) -> None:
    told = json.loads((house.folder / "data" / "cloud.json").read_text("utf-8"))
    config = tomllib.loads((house.folder / f"{house.device}.toml").read_text("utf-8"))
    tls = FileKeyStore(house.folder / config["identity"]["folder"]).tls_context()
    place = (told["mqtt"]["host"], told["mqtt"]["port"])
    with roles.watching("supervisor") as page:
        expect(page.locator("#state .word")).to_have_text("Connected", timeout=SOON_MS)
        time.sleep(2)  # the broker holds whoever comes within a second of another
        link, _ = raw_connection(place, tls, house.device)
        with link:
            alarm = page.get_by_label("Alarm")
            expect(alarm).to_contain_text("two places", timeout=SOON_MS)
            expect(page.locator("#state .word")).to_have_text("Connected", timeout=SOON_MS)
    with house.client("supervisor") as api:
        (found,) = api.get("/api/v1/alarms").raise_for_status().json()
        assert (found["kind"], found["detail"]["evidence"]) == ("clone", "connections")
        clear(api, found["id"])


def clear(api: httpx.Client, alarm_id: int) -> None:
    api.post(
        f"/api/v1/alarms/{alarm_id}/clear",
        json={"reason": "the story has seen it"},
        headers={"Idempotency-Key": f"clear-{alarm_id}"},
    ).raise_for_status()


@pytest.mark.parametrize(("width", "scheme"), [("phone", "dark"), ("desktop", "light")])
@pytest.mark.parametrize("path", ["/devices", "", "form", "/devices/none"])
def test_pages_of_devices_fit_and_are_accessible(
    roles: Roles, path: str, width: str, scheme: Scheme
) -> None:
    missing = path == "/devices/none"
    address = "" if path == "form" else path
    with roles.watching("admin", address, width=width, scheme=scheme, may_complain=missing) as page:
        if path == "":
            expect(page.locator("#feed")).to_have_text("Live")
        if path == "form":
            page.get_by_role("button", name="Set an interval").click()
            expect(page.get_by_label("Seconds")).to_be_visible()
            expect(page.get_by_label("Mode")).to_be_hidden()
        across = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert across[0] <= across[1]
        assert troubles(page) == []
