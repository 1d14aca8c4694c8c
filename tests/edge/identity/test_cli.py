"""`mobility-edge enrol` and `identity`, and what the doctor says of an identity."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.cli import main
from edge.clock import SystemClock
from edge.identity.doctor import examine_identity
from edge.identity.keys import FileKeyStore
from edge.settings import load
from tests.certificates import Certificate, TestAuthority
from tests.edge.identity.listener import Listener, a_listener
from tests.edge.identity.stores import enrolled, holding

DEVICE = "demo-001"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
async def listener(authority: TestAuthority) -> AsyncIterator[Listener]:
    async with a_listener(authority) as listener:
        listener.claims["the-claim"] = "new"
        yield listener


def configured(folder: Path, authority: TestAuthority, url: str, claim: str = "the-claim") -> Path:
    config = folder / "agent.toml"
    config.write_text(
        f'[device]\nid = "{DEVICE}"\n[battery]\nprotocol = "jbd_uart"\nport = "none"\n'
        f'[identity]\nenrol_url = "{url}"\nclaim = "{claim}"\n'
        f'ca = """\n{authority.ca_pem}"""\n'
    )
    return config


async def run(*arguments: str) -> int:
    return await asyncio.to_thread(main, arguments)


async def test_enrol_turns_the_claim_into_an_identity_and_says_until_when(
    tmp_path: Path, listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(configured(tmp_path, listener.authority, listener.url))
    assert await run("enrol", "--config", config) == 0
    said = capsys.readouterr().out
    assert said.startswith("demo-001 is enrolled: certificate ")
    assert await run("enrol", "--config", config) == 0
    assert capsys.readouterr().out.startswith("demo-001 is enrolled already: certificate ")
    assert len(listener.asked) == 1


async def test_a_used_claim_is_one_sentence_with_a_next_step(
    tmp_path: Path, listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    listener.claims["the-claim"] = "used"
    config = str(configured(tmp_path, listener.authority, listener.url))
    assert await run("enrol", "--config", config) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "the claim was used already; make a claim with: mobility-cloud devices claim demo-001, "
        "put it under [identity] claim, and start the agent again\n"
    )


async def test_a_cloud_that_is_away_is_one_sentence_with_a_next_step(
    tmp_path: Path, authority: TestAuthority, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(configured(tmp_path, authority, "https://127.0.0.1:1"))
    assert await run("enrol", "--config", config) == 1
    assert capsys.readouterr().err == (
        "127.0.0.1:1: connection refused, nothing listens there; "
        "see that the cloud is up and try again\n"
    )


async def test_identity_tells_a_script_and_a_person_who_this_is(
    tmp_path: Path, listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(configured(tmp_path, listener.authority, listener.url))
    assert await run("identity", "--config", config) == 1
    assert capsys.readouterr().out == "demo-001 is not enrolled; its claim is new\n"
    await run("enrol", "--config", config)
    capsys.readouterr()
    assert await run("identity", "--config", config, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    held = FileKeyStore(tmp_path / "identity").held()
    assert held is not None
    assert (told["enrolled"], told["serial"], told["claim"]) == (True, held.serial, "used")
    assert told["signers"] == ["k1", "k2"]
    assert told["not_before"] < told["renew_from"] < told["not_after"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["not_after"])
    assert await run("identity", "--config", config) == 0
    assert f"{held.serial}, of demo-001" in capsys.readouterr().out
    assert "the-claim" not in json.dumps(told)


def findings(config: Path) -> dict[str, tuple[bool, str]]:
    found = examine_identity(load(config, {}), SystemClock())
    return {each.part: (each.ok, f"{each.found} → {each.next_step}") for each in found}


def test_the_doctor_finds_nothing_wrong_with_a_fresh_identity(
    tmp_path: Path, authority: TestAuthority
) -> None:
    enrolled(tmp_path / "identity", authority, DEVICE)
    found = findings(configured(tmp_path, authority, "https://x"))
    assert {part: ok for part, (ok, _) in found.items()} == {
        "key": True,
        "certificate": True,
        "claim": True,
    }


def aged(authority: TestAuthority, before_days: float, after_days: float) -> Certificate:
    now = datetime.now(UTC)
    return authority.device(
        DEVICE,
        not_before=now + timedelta(days=before_days),
        not_after=now + timedelta(days=after_days),
    )


WRONG: dict[str, tuple[Callable[[TestAuthority], Certificate], str]] = {
    "expired": (lambda ca: ca.expired(DEVICE), ": expired → make a claim with"),
    "old": (lambda ca: aged(ca, -80, 10), "10.0 days, less than a third of its life → it should"),
    "early": (lambda ca: aged(ca, 1, 90), "begins on .* → set this vehicle's clock"),
    "other": (lambda ca: ca.device("demo-002"), "of demo-002 → give each vehicle its own"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_doctor_says_what_is_wrong_with_a_certificate(
    tmp_path: Path, authority: TestAuthority, name: str
) -> None:
    make, says = WRONG[name]
    holding(tmp_path / "identity", make(authority), authority.ca_pem)
    ok, text = findings(configured(tmp_path, authority, "https://x"))["certificate"]
    assert not ok
    assert re.search(says, text)


def test_the_doctor_checks_the_signature_of_the_authority(
    tmp_path: Path, authority: TestAuthority
) -> None:
    pretender = TestAuthority(tmp_path / "other", "test CA")
    holding(tmp_path / "identity", pretender.device(DEVICE), authority.ca_pem)
    ok, text = findings(configured(tmp_path, authority, "https://x"))["certificate"]
    assert not ok
    assert "is not signed by the authority" in text


def test_the_doctor_sees_a_key_that_others_may_read(
    tmp_path: Path, authority: TestAuthority
) -> None:
    keys = enrolled(tmp_path / "identity", authority, DEVICE)
    (keys.folder / "key.pem").chmod(0o644)
    ok, text = findings(configured(tmp_path, authority, "https://x"))["key"]
    assert not ok
    assert "may be read by others" in text


@pytest.mark.parametrize(("claim", "says"), [("c", "a claim is there"), ("", "there is no claim")])
def test_the_doctor_tells_a_vehicle_that_has_to_enrol(
    tmp_path: Path, authority: TestAuthority, claim: str, says: str
) -> None:
    config = configured(tmp_path, authority, "https://x", claim)
    if not claim:
        config.write_text(config.read_text().replace('claim = ""\n', ""))
    ok, text = findings(config)["identity"]
    assert not ok
    assert says in text
