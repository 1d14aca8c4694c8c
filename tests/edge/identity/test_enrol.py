"""Getting a certificate and keeping it fresh, over real TLS."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.clock import ManualClock, SystemClock
from edge.identity.enrol import (
    LONGEST_WAIT_S,
    LOOK_EVERY_S,
    REFUSED_WAIT_S,
    Enroller,
)
from edge.identity.exchange import CloudAwayError, RefusedError
from edge.identity.keys import FileKeyStore, KeyStoreError
from edge.settings import Identity
from tests.certificates import TestAuthority
from tests.edge.identity.listener import Listener, a_listener, http, problem
from tests.edge.identity.stores import SIGNERS, enrolled, holding

DEVICE = "demo-001"
DAY_S = 86_400


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def listener(authority: TestAuthority) -> AsyncIterator[Listener]:
    async with a_listener(authority) as listener:
        listener.claims["the-claim"] = "new"
        yield listener


@dataclass
class Vehicle:
    """An enroller with what it wrote and whom it told."""

    keys: FileKeyStore
    clock: ManualClock
    facts: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    offset_ms: int = 0
    enroller: Enroller = field(init=False)

    async def record(self, kind: str, fields: Mapping[str, Any]) -> None:
        self.facts.append((kind, fields))

    @property
    def serial(self) -> str:
        held = self.keys.held()
        return held.serial if held else ""


def a_vehicle(keys: FileKeyStore, settings: Identity, device_id: str = DEVICE) -> Vehicle:
    vehicle = Vehicle(keys, ManualClock(SystemClock().wall_ms()))
    vehicle.enroller = Enroller(
        settings,
        device_id,
        keys,
        clock=vehicle.clock,
        offset=lambda: vehicle.offset_ms,
        record=vehicle.record,
        chance=lambda: 0.0,
    )
    vehicle.enroller.when_new = lambda: vehicle.told.append(vehicle.serial)
    return vehicle


def new_vehicle(folder: Path, listener: Listener, **changes: Any) -> Vehicle:
    told = {
        "folder": str(folder / "identity"),
        "enrol_url": listener.url,
        "claim": "the-claim",
        "ca": listener.authority.ca_pem,
        **changes,
    }
    return a_vehicle(FileKeyStore(folder / "identity"), Identity(**told))


def old_vehicle(folder: Path, listener: Listener, **changes: Any) -> Vehicle:
    """One that is enrolled, with a claim that is none any more."""
    told = {"enrol_url": listener.url, "ca": listener.authority.ca_pem, **changes}
    return a_vehicle(enrolled(folder / "identity", listener.authority, DEVICE), Identity(**told))


async def test_a_claim_becomes_a_certificate_and_a_fact(tmp_path: Path, listener: Listener) -> None:
    vehicle = new_vehicle(tmp_path, listener)
    await vehicle.enroller.step()
    held = vehicle.keys.held()
    assert held is not None
    assert held.common_name == DEVICE
    assert vehicle.keys.signers() == SIGNERS
    assert vehicle.keys.tls_context()
    assert vehicle.keys.redeemed("the-claim")
    facts = {"serial": held.serial, "not_after_ms": held.not_after_ms}
    assert vehicle.facts == [("identity.enrolled", facts)]
    assert vehicle.told == [held.serial]
    ((path, _, body),) = listener.asked
    assert path == "/device/enrol"
    assert body.keys() == {"device_id", "claim", "csr"}


async def test_nothing_is_asked_while_the_certificate_is_fresh(
    tmp_path: Path, listener: Listener
) -> None:
    vehicle = new_vehicle(tmp_path, listener)
    await vehicle.enroller.step()
    for _ in range(3):
        assert await vehicle.enroller.step() == LOOK_EVERY_S
    assert len(listener.asked) == 1


@pytest.mark.parametrize("path", ["", "/", "/device/enrol", "/device"])
async def test_the_url_may_name_the_listener_or_the_whole_path(
    tmp_path: Path, listener: Listener, path: str
) -> None:
    vehicle = new_vehicle(tmp_path, listener, enrol_url=listener.url + path)
    await vehicle.enroller.enrol()
    await vehicle.enroller.rotate()
    assert [asked[0] for asked in listener.asked] == ["/device/enrol", "/device/renew"]


async def test_at_two_thirds_of_its_life_the_certificate_is_renewed_with_a_new_key(
    tmp_path: Path, listener: Listener
) -> None:
    vehicle = old_vehicle(tmp_path, listener)
    first, key = vehicle.serial, (vehicle.keys.folder / "key.pem").read_text()
    vehicle.clock.jump(59 * DAY_S)
    await vehicle.enroller.step()
    assert vehicle.serial == first
    vehicle.clock.jump(2 * DAY_S)
    await vehicle.enroller.step()
    assert vehicle.serial != first
    assert (vehicle.keys.folder / "key.pem").read_text() != key
    ((path, shown, body),) = listener.asked
    assert (path, shown, list(body)) == ("/device/renew", first, ["csr"])
    assert [kind for kind, _ in vehicle.facts] == ["identity.renewed"]
    assert vehicle.told == [vehicle.serial]


async def test_the_cloud_s_time_says_when_to_renew_not_a_clock_that_is_wrong(
    tmp_path: Path, listener: Listener
) -> None:
    vehicle = old_vehicle(tmp_path, listener)
    vehicle.clock.jump(61 * DAY_S)
    vehicle.offset_ms = -61 * DAY_S * 1000
    await vehicle.enroller.step()
    assert listener.asked == []


async def test_a_clock_far_in_the_future_does_not_renew_without_end(
    tmp_path: Path, listener: Listener
) -> None:
    vehicle = old_vehicle(tmp_path, listener)
    vehicle.clock.jump(80 * DAY_S)
    assert await vehicle.enroller.step() == LOOK_EVERY_S


async def test_rotation_renews_at_once(tmp_path: Path, listener: Listener) -> None:
    vehicle = old_vehicle(tmp_path, listener)
    first = vehicle.serial
    held = await vehicle.enroller.rotate()
    assert vehicle.serial == held.serial != first


async def test_a_used_claim_is_harmless_once_there_is_a_certificate(
    tmp_path: Path, listener: Listener
) -> None:
    await new_vehicle(tmp_path, listener).enroller.step()
    again = new_vehicle(tmp_path, listener)
    assert await again.enroller.step() == LOOK_EVERY_S
    assert len(listener.asked) == 1


async def test_a_new_claim_in_the_configuration_gives_a_new_identity(
    tmp_path: Path, listener: Listener
) -> None:
    await new_vehicle(tmp_path, listener).enroller.step()
    listener.claims["second-claim"] = "new"
    again = new_vehicle(tmp_path, listener, claim="second-claim")
    first = again.serial
    await again.enroller.step()
    assert again.serial != first
    assert [path for path, _, _ in listener.asked] == ["/device/enrol"] * 2


async def test_a_refused_new_claim_leaves_the_certificate_and_is_tried_once(
    tmp_path: Path, listener: Listener
) -> None:
    vehicle = old_vehicle(tmp_path, listener, claim="no-such-claim")
    first = vehicle.serial
    assert await vehicle.enroller.step() == REFUSED_WAIT_S
    assert await vehicle.enroller.step() == LOOK_EVERY_S
    assert vehicle.serial == first
    assert len(listener.asked) == 1


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("used", "the claim was used already"),
        ("expired", "the claim has expired"),
        ("unknown", "the cloud knows no such claim for demo-001"),
    ],
)
async def test_a_refused_claim_is_told_once_with_what_to_do(
    tmp_path: Path, listener: Listener, state: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    listener.claims["the-claim"] = state
    vehicle = new_vehicle(tmp_path, listener)
    for _ in range(3):
        assert await vehicle.enroller.step() == REFUSED_WAIT_S
    (line,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert says in line
    assert "make a claim with: mobility-cloud devices claim demo-001, put it under" in line
    assert vehicle.keys.held() is None
    assert vehicle.facts == []


async def test_a_cloud_that_is_away_is_asked_more_and_more_rarely_and_told_once(
    tmp_path: Path, authority: TestAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = Identity(enrol_url="https://127.0.0.1:1", claim="c", ca=authority.ca_pem)
    vehicle = a_vehicle(FileKeyStore(tmp_path / "identity"), nowhere)
    waits = [await vehicle.enroller.step() for _ in range(9)]
    assert waits == [1, 2, 4, 8, 16, 32, *[LONGEST_WAIT_S] * 3]
    (line,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
    assert "nothing listens there" in line


async def test_after_the_cloud_came_back_the_claim_is_still_good(
    tmp_path: Path, listener: Listener
) -> None:
    listener.trouble = problem(503, "database-away", "come again", "Retry-After: 7")
    vehicle = new_vehicle(tmp_path, listener)
    assert await vehicle.enroller.step() == 7
    listener.trouble = b""
    await vehicle.enroller.step()
    assert vehicle.serial


@pytest.mark.parametrize(
    "trouble",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{}",
        http(201, "<html>"),
        http(201, '{"device_id": "demo-001"}'),
        http(302, "", "Location: https://127.0.0.1:2/"),
        http(200, " " * 300_000),
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500 + b"\r\n",
    ],
    ids=["empty", "ssh", "cut", "html", "half", "moved", "huge", "headers"],
)
async def test_an_answer_that_is_none_is_a_cloud_that_is_away(
    tmp_path: Path, listener: Listener, trouble: bytes
) -> None:
    listener.trouble = trouble or b"\r\n"
    vehicle = new_vehicle(tmp_path, listener)
    with pytest.raises(CloudAwayError):
        await vehicle.enroller.enrol()
    assert not vehicle.keys.has_certificate()


async def test_the_claim_is_not_shown_to_a_server_of_another_authority(
    tmp_path: Path, authority: TestAuthority
) -> None:
    stranger = TestAuthority(tmp_path / "stranger", "stranger CA")
    async with a_listener(authority, shown_by=stranger) as listener:
        vehicle = new_vehicle(tmp_path, listener)
        with pytest.raises(CloudAwayError, match="we do not trust its certificate"):
            await vehicle.enroller.enrol()
        assert listener.asked == []


async def test_the_claim_is_not_shown_to_a_server_of_another_name(
    tmp_path: Path, listener: Listener
) -> None:
    url = listener.url.replace("127.0.0.1", "127.0.0.2")
    vehicle = new_vehicle(tmp_path, listener, enrol_url=url)
    with pytest.raises(CloudAwayError):
        await vehicle.enroller.enrol()
    assert listener.asked == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "127.0.0.1:8443"])
async def test_the_claim_never_travels_without_tls(
    tmp_path: Path, listener: Listener, url: str
) -> None:
    vehicle = new_vehicle(tmp_path, listener, enrol_url=url)
    with pytest.raises(RefusedError, match=r"no https URL; correct \[identity\] enrol_url"):
        await vehicle.enroller.enrol()


async def test_an_identity_of_another_device_is_not_kept(
    tmp_path: Path, listener: Listener
) -> None:
    listener.answers_as = "demo-002"
    vehicle = new_vehicle(tmp_path, listener)
    with pytest.raises(RefusedError, match="identity for 'demo-002'"):
        await vehicle.enroller.enrol()
    assert not vehicle.keys.has_certificate()


async def test_a_folder_with_another_vehicle_s_identity_is_not_used(
    tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    keys = enrolled(tmp_path / "identity", listener.authority, "demo-002")
    vehicle = a_vehicle(keys, Identity(enrol_url=listener.url))
    await vehicle.enroller.step()
    assert "is of 'demo-002', not of demo-001; give each vehicle its own folder" in caplog.text
    assert listener.asked == []


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("claim", "there is no certificate and no claim to get one; make a claim with"),
        ("ca", r"\[identity\] ca is missing.*write a new configuration with"),
        ("enrol_url", r"\[identity\] enrol_url is missing.*write a new configuration with"),
    ],
)
async def test_what_is_missing_in_the_configuration_is_named(
    tmp_path: Path, listener: Listener, missing: str, says: str
) -> None:
    vehicle = new_vehicle(tmp_path, listener, **{missing: None})
    with pytest.raises(RefusedError, match=says):
        await vehicle.enroller.enrol()


async def test_a_revoked_certificate_is_not_renewed_and_says_what_to_do(
    tmp_path: Path, listener: Listener
) -> None:
    vehicle = old_vehicle(tmp_path, listener)
    listener.revoked.add(vehicle.serial)
    with pytest.raises(RefusedError, match=r"does not renew.*make a claim with"):
        await vehicle.enroller.rotate()


async def test_an_expired_certificate_asks_for_a_claim_and_a_new_claim_is_used(
    tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    keys = holding(
        tmp_path / "identity", listener.authority.expired(DEVICE), listener.authority.ca_pem
    )
    settings = Identity(enrol_url=listener.url, ca=listener.authority.ca_pem)
    assert await a_vehicle(keys, settings).enroller.step() == REFUSED_WAIT_S
    assert "our certificate expired on " in caplog.text
    assert "make a claim with" in caplog.text
    claimed = Identity(enrol_url=listener.url, ca=settings.ca, claim="the-claim")
    vehicle = a_vehicle(keys, claimed)
    await vehicle.enroller.step()
    held = keys.held()
    assert held is not None
    assert held.not_after_ms > vehicle.clock.wall_ms()


async def test_a_disk_that_refuses_leaves_the_pair_and_is_told(
    tmp_path: Path, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    vehicle = old_vehicle(tmp_path, listener)
    first = vehicle.serial
    vehicle.clock.jump(61 * DAY_S)
    (vehicle.keys.folder / "next").mkdir()
    (vehicle.keys.folder / "next" / "in the way").touch()
    assert await vehicle.enroller.step() == LONGEST_WAIT_S
    assert "cannot keep the certificate in" in caplog.text
    assert vehicle.serial == first
    assert vehicle.keys.tls_context()


async def test_stopping_while_the_cloud_answers_does_not_lose_the_certificate(
    tmp_path: Path, listener: Listener
) -> None:
    vehicle = new_vehicle(tmp_path, listener)
    work = asyncio.create_task(vehicle.enroller.run())
    async with asyncio.timeout(15):
        while not listener.issued:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait({work})
    assert vehicle.keys.has_certificate()
    assert vehicle.keys.redeemed("the-claim")


async def test_short_lives_are_renewed_again_and_again(tmp_path: Path, listener: Listener) -> None:
    listener.age = timedelta(0)
    vehicle = new_vehicle(tmp_path, listener)
    serials = set()
    for earlier in range(3):
        listener.life = timedelta(seconds=30 + 21 * earlier)
        wait_s = await vehicle.enroller.step()
        assert 1 <= wait_s <= 20
        serials.add(vehicle.serial)
        vehicle.clock.jump(21)
    assert len(serials) == 3


async def test_nobody_else_may_enrol_meanwhile(tmp_path: Path, listener: Listener) -> None:
    vehicle = new_vehicle(tmp_path, listener)
    with (
        FileKeyStore(vehicle.keys.folder).alone(),
        pytest.raises(KeyStoreError, match="another process"),
    ):
        await vehicle.enroller.enrol()
    assert listener.claims["the-claim"] == "new"
