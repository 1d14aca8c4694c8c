"""The doctor: names what is missing and what to do, changes nothing."""

import argparse
import json
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from cloud import doctor
from cloud.kit.clock import SystemClock
from cloud.kit.db import Db, connect
from cloud.kit.events import Event, Subscriber, publish, register
from cloud.kit.nats import EmbeddedNats
from cloud.kit.postgres import EmbeddedPostgres
from cloud.kit.runfile import write_runfile
from cloud.kit.settings import CloudSettings
from tests.broker import OpenNats
from tests.certificates import TestAuthority


class PatientSeen(Event, frozen=True):
    """Something to be delivered, or not, in these tests."""

    TYPE: ClassVar[str] = "tests.patient_seen.v1"
    name: str


def findings(settings: CloudSettings) -> dict[str, doctor.Finding]:
    return {finding.part: finding for finding in doctor.run(settings, [])}


def settings_for(dsn: str, nats: OpenNats, folder: Path) -> CloudSettings:
    return CloudSettings(
        data_dir=folder,
        database_url=dsn,
        nats_url=nats.url_of("ingest"),
        nats_commands_url=nats.url_of("commands"),
        mqtt_host=nats.mqtt_host,
        mqtt_port=nats.mqtt_port,
    )


def refuse(db: Db, event: PatientSeen) -> None:
    raise AssertionError("nobody works in these tests")


def test_without_a_data_folder_it_says_how_to_begin_and_makes_none(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    found = findings(CloudSettings(data_dir=folder))
    assert not folder.exists()
    assert [part for part, finding in found.items() if not finding.ok] == [
        "data folder",
        "postgres",
        "nats",
        "cloud",
    ]
    assert f"mobility-cloud serve --data-dir {folder}" in found["postgres"].next_step


def test_embedded_engines_are_found_by_their_data_folder(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    found = findings(CloudSettings(data_dir=postgres.folder.path))
    assert found["postgres"].ok
    assert not found["nats"].ok
    with EmbeddedNats(tmp_path / "nats") as nats:
        found = findings(CloudSettings(data_dir=nats.folder.path))
    assert not found["postgres"].ok
    assert found["nats"].ok
    assert found["mqtt"].ok
    assert "TLSv1.3" in found["mqtt"].found


def test_a_broker_whose_certificate_is_somebody_elses_is_trouble(
    dsn: str, nats: OpenNats, tmp_path: Path
) -> None:
    TestAuthority(tmp_path / "pki")
    found = findings(settings_for(dsn, nats, tmp_path))
    (mqtt,) = [finding for part, finding in found.items() if part.startswith("mqtt")]
    assert not mqtt.ok
    assert "pki/ca.pem" in mqtt.next_step


def test_missing_migrations_are_counted(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    settings = CloudSettings(data_dir=tmp_path, database_url=postgres.dsn)
    assert "not applied" in findings(settings)["migrations"].found


def test_a_database_and_broker_elsewhere_are_looked_at(
    dsn: str, nats: OpenNats, tmp_path: Path
) -> None:
    found = findings(settings_for(dsn, nats, tmp_path))
    assert [part for part, finding in found.items() if not finding.ok] == ["cloud"]


@pytest.mark.parametrize(
    ("user", "says"), [(None, "is not set"), ("ingest", "permissions violation")]
)
def test_a_broker_that_would_get_no_commands_is_trouble(
    dsn: str, nats: OpenNats, tmp_path: Path, user: str | None, says: str
) -> None:
    url = None if user is None else nats.url_of(user)
    settings = settings_for(dsn, nats, tmp_path).model_copy(update={"nats_commands_url": url})
    found = findings(settings)["nats for commands"]
    assert not found.ok
    assert says in found.found
    assert "user commands" in found.next_step


def test_an_unreachable_database_and_broker_elsewhere_are_named(tmp_path: Path) -> None:
    settings = CloudSettings(
        data_dir=tmp_path,
        database_url="postgresql://127.0.0.1:1/x",
        nats_url="nats://127.0.0.1:1",
        mqtt_port=1,
    )
    found = findings(settings)
    assert "DATABASE_URL" in found["postgres"].next_step
    assert "NATS_URL" in found["nats"].next_step
    assert "MOBILITY_MQTT_HOST" in found["mqtt at 127.0.0.1:1"].next_step


def test_held_and_late_events_are_trouble(dsn: str, nats: OpenNats, tmp_path: Path) -> None:
    event = PatientSeen(tenant="demo", city="demo", name="Ada")
    with connect(dsn) as db:
        register(db, ["tests"], [Subscriber("tests.doctor", (PatientSeen,), refuse)])
        publish(db, event, at=SystemClock().now() - timedelta(hours=1))
        late = findings(settings_for(dsn, nats, tmp_path))["event backlog"]
        db.execute("UPDATE pgqueuer.pgqueuer SET status = 'failed'")
        failed = findings(settings_for(dsn, nats, tmp_path))["held events"]
        db.execute("TRUNCATE pgqueuer.pgqueuer, kit.event, kit.subscription")
    assert (late.ok, late.found[:9]) == (False, "1 waiting")
    assert not failed.ok
    assert "tests.doctor failed on tests.patient_seen.v1 of Ada" in failed.found


def test_a_run_file_whose_cloud_does_not_answer_is_trouble(tmp_path: Path) -> None:
    write_runfile(tmp_path, {"api_url": "http://127.0.0.1:1", "page_url": "http://127.0.0.1:1"})
    found = findings(CloudSettings(data_dir=tmp_path))["cloud"]
    assert not found.ok
    assert "mobility-cloud serve" in found.next_step


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_prints_and_fails_when_something_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    words = argparse.Namespace(data_dir=tmp_path, json=as_json)
    assert doctor.run_command(words, []) == 1
    told = capsys.readouterr().out
    if as_json:
        assert json.loads(told)["ok"] is False
    else:
        assert "Something needs a hand" in told
        assert "→ start it with" in told


def test_all_well_is_said_and_succeeds() -> None:
    well = [doctor.Finding("heart", ok=True, found="beats")]
    assert doctor.report(well, as_json=False) == "ok  heart  beats\nAll is well.\n"


@pytest.mark.parametrize(
    ("name", "words"), [("none", "does not exist"), ("file", "is not a folder")]
)
def test_what_is_no_folder_is_called_what_it_is(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "file").touch()
    found = findings(CloudSettings(data_dir=tmp_path / name))["data folder"]
    assert (found.ok, found.found) == (False, f"{tmp_path / name} {words}")
    assert ("serve" in found.next_step) == (name == "none")


def test_a_folder_of_somebody_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    found = findings(CloudSettings(data_dir=tmp_path))
    assert f"{tmp_path} is no data folder of a cloud" in found["postgres"].found
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
