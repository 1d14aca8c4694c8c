"""Who gets in, who is cut off: handshakes, deadlines, sizes. Each with its twin."""

import asyncio
import contextlib
import json
import ssl
import stat
import warnings
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certificates import TestAuthority, client_context, csr_for
from tests.cloud.devices.conftest import eventually
from tests.cloud.devices.door import (
    CLOCK,
    DAY,
    House,
    Identity,
    Serve,
    counted,
    problem,
    raw,
)

# The handshake.


async def test_an_expired_certificate_does_not_get_in(house: House) -> None:
    key, before = ec.generate_private_key(ec.SECP256R1()), counted("https", "expired_certificate")
    past = CLOCK.now() - 2 * DAY
    issued = house.authority.issue_device(csr_for("demo-001", key), "demo-001", "demo", past, DAY)
    with pytest.raises(httpx.TransportError):
        await house.post("renew", {}, Identity(issued, key, house.folder))
    await eventually(lambda: counted("https", "expired_certificate") == before + 1)


async def test_a_certificate_of_another_authority_does_not_get_in(
    house: House, tmp_path: Path
) -> None:
    before = counted("https", "foreign_certificate")
    with pytest.raises(httpx.TransportError):
        await house.post("renew", {}, TestAuthority(tmp_path / "other").device("demo-001"))
    await eventually(lambda: counted("https", "foreign_certificate") == before + 1)


async def test_a_servers_certificate_is_no_devices(house: House) -> None:
    files = house.authority.server("broker", [], CLOCK.now())
    context = house.trusting()
    context.load_cert_chain(files.certificate, files.key)
    with pytest.raises(httpx.TransportError):
        async with httpx.AsyncClient(base_url=house.url, verify=context) as client:
            await client.post("/device/renew", json={})


async def test_a_client_that_trusts_another_authority_does_not_talk_to_us(
    house: House, tmp_path: Path
) -> None:
    stranger = client_context(TestAuthority(tmp_path / "other").ca_file)
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(base_url=house.url, verify=stranger) as client:
            await client.get("/device/enrol")


async def test_plain_http_on_the_tls_port_is_cut(house: House) -> None:
    before = counted("https", "plain_http")
    answer = await raw(house, b"POST /device/enrol HTTP/1.1\r\nhost: x\r\n\r\n", tls=None)
    assert b"HTTP/1.1" not in answer
    await eventually(lambda: counted("https", "plain_http") == before + 1)
    assert (await house.enrol(house.claim())).status_code == 201


async def test_tls_older_than_1_2_is_refused(house: House) -> None:
    context = house.trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", house.port, ssl=context)
    twin = house.trusting()
    twin.maximum_version = ssl.TLSVersion.TLSv1_2
    _, writer = await asyncio.open_connection("127.0.0.1", house.port, ssl=twin)
    writer.close()
    await writer.wait_closed()


async def test_a_certificate_is_checked_anew_on_each_connection(house: House) -> None:
    identity = house.identity()
    context = house.trusting(identity)
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port, ssl=context)
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        writer.write(b"GET /device/x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await reader.read()
        assert not tls.session_reused
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


# Who holds a connection open, and who sends too much.


async def test_a_handshake_that_never_ends_is_cut(serve: Serve) -> None:
    before = counted("https", "slow_handshake")
    async with serve(handshake_s=0.2) as house:
        assert await raw(house, b"\x16\x03\x01", tls=None) == b""
        await eventually(lambda: counted("https", "slow_handshake") == before + 1)
        assert (await house.enrol(house.claim())).status_code == 201


async def test_a_head_that_never_ends_is_cut(serve: Serve) -> None:
    before = counted("https", "slow_head")
    async with serve(head_s=0.3) as house:
        answer = await raw(house, b"POST /device/enrol HTTP/1.1\r\nx: ", tls=house.trusting())
        assert answer.startswith(b"HTTP/1.1 408")
        await eventually(lambda: counted("https", "slow_head") == before + 1)
        assert (await house.enrol(house.claim())).status_code == 201


async def test_a_head_that_drips_is_cut_at_the_same_time(serve: Serve) -> None:
    async with serve(head_s=0.3) as house:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", house.port, ssl=house.trusting()
        )
        writer.write(b"POST /device/enrol HTTP/1.1\r\n")

        async def drip() -> None:
            while True:
                writer.write(b"x: 1\r\n")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
        dripping.cancel()
        writer.close()


async def test_a_connection_that_says_nothing_is_closed(serve: Serve) -> None:
    async with serve(head_s=0.2) as house:
        assert await raw(house, tls=house.trusting()) == b""


async def test_line_ends_do_not_keep_a_connection_open(serve: Serve) -> None:
    async with serve(head_s=0.3) as house:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", house.port, ssl=house.trusting()
        )
        writer.write(b"GET /device/x HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await reader.readuntil(b'/device/x"}')).startswith(b"HTTP/1.1 404")
        writer.write(b"\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_body_that_never_ends_is_cut(serve: Serve) -> None:
    before = counted("https", "slow_body")
    async with serve(body_s=0.3) as house:
        head = b"POST /device/enrol HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"
        answer = await raw(house, head, tls=house.trusting())
        assert answer.startswith(b"HTTP/1.1 408")
        await eventually(lambda: counted("https", "slow_body") == before + 1)
        assert (await house.enrol(house.claim())).status_code == 201


@pytest.mark.parametrize("told", [True, False], ids=["told", "chunked"])
async def test_a_body_that_is_too_large_is_refused(house: House, told: bool) -> None:
    before = counted("https", "large_body")
    head = b"POST /device/enrol HTTP/1.1\r\nhost: x\r\n"
    if told:
        parts = [head + b"content-length: 65537\r\n\r\n"]
    else:
        parts = [head + b"transfer-encoding: chunked\r\n\r\n", b"10001\r\n" + b"x" * 0x10001]
    answer = await raw(house, *parts, tls=house.trusting())
    assert answer.startswith(b"HTTP/1.1 413") or not told
    await eventually(lambda: counted("https", "large_body") == before + 1)


async def test_a_body_of_just_the_limit_is_read(house: House) -> None:
    body = json.dumps({"device_id": "demo-001", "claim": "x", "csr": csr_for("demo-001")})
    async with house.client() as client:
        full = body.ljust(64 * 1024)
        answer = await client.post(
            "/device/enrol", content=full, headers={"content-type": "application/json"}
        )
    assert problem(answer) == (403, "claim-unknown")


async def test_a_head_that_is_too_large_is_refused(house: House) -> None:
    before = counted("https", "large_head")
    parts = [b"GET / HTTP/1.1\r\n", *[b"x: " + b"y" * 8_000 + b"\r\n"] * 5]
    await raw(house, *parts, tls=house.trusting())
    await eventually(lambda: counted("https", "large_head") == before + 1)


async def test_more_connections_than_allowed_are_closed_at_once(serve: Serve) -> None:
    before = counted("https", "too_many")
    async with serve(connections=1) as house:
        _, first = await asyncio.open_connection("127.0.0.1", house.port, ssl=house.trusting())
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await asyncio.open_connection("127.0.0.1", house.port, ssl=house.trusting())
        await eventually(lambda: counted("https", "too_many") == before + 1)
        first.close()
        with contextlib.suppress(OSError):
            await first.wait_closed()


async def test_a_refusal_is_told_once_a_minute_and_counted_each_time(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("enrol", "claim_unknown")
    for _ in range(3):
        await house.enrol("invented")
    assert counted("enrol", "claim_unknown") == before + 3
    told = [record for record in caplog.records if "claim unknown" in record.getMessage()]
    assert len(told) == 1


async def test_nothing_else_is_behind_the_listener(house: House) -> None:
    async with house.client(house.identity()) as client:
        for path in ("/", "/docs", "/openapi.json", "/api/v1/devices", "/metrics"):
            assert (await client.get(path)).status_code == 404
    assert stat.S_IMODE((house.folder / "pki" / "ca.key").stat().st_mode) == 0o600


async def test_a_renewed_server_certificate_is_shown_without_a_restart(house: House) -> None:
    async def shown() -> bytes | None:
        context = house.trusting()
        _, writer = await asyncio.open_connection("127.0.0.1", house.port, ssl=context)
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return der

    first = await shown()
    assert not house.listener.renew_certificate()
    assert await shown() == first
    (house.folder / "pki" / "https.pem").unlink()
    assert house.listener.renew_certificate()
    assert await shown() != first
