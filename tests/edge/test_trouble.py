"""Words for what went wrong on a connection."""

import errno
import os
import socket
import ssl

import pytest

from edge.trouble import network_trouble, refusal_of_ours


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "it has expired"),
        ("TLSV1_ALERT_UNKNOWN_CA", "it is of another authority"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "we showed none"),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", "it is revoked"),
    ],
)
def test_an_alert_about_our_certificate_has_its_words(reason: str, says: str) -> None:
    assert refusal_of_ours(alert(reason)) == says
    assert network_trouble(alert(reason)) == f"it refuses our certificate: {says}"


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "TLSV1_ALERT_PROTOCOL_VERSION"])
def test_other_trouble_with_tls_is_not_blamed_on_our_certificate(reason: str) -> None:
    assert refusal_of_ours(alert(reason)) is None
    assert network_trouble(alert(reason)).startswith("no TLS with it (")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRefusedError(), "connection refused, nothing listens there"),
        (socket.gaierror(-2, "unknown"), "there is no host of that name"),
        (OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)), "network is unreachable"),
        (TimeoutError(), "no answer in time"),
    ],
)
def test_trouble_of_the_network_has_its_words(error: OSError, says: str) -> None:
    assert network_trouble(error) == says


def test_a_wrong_clock_is_asked_about() -> None:
    error = ssl.SSLCertVerificationError(1, "no")
    error.verify_code, error.verify_message = 9, "certificate is not yet valid"
    assert network_trouble(error).endswith(
        "(certificate is not yet valid); is this vehicle's clock right?"
    )
