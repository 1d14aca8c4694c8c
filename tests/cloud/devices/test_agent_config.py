"""The configuration an agent starts from."""

import tomllib
from pathlib import Path

import pytest

from cloud.devices.agent_config import Mqtt, render, write


def test_a_configuration_says_device_link_battery_and_journal() -> None:
    text = render(
        "demo-001",
        battery="jbd_uart",
        battery_port='/dev/odd "name"\\x',
        mqtt=Mqtt("127.0.0.1", 18830, "device", "pass\u20acword"),
        file_name="demo-001.toml",
    )
    assert tomllib.loads(text) == {
        "device": {"id": "demo-001"},
        "mqtt": {
            "host": "127.0.0.1",
            "port": 18830,
            "username": "device",
            "password": "pass\u20acword",
        },
        "battery": {"protocol": "jbd_uart", "port": '/dev/odd "name"\\x'},
        "journal": {"path": "demo-001.journal.db", "max_mb": 64},
    }


def test_a_configuration_is_private_and_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    write(path, "one")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write(path, "two")
    path.chmod(0o644)
    write(path, "three", overwrite=True)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("three", 0o600)
