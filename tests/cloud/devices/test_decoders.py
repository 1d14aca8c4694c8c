"""How a device reads its bus: two files become a version of its twin, and are bounded."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.cli import main
from cloud.devices import staff, twins
from cloud.devices.command_problems import CommandRefusedError
from cloud.devices.decoder_command import DecoderFileError, read_manifest
from cloud.identity import api as identity
from cloud.kit.db import Db, connect
from cloud.kit.ports.signing import FileSigner
from cloud.kit.scope import DEMO
from protocol.commands import DesiredTwin, decode_twin
from protocol.decoders import DBC_CHARACTERS, DecoderManifest, MessageRule, SignalMap, SignalRule
from tests.cloud.devices.commanded import an_able_device

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
DBC = 'VERSION ""\n\nBU_: A\n\nBO_ 800 Pack: 8 A\n SG_ V : 0|16@1+ (0.1,0) [0|0] "°" A\n'
MAP = {
    "main": "Pack",
    "messages": [
        {
            "message": "Pack",
            "signals": [{"signal": "V", "name": "voltage_v", "member": "voltage_v"}],
        }
    ],
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    dbc, signals = tmp_path / "Our Van-2.dbc", tmp_path / "map.json"
    dbc.write_bytes(DBC.encode("latin-1"))
    signals.write_text(json.dumps(MAP))
    return dbc, signals


@pytest.fixture
def device_id(dsn: str) -> str:
    with connect(dsn) as db:
        db.execute("TRUNCATE devices.twin")
        return an_able_device(db, "van-001")


@pytest.fixture
def manifest(files: tuple[Path, Path]) -> DecoderManifest:
    return read_manifest(*files, 1)


def sent(db: Db, device_id: str, folder: Path) -> DesiredTwin:
    keys = FileSigner(folder).public_keys()
    return decode_twin(dict(twins.prepare(db, keys, [], NOON))[device_id])


def test_two_files_are_a_manifest_that_is_called_as_the_dbc_file_is(
    manifest: DecoderManifest,
) -> None:
    assert (manifest.name, manifest.version, manifest.dbc) == ("our_van_2", 1, DBC)
    assert manifest.map.main == "Pack"


def test_it_goes_down_with_the_twin_and_goes_with_it(
    db: Db, device_id: str, manifest: DecoderManifest, tmp_path: Path
) -> None:
    who = staff.console(db, device_id)
    assert twins.set_decoder(db, who, device_id, manifest, NOON) == 1
    assert sent(db, device_id, tmp_path).decoder == manifest
    assert twins.set_decoder(db, who, device_id, None, NOON) == 2
    assert not sent(db, device_id, tmp_path).decoder


def test_other_changes_leave_it_in_place(
    db: Db, device_id: str, manifest: DecoderManifest, tmp_path: Path
) -> None:
    who = staff.console(db, device_id)
    twins.set_decoder(db, who, device_id, manifest, NOON)
    row = twins.twin(db, DEMO, device_id)
    assert row is not None
    assert twins.merge(row.document, {"immobilised": True})["decoder"] == row.document["decoder"]


def test_the_audit_chain_names_it_and_does_not_hold_it(
    db: Db, device_id: str, manifest: DecoderManifest
) -> None:
    twins.set_decoder(db, staff.console(db, device_id), device_id, manifest, NOON)
    rows = db.execute(
        "SELECT detail::text FROM identity.audit ORDER BY seq DESC LIMIT 1"
    ).fetchall()
    assert "our_van_2 1" in rows[0][0]
    assert "SG_" not in rows[0][0]


def test_one_that_fits_into_no_message_is_refused(db: Db, device_id: str) -> None:
    signals = [SignalRule("S" * 64, "n" * 40, plus="P" * 64) for _ in range(32)]
    messages = [MessageRule("M" * 64, signals) for _ in range(32)]
    big = DecoderManifest("big", 1, "\n" * DBC_CHARACTERS, SignalMap("M", messages))
    with pytest.raises(CommandRefusedError, match="KiB") as refused:
        twins.set_decoder(db, staff.console(db, device_id), device_id, big, NOON)
    assert refused.value.fault == "args-refused"
    assert twins.twin(db, DEMO, device_id) is None


def test_a_stranger_has_no_twin(db: Db, manifest: DecoderManifest) -> None:
    with pytest.raises(CommandRefusedError) as refused:
        twins.set_decoder(db, identity.console(DEMO), "nobody-1", manifest, NOON)
    assert refused.value.fault == "device-unknown"


def test_a_file_that_cannot_be_used_is_named(files: tuple[Path, Path]) -> None:
    dbc, signals = files
    signals.write_text('{"main": "Pack"}')
    with pytest.raises(DecoderFileError, match=r"map\.json"):
        read_manifest(dbc, signals, 1)
    signals.write_text("no JSON")
    with pytest.raises(DecoderFileError, match=r"map\.json"):
        read_manifest(dbc, signals, 1)
    signals.write_text(json.dumps(MAP))
    dbc.write_text("x" * (DBC_CHARACTERS + 1))
    with pytest.raises(DecoderFileError, match=r"Our Van-2\.dbc"):
        read_manifest(dbc, signals, 1)


def test_the_command_sets_replaces_and_clears_it(
    dsn: str,
    device_id: str,
    files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_URL", dsn)
    command = ["devices", "decoder", device_id]
    both = ["--dbc", str(files[0]), "--map", str(files[1])]
    assert main([*command, *both]) == 0
    assert "our_van_2 1: version 1 of its twin" in capsys.readouterr().out
    assert main([*command, *both]) == 0
    assert "our_van_2 2: version 2" in capsys.readouterr().out
    assert main([*command, "--clear"]) == 0
    assert "its own decoder: version 3" in capsys.readouterr().out
    for wrong in ([], ["--clear", *both], both[:2]):
        assert main([*command, *wrong]) == 2
    assert main(["devices", "decoder", "nobody-1", *both]) == 1
    assert "nobody-1" in capsys.readouterr().err
