"""Who is let in, by the claims alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud.devices.gate_rules import (
    Asked,
    NotAdmittedError,
    admit,
    identify,
    permissions_of,
    read_request,
)
from cloud.devices.store.certificates import CertificateRow
from tests.certificates import Certificate, TestAuthority

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    return TestAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def shown(authority: TestAuthority) -> Certificate:
    return authority.device("bike-7")


def asked(certificate: str, *, client_id: str = "bike-7", kind: str = "mqtt") -> Asked:
    return Asked(
        "reply", "NAAA", "UAAA", 1_790_000_000, kind, "203.0.113.9", client_id, certificate
    )


def a_row(shown: Certificate, **changes: Any) -> CertificateRow:
    found: dict[str, Any] = {
        "serial": shown.serial_hex,
        "device_id": "bike-7",
        "tenant": "demo",
        "city": "demo",
        "fingerprint": shown.fingerprint,
        "issued_at": NOW,
        "not_before": NOW,
        "not_after": shown.not_after,
        "revoked_at": None,
        "revoked_reason": None,
    }
    return CertificateRow(**{**found, **changes})


def reason(trouble: pytest.ExceptionInfo[NotAdmittedError]) -> str:
    return trouble.value.reason


def test_a_known_certificate_is_admitted_until_it_ends(shown: Certificate) -> None:
    who = identify(asked(shown.pem))
    assert (who.device_id, who.fingerprint) == ("bike-7", shown.fingerprint)
    assert admit(who, a_row(shown), NOW) == shown.not_after


@pytest.mark.parametrize("client_id", ["bike-8", "", "BIKE-7", "bike-7 ", "bike-7\x00", "+"])
def test_the_client_id_must_be_the_certificates(shown: Certificate, client_id: str) -> None:
    with pytest.raises(NotAdmittedError) as refused:
        identify(asked(shown.pem, client_id=client_id))
    assert reason(refused) == "other_client_id"


def test_a_certificate_of_two_names_names_nobody(authority: TestAuthority) -> None:
    with pytest.raises(NotAdmittedError) as refused:
        identify(asked(authority.device("bike-7", san="bike-8").pem))
    assert reason(refused) == "names_no_device"


def test_a_servers_certificate_names_no_device(authority: TestAuthority) -> None:
    with pytest.raises(NotAdmittedError) as refused:
        identify(asked(authority.server().pem, client_id="127.0.0.1"))
    assert reason(refused) == "names_no_device"


@pytest.mark.parametrize("nonsense", ["hello", "-----BEGIN CERTIFICATE-----\nxx"])
def test_what_is_no_certificate_names_no_device(nonsense: str) -> None:
    with pytest.raises(NotAdmittedError) as refused:
        identify(asked(nonsense))
    assert reason(refused) == "names_no_device"


def test_no_certificate_and_a_password_on_the_wrong_side_are_told_apart(shown: Certificate) -> None:
    with pytest.raises(NotAdmittedError) as refused:
        identify(asked(""))
    assert reason(refused) == "no_certificate"
    with pytest.raises(NotAdmittedError) as refused:
        identify(asked(shown.pem, kind="nats"))
    assert reason(refused) == "wrong_password"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"revoked_at": NOW, "revoked_reason": "stolen"}, "revoked"),
        ({"not_after": NOW}, "expired"),
        ({"device_id": "bike-8"}, "unknown_certificate"),
        ({"serial": "1"}, "unknown_certificate"),
    ],
)
def test_the_table_has_the_last_word(shown: Certificate, changes: dict[str, Any], why: str) -> None:
    who = identify(asked(shown.pem))
    with pytest.raises(NotAdmittedError) as refused:
        admit(who, a_row(shown, **changes), NOW)
    assert reason(refused) == why


def test_what_is_in_no_table_is_unknown(shown: Certificate) -> None:
    with pytest.raises(NotAdmittedError) as refused:
        admit(identify(asked(shown.pem)), None, NOW)
    assert reason(refused) == "unknown_certificate"


def test_a_device_may_use_its_six_topics_and_nothing_else() -> None:
    rights = permissions_of("bike-7")
    assert list(rights.publish) == ["s.*.bike-7", "f.*.bike-7", "mc.1.bike-7.status"]
    assert list(rights.subscribe) == [
        "mc.1.bike-7.ack",
        "mc.1.bike-7.cmd",
        "mc.1.bike-7.twin",
        "$MQTT.sub.>",
    ]


def test_who_has_no_device_id_is_called_by_its_address(shown: Certificate) -> None:
    assert asked(shown.pem).who == "bike-7"
    assert asked(shown.pem, client_id="x\ny").who == "203.0.113.9"


def request(**client_tls: Any) -> dict[str, Any]:
    return {
        "exp": int((NOW + timedelta(seconds=2)).timestamp()),
        "nats": {
            "server_id": {"id": "NAAA", "name": "n"},
            "user_nkey": "UAAA",
            "client_info": {"type": "mqtt", "mqtt_id": "bike-7", "host": "203.0.113.9"},
            "client_tls": client_tls,
        },
    }


def test_a_request_is_read_as_the_broker_writes_it() -> None:
    found = read_request(request(verified_chains=[["leaf", "authority"]]), "reply")
    assert (found.certificate, found.client_id, found.kind) == ("leaf", "bike-7", "mqtt")


def test_a_certificate_that_was_not_verified_counts_as_none() -> None:
    assert read_request(request(certs=["leaf"]), "reply").certificate == ""


@pytest.mark.parametrize("wrong", [{}, {"nats": 7}, {"nats": {}}, {**request(), "exp": "soon"}])
def test_what_is_no_request_is_a_value_error(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_request(wrong, "reply")
