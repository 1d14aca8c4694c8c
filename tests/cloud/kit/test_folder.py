"""The data folder, the settings and the run file."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from cloud.kit.folder import DataFolder, port_is_free, write_private
from cloud.kit.runfile import AlreadyServedError, only_server, read_runfile, write_runfile
from cloud.kit.settings import CloudSettings, host_and_port


def test_a_secret_stays_the_same_and_is_private(tmp_path: Path) -> None:
    first = DataFolder(tmp_path / "data").secret("door")
    assert DataFolder(tmp_path / "data").secret("door") == first
    assert DataFolder(tmp_path / "data").secret("window") != first
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_many_askers_get_the_same_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as askers:
        found = set(askers.map(lambda _: DataFolder(tmp_path).secret("door"), range(32)))
    assert len(found) == 1


def test_a_broken_secrets_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(ValueError, match=r"secrets\.json is not JSON; restore it"):
        DataFolder(tmp_path).secret("door")


def test_ports_differ_step_around_busy_ones_and_are_kept(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        busy = squatter.getsockname()[1]
        assert not port_is_free(busy)
        chosen = folder.choose_ports("engine", {"one": busy, "two": busy})
    assert busy not in chosen.values()
    assert chosen["one"] != chosen["two"]
    assert folder.choose_ports("engine", {"one": 1, "two": 2}) == chosen
    assert folder.ports("engine") == chosen


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    write_private(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "found"),
    [("Gr\u00fc\u00dfe\r\n", b"Gr\xc3\xbc\xc3\x9fe\r\n"), (b"\xff\r\n\x00", b"\xff\r\n\x00")],
)
def test_text_is_written_as_utf_8_and_bytes_as_they_are(
    tmp_path: Path, content: str | bytes, found: bytes
) -> None:
    write_private(tmp_path / "notes", content)
    assert (tmp_path / "notes").read_bytes() == found


def test_the_run_file_is_there_while_serving_and_private(tmp_path: Path) -> None:
    assert read_runfile(tmp_path) is None
    with only_server(tmp_path):
        write_runfile(tmp_path, {"page_url": "http://127.0.0.1:1/"})
        assert read_runfile(tmp_path) == {"page_url": "http://127.0.0.1:1/"}
        assert (tmp_path / "cloud.json").stat().st_mode & 0o777 == 0o600
    assert read_runfile(tmp_path) is None


_SECOND_SERVER = """
import sys
from pathlib import Path
from cloud.kit.runfile import only_server
with only_server(Path(sys.argv[1])): pass
"""


def test_a_folder_has_one_serving_cloud(tmp_path: Path) -> None:
    with only_server(tmp_path):
        other = subprocess.run(
            [sys.executable, "-c", _SECOND_SERVER, tmp_path],
            capture_output=True,
            text=True,
            check=False,
        )
        with pytest.raises(AlreadyServedError, match="stop it first or choose another --data-dir"):
            only_server(tmp_path).__enter__()
    assert "AlreadyServedError" in other.stderr
    with only_server(tmp_path):
        pass


def test_the_left_over_run_file_of_a_killed_cloud_goes(tmp_path: Path) -> None:
    write_runfile(tmp_path, {"page_url": "http://127.0.0.1:1/"})
    with only_server(tmp_path):
        assert read_runfile(tmp_path) is None


def test_settings_come_from_the_environment_and_the_command_line_wins() -> None:
    settings = CloudSettings.from_env(
        {
            "DATABASE_URL": "postgresql://db/x",
            "MOBILITY_DATA_DIR": "/somewhere",
            "MOBILITY_HTTP": "0.0.0.0:0",
            "MOBILITY_LOG": "json",
        },
        data_dir=Path("/elsewhere"),
        http_host=None,
    )
    assert settings == CloudSettings(
        database_url="postgresql://db/x",
        data_dir=Path("/elsewhere"),
        http_host="0.0.0.0",
        http_port=0,
        log_json=True,
    )
    assert settings.external_broker() is None


def test_an_empty_environment_means_everything_embedded() -> None:
    settings = CloudSettings.from_env({"DATABASE_URL": "", "NATS_URL": ""})
    assert settings == CloudSettings()
    assert (settings.database_url, settings.nats_url) == (None, None)


def test_a_foreign_broker_is_described_by_the_environment() -> None:
    broker = CloudSettings.from_env(
        {
            "NATS_URL": "nats://cloud:x@broker:4222",
            "MOBILITY_MQTT_HOST": "broker",
            "MOBILITY_MQTT_PORT": "8883",
            "NATS_COMMANDS_URL": "nats://commands:y@broker:4222",
        }
    ).external_broker()
    assert broker is not None
    assert (broker.mqtt_host, broker.mqtt_port) == ("broker", 8883)
    assert broker.commands_url == "nats://commands:y@broker:4222"


def test_nonsense_in_the_environment_is_refused() -> None:
    with pytest.raises(ValidationError, match="mqtt_port"):
        CloudSettings.from_env({"MOBILITY_MQTT_PORT": "many"})


@pytest.mark.parametrize("text", ["8080", ":8080", "host:", "host:port", "host:70000"])
def test_an_address_must_be_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not HOST:PORT; write for example"):
        host_and_port(text)


def test_an_ipv6_address_loses_its_brackets() -> None:
    assert host_and_port("[::1]:80") == ("::1", 80)
