"""The configuration an agent starts from."""

import tomllib
from pathlib import Path

import pytest

from cloud.devices.agent_config import Controller, Identity, Mqtt, render, write

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def test_a_configuration_says_device_link_battery_and_journal() -> None:
    text = render(
        "demo-001",
        battery="jbd_uart",
        battery_port='/dev/odd "name"\\x',
        mqtt=Mqtt("127.0.0.1", 18830),
        identity=Identity("https://127.0.0.1:8443", "a-claim", CA),
        file_name="demo-001.toml",
    )
    assert tomllib.loads(text) == {
        "device": {"id": "demo-001"},
        "mqtt": {
            "host": "127.0.0.1",
            "port": 18830,
        },
        "identity": {
            "folder": "demo-001.identity",
            "enrol_url": "https://127.0.0.1:8443",
            "claim": "a-claim",
            "ca": CA,
        },
        "battery": {"protocol": "jbd_uart", "port": '/dev/odd "name"\\x'},
        "journal": {"path": "demo-001.journal.db", "max_mb": 64},
    }


def test_a_configuration_names_controller_and_receiver_when_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "demo-001.toml"
    text = render(
        "demo-001",
        battery="jbd_uart",
        battery_port="/dev/ttyUSB0",
        mqtt=Mqtt("127.0.0.1", 18830),
        identity=Identity("https://127.0.0.1:8443", "a-claim", CA),
        file_name=path.name,
        controller=Controller("lock_unit", "/dev/ttyUSB1"),
        gnss_port="/dev/ttyUSB2",
    )
    write(path, text)
    assert tomllib.loads(text)["controller"] == {"protocol": "lock_unit", "port": "/dev/ttyUSB1"}
    assert tomllib.loads(text)["gnss"] == {"port": "/dev/ttyUSB2"}


def test_the_configuration_of_a_dock_names_its_charger_and_no_battery(
    tmp_path: Path,
) -> None:
    path = tmp_path / "dock-001.toml"
    text = render(
        "dock-001",
        battery="dock_unit",
        battery_port="/dev/ttyUSB0",
        mqtt=Mqtt("127.0.0.1", 18830),
        identity=Identity("https://127.0.0.1:8443", "a-claim", CA),
        file_name=path.name,
    )
    write(path, text)
    found = tomllib.loads(text)
    assert found["device"] == {"id": "dock-001", "profile": "dock"}
    assert found["charger"] == {"protocol": "dock_unit", "port": "/dev/ttyUSB0"}
    assert "battery" not in found


def test_a_device_that_has_its_certificate_needs_no_claim() -> None:
    text = render(
        "demo-001",
        battery="jbd_uart",
        battery_port="/dev/ttyUSB0",
        mqtt=Mqtt("127.0.0.1", 18830),
        identity=Identity("https://127.0.0.1:8443", None, CA, folder="elsewhere"),
        file_name="demo-001.toml",
    )
    found = tomllib.loads(text)["identity"]
    assert found == {"folder": "elsewhere", "enrol_url": "https://127.0.0.1:8443", "ca": CA}


def test_what_is_no_certificate_is_not_written_into_a_configuration() -> None:
    with pytest.raises(ValueError, match="no PEM"):
        render(
            "demo-001",
            battery="jbd_uart",
            battery_port="/dev/ttyUSB0",
            mqtt=Mqtt("127.0.0.1", 18830),
            identity=Identity("https://127.0.0.1:8443", "a-claim", "'''"),
            file_name="demo-001.toml",
        )


def test_a_configuration_is_private_and_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    write(path, "one")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write(path, "two")
    path.chmod(0o644)
    write(path, "three", overwrite=True)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("three", 0o600)
