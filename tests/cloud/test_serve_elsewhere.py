"""How a serving process meets brokers and vehicles elsewhere: names, and the user for commands."""

import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.broker import OpenNats
from tests.cloud.test_serve import PATIENCE_S, environment, serving


def test_vehicles_on_other_machines_find_the_name_they_are_told(
    dsn: str, nats: OpenNats, tmp_path: Path
) -> None:
    env = environment(dsn, nats) | {"NATS_URL": ""}
    command = [sys.executable, "-m", "cloud", "serve", "devices", "--data-dir", str(tmp_path)]
    listens = ["--http", "127.0.0.1:0", "--device-https", "0.0.0.0:0"]
    told_to = ["--broker-host", "cloud.example", "--broker-host", "192.0.2.7"]
    with subprocess.Popen(
        [*command, *listens, *told_to], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        told = json.loads((tmp_path / "cloud.json").read_text())
        assert told["mqtt"]["host"] == "cloud.example"
        assert told["device_https"].startswith("https://cloud.example:")
        context = ssl.create_default_context(cafile=told["ca_file"])
        for port in (told["mqtt"]["port"], int(told["device_https"].rpartition(":")[2])):
            for name in ("cloud.example", "192.0.2.7"):
                assert is_called(port, name, context)
            assert not is_called(port, "other.example", context)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def is_called(port: int, name: str, context: ssl.SSLContext) -> bool:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name):
                return True
        except ssl.SSLCertVerificationError:
            return False


@pytest.mark.parametrize(
    ("commands", "exit_code", "says"),
    [("", 2, "NATS_URL alone receives"), ("ingest", 1, "lets this user send no commands")],
    ids=["not told", "another user's"],
)
def test_a_broker_that_would_get_no_commands_is_told_at_the_start(
    dsn: str, nats: OpenNats, tmp_path: Path, commands: str, exit_code: int, says: str
) -> None:
    url = nats.url_of(commands) if commands else ""
    command = [sys.executable, "-m", "cloud", "serve", "devices", "--data-dir", str(tmp_path)]
    done = subprocess.run(
        [*command, "--http", "127.0.0.1:0"],
        env=environment(dsn, nats) | {"NATS_COMMANDS_URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * PATIENCE_S,
    )
    assert done.returncode == exit_code
    assert says in done.stderr
    assert "NATS_COMMANDS_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_sends_no_commands_needs_no_user_for_them(
    dsn: str, nats: OpenNats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_COMMANDS_URL", "")
    with serving(dsn, nats, tmp_path, "fleet") as process:
        assert process.ready
        assert process.stop() == 0
