"""The sandbox provider as its users meet it: a process with an address."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.kit.clock import SystemClock
from simulator.sandbox_payments.bank import Bank

ENVIRONMENT = {"SANDBOX_API_KEY": "key", "SANDBOX_WEBHOOK_SECRET": "secret"}
MODULE = [sys.executable, "-m", "simulator.sandbox_payments"]
HOLD = {"amount_minor": 500, "currency": "EUR", "method": "tok_ok", "reference": "r"}


def a_bank(file: Path) -> tuple[Bank, list[str]]:
    told: list[str] = []
    return Bank(SystemClock(), file, lambda type_, _: told.append(type_)), told


def test_it_remembers_payments_and_keys_across_restarts(tmp_path: Path) -> None:
    bank, told = a_bank(tmp_path / "sandbox.jsonl")
    answer = bank.authorise("a", HOLD)
    payment = bank.payments[answer.body["payment"]]
    captured = bank.capture("b", payment, 300)
    bank.refund("c", payment, 100)
    bank.close()
    again, _ = a_bank(tmp_path / "sandbox.jsonl")
    assert again.repeated("b") == captured
    assert again.payments == bank.payments
    assert again.transactions == bank.transactions
    assert told == ["payment.authorised", "payment.captured", "payment.refunded"]
    again.close()


def test_it_takes_no_more_than_is_held_and_gives_back_no_more_than_was_paid(
    tmp_path: Path,
) -> None:
    bank, _ = a_bank(tmp_path / "sandbox.jsonl")
    payment = bank.payments[bank.authorise("a", HOLD).body["payment"]]
    assert bank.capture("b", payment, 501).status == 422
    assert bank.refund("c", payment, 1).status == 422
    assert bank.capture("d", payment, 500).status == 200
    assert bank.cancel("e", payment, 0).status == 422
    assert bank.capture("f", payment, 1).status == 422
    assert bank.refund("g", payment, 501).status == 422
    assert bank.refund("h", payment, 500).status == 200
    bank.close()


def a_free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.mark.slow
def test_it_serves_whoever_has_the_key_and_its_faults_are_met_once() -> None:
    url = f"http://127.0.0.1:{a_free_port()}"
    command = [*MODULE, "--http", url.removeprefix("http://")]
    server = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT})
    try:
        assert until_answered(url).status_code == 401
        headers = {"Authorization": "Bearer key", "Idempotency-Key": "k"}

        def post(path: str, body: dict[str, Any]) -> httpx.Response:
            return httpx.post(url + path, json=body, headers=headers)

        faults = [{"on": "authorise", "what": "error_after"}]
        assert post("/control", {"faults": faults}).json()["faults"] != []
        assert post("/v1/payments", HOLD).status_code == 500
        kept = post("/v1/payments", HOLD)
        assert kept.status_code == 200
        found = httpx.get(url + "/v1/operations/k", headers=headers)
        assert found.json() == kept.json()
        payment = httpx.get(f"{url}/v1/payments/{kept.json()['payment']}", headers=headers)
        assert payment.json()["held_minor"] == 500
        assert httpx.get(url + "/v1/operations/other", headers=headers).status_code == 404
        headers["Idempotency-Key"] = "another"
        assert post("/v1/payments/pay_none/capture", HOLD).status_code == 404
        assert post("/control", {"surprise": 1}).status_code == 422
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def until_answered(url: str) -> httpx.Response:
    patience = time.monotonic() + 30
    while True:
        try:
            return httpx.post(url + "/control", json={})
        except httpx.TransportError:
            assert time.monotonic() < patience
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "environment", "code", "told"),
    [
        ([], {}, 1, "set SANDBOX_API_KEY"),
        (["--http", "nowhere"], ENVIRONMENT, 2, "not HOST:PORT"),
        (["--help"], {}, 0, "examples:"),
    ],
)
def test_it_says_what_it_needs(
    arguments: list[str], environment: dict[str, str], code: int, told: str
) -> None:
    ran = subprocess.run(
        [*MODULE, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code
    assert told in ran.stdout + ran.stderr
