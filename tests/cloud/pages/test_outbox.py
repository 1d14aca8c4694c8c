"""The demo's outbox: this machine sees it, nobody else does, and what lies in it is harmless."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from cloud.kit.clock import ManualClock
from cloud.kit.db import Pool, open_pool
from cloud.kit.ports.mail import OutboxMail
from tests.cloud.pages.parts import an_app

LINK = "http://127.0.0.1:8080/verify#token=abc"


@pytest.fixture
def app(dsn: str, clock: ManualClock, tmp_path: Path) -> Iterator[FastAPI]:
    pool: Pool
    with open_pool(dsn, max_size=2) as pool:
        app = an_app(pool, clock)
        app.state.outbox = tmp_path
        mail = OutboxMail(tmp_path, clock)
        text = f"Hello <script>alert(1)</script>\n{LINK}\njavascript:alert(2)\n"
        mail.send("ada@example.org", "Confirm <b>", text, about=uuid4())
        (tmp_path / "broken.eml").write_bytes(b"\xff\xfe")
        yield app


async def ask(app: FastAPI, host: str, headers: dict[str, str], client: str) -> httpx.Response:
    transport = httpx.ASGITransport(app, client=(client, 4711))
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as browser:
        return await browser.get("/outbox", headers=headers)


async def test_this_machine_reads_the_mail_with_its_link(app: FastAPI) -> None:
    answer = await ask(app, "127.0.0.1:8080", {}, "127.0.0.1")
    assert answer.status_code == 200
    assert f'<a href="{LINK}">' in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "<script>alert" not in answer.text
    assert 'href="javascript' not in answer.text


@pytest.mark.parametrize(
    ("host", "headers", "client"),
    [
        ("127.0.0.1:8080", {}, "192.0.2.1"),
        ("rides.example.org", {}, "127.0.0.1"),
        ("localhost", {"X-Forwarded-For": "192.0.2.1"}, "127.0.0.1"),
        ("localhost", {"Forwarded": "for=192.0.2.1"}, "127.0.0.1"),
    ],
)
async def test_whoever_comes_from_elsewhere_finds_no_such_page(
    app: FastAPI, host: str, headers: dict[str, str], client: str
) -> None:
    answer = await ask(app, host, headers, client)
    assert answer.status_code == 404
    assert "ada@example.org" not in answer.text


async def test_a_cloud_with_a_mail_server_has_no_outbox(app: FastAPI) -> None:
    app.state.outbox = None
    assert (await ask(app, "localhost", {}, "127.0.0.1")).status_code == 404
