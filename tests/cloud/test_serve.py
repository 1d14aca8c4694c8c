"""The whole process: routes, errors, the live stream, signals, a second process beside it."""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.devices import api as devices
from cloud.devices.link import connect_link
from cloud.kit.db import connect
from cloud.kit.folder import DataFolder
from cloud.kit.listening import listen
from cloud.kit.settings import DEFAULT_HTTP_PORT, CloudSettings
from cloud.serve import _http
from protocol.messages import Hello, LaneState, encode
from protocol.signals import BY_KEY
from protocol.topics import subject
from tests.broker import OpenNats
from tests.certificates import csr_for
from tests.cloud.sealed import EPOCH_HEX, signals, spoiled
from tests.cloud.signed_in import TOKEN_KEY, bearer

PATIENCE_S = 30

_numbers = itertools.count(1)


class Served:
    """A serving process and where it is."""

    def __init__(self, process: "subprocess.Popen[str]", data_dir: Path) -> None:
        self.process, self.data_dir = process, data_dir
        assert process.stdout is not None
        self.ready = process.stdout.readline()
        self.url = self.ready.split()[1] if self.ready else ""

    def get(self, path: str, **query: str) -> httpx.Response:
        return httpx.get(self.url + path, params=query, headers=bearer(), timeout=PATIENCE_S)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def serving(
    dsn: str, nats: OpenNats, data_dir: Path, *contexts: str, http: str | None = "127.0.0.1:0"
) -> Iterator[Served]:
    command = [sys.executable, "-m", "cloud", "serve", *contexts]
    if http is not None:
        command += ["--http", http]
    with subprocess.Popen(
        [*command, "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(dsn, nats),
    ) as process:
        try:
            yield Served(process, data_dir)
        finally:
            process.kill()


def environment(dsn: str, nats: OpenNats) -> dict[str, str]:
    broker = nats.broker
    return os.environ | {
        "DATABASE_URL": dsn,
        "MOBILITY_TOKEN_KEY": TOKEN_KEY,
        "NATS_URL": broker.ingest_url,
        "NATS_COMMANDS_URL": broker.commands_url,
        "MOBILITY_MQTT_PORT": str(broker.mqtt_port),
    }


@pytest.fixture(scope="module")
def served(dsn: str, nats: OpenNats, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(dsn, nats, tmp_path_factory.mktemp("cloud")) as process:
        yield process


@pytest.fixture
def device(dsn: str, served: Served) -> str:
    """The id of a device of this test alone."""
    assert served.ready
    device_id = f"served-{next(_numbers):03d}"
    with connect(dsn) as db:
        devices.enrol(db, device_id, "jbd_uart", datetime.now(UTC))
    return device_id


async def send(nats: OpenNats, device_id: str, payload: bytes) -> None:
    """Say hello as a device, send a segment and wait for both acks."""
    client = await connect_link(nats.url)
    acks = await client.subscribe(subject(device_id, "ack"))
    hello = Hello("nonce-0001", 0, 1, [LaneState("signal", EPOCH_HEX, 1, 0)], "1.0.0")
    await client.publish(subject(device_id, "status"), encode(hello))
    await acks.next_msg(PATIENCE_S)
    await client.publish(subject(device_id, "up"), payload)
    await acks.next_msg(PATIENCE_S)
    await client.close()


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


@pytest.fixture
async def since(device: str, nats: OpenNats) -> datetime:
    """Let the device report ten readings in ten seconds; return the time of the first."""
    start_ms = now_ms() - 10_000
    columns = {1: [3_612] * 10, 3: [805] * 10}
    await send(nats, device, signals(1, 10, start_ms=start_ms, columns=columns))
    return datetime.fromtimestamp(start_ms / 1000, UTC)


def one(found: list[dict[str, Any]], device_id: str) -> dict[str, Any]:
    (only,) = [row for row in found if row["id"] == device_id]
    return only


@pytest.mark.usefixtures("since")
def test_a_device_shows_its_link_and_what_is_committed(served: Served, device: str) -> None:
    found = one(served.get("/api/v1/devices").json(), device)
    assert (found["battery"], found["connected"], found["gaps"]) == ("jbd_uart", True, 0)
    (lane,) = found["lanes"]
    assert (lane["epoch"], lane["through_seq"], lane["have"]) == (EPOCH_HEX, 10, [])


def until_listed(served: Served, device: str) -> None:
    """Wait for fleet to hear of the device; hold what it enrolled with."""
    for _ in range(100):
        if served.get(f"/api/v1/vehicles/{device}").status_code == 200:
            return


@pytest.mark.usefixtures("since")
def test_a_vehicle_appears_with_its_values(served: Served, device: str) -> None:
    until_listed(served, device)
    found = served.get(f"/api/v1/vehicles/{device}").json()
    assert (found["voltage_v"], found["soc_pct"], found["connected"]) == (36.12, 80.5, True)
    assert one(served.get("/api/v1/vehicles").json(), device).keys() == found.keys()


@pytest.mark.usefixtures("since")
def test_the_last_state_names_signals_units_and_times(served: Served, device: str) -> None:
    found = served.get(f"/api/v1/telemetry/{device}/last").json()
    voltage = found["values"]["Vehicle.Powertrain.TractionBattery.CurrentVoltage"]
    assert (voltage["value"], voltage["unit"]) == (36.12, "V")
    assert datetime.fromisoformat(voltage["at"]).microsecond % 1_000 == 0
    assert voltage["at"].endswith("Z")


@pytest.mark.parametrize("name", ["voltage_v", "Vehicle.Powertrain.TractionBattery.CurrentVoltage"])
def test_a_range_answers_to_both_names_of_a_signal(
    served: Served, device: str, since: datetime, name: str
) -> None:
    span = {"from": since.isoformat(), "to": (since + timedelta(seconds=10)).isoformat()}
    body = served.get(f"/api/v1/telemetry/{device}/range", signal=name, points="5", **span).json()
    assert body["signal"]["key"] == "voltage_v"
    assert [(point["count"], point["mean"]) for point in body["points"]] == [(2, 36.12)] * 5


@pytest.mark.parametrize(
    ("path", "query", "status", "words"),
    [
        ("/api/v1/vehicles/nobody", {}, 404, "lists those that are"),
        ("/api/v1/telemetry/nobody/last", {}, 404, "not enrolled"),
        ("/api/v1/telemetry/nobody/range", {"signal": "soc_pct"}, 404, "not enrolled"),
        ("/api/v1/telemetry/DEVICE/range", {"signal": "luck"}, 422, "'luck'"),
        ("/api/v1/telemetry/DEVICE/range", {}, 422, "signal"),
        ("/api/v1/telemetry/DEVICE/range", {"signal": "soc_pct", "points": "0"}, 422, "points"),
        (
            "/api/v1/telemetry/DEVICE/range",
            {"signal": "soc_pct", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
            422,
            "later than",
        ),
        ("/api/v1/live", {"vehicle": "nope"}, 404, "lists those that are"),
        ("/api/v1/live", {"vehicle": "\0"}, 422, "vehicle"),
        ("/api/v1/nothing", {}, 404, "/docs"),
    ],
)
def test_errors_are_problem_documents_that_say_what_to_do(
    served: Served, device: str, path: str, query: dict[str, str], status: int, words: str
) -> None:
    path = path.replace("DEVICE", device)
    answer = served.get(path, **query)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert words in problem["detail"]
    assert problem["instance"] == path


@pytest.mark.usefixtures("since")
async def test_the_live_stream_shows_all_vehicles_and_then_a_change(
    served: Served, device: str, nats: OpenNats
) -> None:
    until_listed(served, device)
    async with (
        httpx.AsyncClient(base_url=served.url, headers=bearer(), timeout=PATIENCE_S) as client,
        client.stream("GET", "/api/v1/live", params={"vehicle": device}) as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.aiter_lines()
        first = await next_vehicle(lines)
        assert (first["id"], first["voltage_v"]) == (device, 36.12)
        await send(nats, device, signals(11, 1, start_ms=now_ms(), columns={1: [4_044]}))
        while (found := await next_vehicle(lines))["voltage_v"] != 40.44:
            assert found["id"] == device
        listed = served.get(f"/api/v1/vehicles/{device}").json()
        assert found.keys() == listed.keys()


@pytest.mark.usefixtures("since")
async def test_numbers_are_written_alike_everywhere(
    served: Served, device: str, nats: OpenNats
) -> None:
    until_listed(served, device)
    cycles = BY_KEY["cycles"]
    columns = {cycles.id: [181], BY_KEY["voltage_v"].id: [3_600]}
    await send(nats, device, signals(11, 1, start_ms=now_ms(), columns=columns))
    async with (
        httpx.AsyncClient(base_url=served.url, headers=bearer(), timeout=PATIENCE_S) as client,
        client.stream("GET", "/api/v1/live", params={"vehicle": device}) as stream,
    ):
        streamed = await next_vehicle(stream.aiter_lines())
    listed = one(served.get("/api/v1/vehicles").json(), device)
    last = served.get(f"/api/v1/telemetry/{device}/last").json()["values"][cycles.name]["value"]
    (point,) = served.get(f"/api/v1/telemetry/{device}/range", signal="cycles").json()["points"]
    numbers = [streamed["values"][cycles.name], listed["values"][cycles.name], last, point["max"]]
    assert json.dumps(numbers) == "[181, 181, 181, 181]"
    assert json.dumps([streamed["voltage_v"], listed["voltage_v"]]) == "[36.0, 36.0]"


@pytest.mark.usefixtures("since")
def test_head_works_wherever_get_does(served: Served, device: str) -> None:
    until_listed(served, device)
    style = re.findall(r'"(/static/[^"]+/app\.css)"', served.get("/").text)
    paths = ["/", "/docs", f"/vehicles/{device}", *style, "/openapi.json"]
    paths += ["/healthz", "/readyz", "/metrics", "/api/v1/devices", "/api/v1/vehicles"]
    paths += [f"/api/v1/vehicles/{device}", f"/api/v1/telemetry/{device}/last"]
    paths += [f"/api/v1/telemetry/{device}/range?signal=soc_pct", "/api/v1/live"]
    assert style
    with httpx.Client(base_url=served.url, headers=bearer(), timeout=5) as client:
        found = {path: client.head(path).status_code for path in paths}
        assert found == dict.fromkeys(paths, 200)
        assert client.head("/vehicles/nobody").status_code == 404


def api_description(served: Served) -> dict[str, dict[str, Any]]:
    """Return the paths of the API's description."""
    return dict(served.get("/openapi.json").json()["paths"])


async def next_vehicle(lines: Any) -> dict[str, Any]:
    event = ""
    async for line in lines:
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: ") and event == "vehicle":
            return dict(json.loads(line.removeprefix("data: ")))
    raise EOFError


@pytest.mark.usefixtures("since")
def test_health_readiness_and_figures_are_there(served: Served) -> None:
    assert served.get("/healthz").json() == {"status": "ok"}
    assert served.get("/readyz").json()["checks"] == {"postgres": "ok", "nats": "ok"}
    figures = served.get("/metrics").text
    for name in ("readings_committed_total", "ack_lag_seconds_count", "connected_devices"):
        assert f"\nmobility_{name} " in figures
    assert 'mobility_segments_total{outcome="new"}' in figures


def test_the_description_of_the_api_lists_every_route(served: Served) -> None:
    paths = api_description(served)
    assert {
        "/api/v1/devices",
        "/api/v1/live",
        "/api/v1/telemetry/{device_id}/last",
        "/api/v1/telemetry/{device_id}/range",
        "/api/v1/vehicles",
        "/api/v1/vehicles/{vehicle_id}",
    } <= set(paths)
    assert served.get("/docs").status_code == 200


def test_scripts_find_addresses_and_logins_while_it_serves(
    dsn: str, nats: OpenNats, tmp_path: Path
) -> None:
    with serving(dsn, nats, tmp_path, "fleet", "pages") as process:
        told = json.loads((tmp_path / "cloud.json").read_text())
        assert told["page_url"] == process.url + "/"
        assert told["postgres_dsn"] == dsn
        assert told["mqtt"] == {"host": nats.mqtt_host, "port": nats.mqtt_port}
        assert (tmp_path / "cloud.json").stat().st_mode & 0o777 == 0o600
        assert process.get("/api/v1/telemetry/x/last").status_code == 404
        assert process.stop() == 0
    assert not (tmp_path / "cloud.json").exists()


def test_a_device_enrols_where_the_running_cloud_says(
    dsn: str, served: Served, device: str
) -> None:
    told = json.loads((served.data_dir / "cloud.json").read_text())
    with connect(dsn) as db:
        claim = devices.make_claim(db, device, datetime.now(UTC)).claim
    trusting = ssl.create_default_context(cafile=told["ca_file"])
    body = {"device_id": device, "claim": claim, "csr": csr_for(device)}
    with httpx.Client(verify=trusting, timeout=PATIENCE_S) as client:
        answer = client.post(told["device_https"] + "/device/enrol", json=body)
    assert answer.status_code == 201
    assert answer.json()["mqtt"] == told["mqtt"]
    assert answer.json()["ca"] == Path(told["ca_file"]).read_text()


def test_no_device_enrols_where_devices_does_not_run(
    dsn: str, nats: OpenNats, tmp_path: Path
) -> None:
    with serving(dsn, nats, tmp_path, "fleet") as process:
        assert "device_https" not in json.loads((tmp_path / "cloud.json").read_text())
        assert process.stop() == 0


def test_a_port_for_devices_that_is_taken_is_told(dsn: str, nats: OpenNats, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "cloud", "serve", "--data-dir", str(tmp_path)]
        done = subprocess.run(
            [*command, "--http", "127.0.0.1:0", "--device-https", where],
            env=environment(dsn, nats),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "choose another with --device-https HOST:PORT" in done.stderr


def test_a_request_that_never_ends_is_not_waited_for(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as slow:
        slow.sendall(b"POST /api/v1/auth/token HTTP/1.1\r\ncontent-length: 1000001\r\n\r\n")
        assert slow.recv(12) == b"HTTP/1.1 413"


def test_one_more_worker_may_serve_beside_the_first(
    dsn: str, nats: OpenNats, served: Served
) -> None:
    told = (served.data_dir / "cloud.json").read_text()
    with serving(dsn, nats, served.data_dir, "devices", "telemetry") as worker:
        assert worker.get("/readyz").json()["status"] == "ready"
        assert worker.get("/api/v1/vehicles").status_code == 404
        assert worker.stop() == 0
    assert (served.data_dir / "cloud.json").read_text() == told


def test_ctrl_c_ends_it_with_an_open_live_stream(dsn: str, nats: OpenNats, tmp_path: Path) -> None:
    with serving(dsn, nats, tmp_path, "fleet") as process:
        url = process.url + "/api/v1/live"
        with httpx.stream("GET", url, headers=bearer(), timeout=PATIENCE_S) as stream:
            assert stream.status_code == 200
            assert process.stop(signal.SIGINT) == 130
        assert process.process.stderr is not None
        assert "Traceback" not in process.process.stderr.read()


def test_a_busy_port_is_one_sentence(dsn: str, nats: OpenNats, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = f"127.0.0.1:{taken.getsockname()[1]}"
        with serving(dsn, nats, tmp_path, http=http) as process:
            assert process.process.wait(PATIENCE_S) == 1
            assert process.process.stderr is not None
            (line,) = process.process.stderr.read().splitlines()
    assert f"cannot listen on {http}" in line
    assert "--http" in line


def test_a_context_that_does_not_exist_is_a_usage_error(
    dsn: str, nats: OpenNats, tmp_path: Path
) -> None:
    with serving(dsn, nats, tmp_path, "flet") as process:
        assert process.process.wait(PATIENCE_S) == 2
        assert process.process.stderr is not None
        assert "identity, devices, telemetry, fleet, payments" in process.process.stderr.read()


async def test_quarantined_segments_are_counted_where_people_look(
    served: Served, device: str, nats: OpenNats
) -> None:
    await send(nats, device, spoiled(signals(1, 100)))
    assert one(served.get("/api/v1/devices").json(), device)["quarantined"] == 1


def test_two_clouds_started_at_once_without_an_address_find_one_each(
    dsn: str, nats: OpenNats, tmp_path: Path
) -> None:
    def start(name: str) -> contextlib.AbstractContextManager[Served]:
        return serving(dsn, nats, tmp_path / name, "fleet", http=None)

    with ThreadPoolExecutor() as threads, contextlib.ExitStack() as stack:
        found = list(threads.map(stack.enter_context, map(start, ("one", "two", "three"))))
        ports = [DataFolder(each.data_dir).ports("http")["port"] for each in found]
        assert [each.url for each in found] == [f"http://127.0.0.1:{port}" for port in ports]
        assert len(set(ports)) == 3
        assert min(ports) >= DEFAULT_HTTP_PORT


def test_a_port_lost_between_choice_and_use_is_stepped_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as faster:
        lost = faster.getsockname()[1]
        offered = iter([lost, 0])
        monkeypatch.setattr(
            DataFolder, "choose_ports", lambda *_: {"port": next(offered)}, raising=True
        )
        with listen(tmp_path, _http(CloudSettings(data_dir=tmp_path)), first=True) as listener:
            assert listener.getsockname()[1] != lost


def test_a_process_beside_the_first_leaves_its_port_alone(tmp_path: Path) -> None:
    settings = CloudSettings(data_dir=tmp_path)
    wanted = _http(settings)
    with (
        listen(tmp_path, wanted, first=True) as first,
        listen(tmp_path, wanted, first=False) as beside,
    ):
        assert first.getsockname() != beside.getsockname()
        assert DataFolder(tmp_path).ports("http") == {"port": first.getsockname()[1]}
