"""Who may connect and what for: the rules of the gate, without link, database or clock."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloud.devices.store.certificates import CertificateRow
from cloud.kit.nats_jwt import Permissions
from cloud.kit.ports.authority import CertificateError, read_shown
from protocol.topics import LEAVES, check_device_id, subject

_UP_LETTERS = ("s", "f")
_UP = ("status",)
_DOWN = ("ack", "cmd", "twin")


class NotAdmittedError(PermissionError):
    """A connection is refused; `reason` is a word of a small fixed set."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason.replace("_", " "))
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Asked:
    """One connection the broker asks about.

    Attributes:
        reply: subject it waits at.
        server_id: the server that asks.
        user_nkey: its name for the connection's user.
        expires_s: when it stops waiting for the answer, seconds since 1970.
        kind: "mqtt", or "nats" for a cloud user with a wrong password.
        host: where it comes from.
        client_id: the MQTT client id.
        certificate: PEM of what TLS has verified against our authority; empty without one.
    """

    reply: str
    server_id: str
    user_nkey: str
    expires_s: int
    kind: str
    host: str
    client_id: str
    certificate: str

    @property
    def who(self) -> str:
        """The device it claims to be, else where it comes from."""
        try:
            return check_device_id(self.client_id)
        except ValueError:
            return self.host


@dataclass(frozen=True, slots=True)
class Identified:
    """A connection whose certificate names one device, and the same one as its client id."""

    asked: Asked
    device_id: str
    serial: str
    fingerprint: str


def read_request(claims: Mapping[str, Any], reply: str) -> Asked:
    """Read the claims of an authorization request; raises ValueError when they are none."""
    try:
        nats = claims["nats"]
        client = nats["client_info"]
        chains = nats.get("client_tls", {}).get("verified_chains") or [[]]
        return Asked(
            reply=reply,
            server_id=str(nats["server_id"]["id"]),
            user_nkey=str(nats["user_nkey"]),
            expires_s=int(claims["exp"]),
            kind=str(client.get("type", "nats")),
            host=str(client.get("host", "")),
            client_id=str(client.get("mqtt_id", "")),
            certificate=str(chains[0][0]) if chains[0] else "",
        )
    except (KeyError, TypeError, IndexError, AttributeError) as wrong:
        raise ValueError(f"not an authorization request: {wrong!r}") from wrong


def identify(asked: Asked) -> Identified:
    """Bind the client id to the certificate.

    Raises:
        NotAdmittedError: not MQTT, no certificate, or one of another name than the client id.
    """
    if asked.kind != "mqtt":
        raise NotAdmittedError("wrong_password", "on the NATS side")
    if not asked.certificate:
        raise NotAdmittedError("no_certificate")
    try:
        shown = read_shown(ssl.PEM_cert_to_DER_cert(asked.certificate))
    except (CertificateError, ValueError) as wrong:
        raise NotAdmittedError("names_no_device", str(wrong)) from None
    if asked.client_id != shown.device_id:
        raise NotAdmittedError("other_client_id", f"its certificate is {shown.device_id}'s")
    return Identified(asked, shown.device_id, shown.serial_hex, shown.fingerprint_sha256_hex)


def admit(who: Identified, row: CertificateRow | None, now: datetime) -> datetime:
    """Return until when a connection may last.

    Raises:
        NotAdmittedError: its certificate is none of ours as shown, revoked, or over.
    """
    check_row(row, now)
    assert row is not None
    if (row.device_id, row.serial) != (who.device_id, who.serial):
        raise NotAdmittedError("unknown_certificate", f"serial {who.serial}")
    return row.not_after


def check_row(row: CertificateRow | None, now: datetime) -> None:
    """Raise NotAdmittedError unless the certificate of this row is in force."""
    if row is None:
        raise NotAdmittedError("unknown_certificate", "it was not issued here")
    if row.revoked_at is not None:
        raise NotAdmittedError("revoked", row.revoked_reason or "")
    if row.not_after <= now:
        raise NotAdmittedError("expired")


def permissions_of(device_id: str) -> Permissions:
    """Return a device's own six topics, as the broker maps them, and nothing else."""
    return Permissions(
        publish=[
            *(f"{letter}.*.{device_id}" for letter in _UP_LETTERS),
            *(subject(device_id, leaf) for leaf in LEAVES if leaf in _UP),
        ],
        subscribe=[
            *(subject(device_id, leaf) for leaf in LEAVES if leaf in _DOWN),
            # The server delivers QoS 1 and retained messages by it, also to who asks for none.
            "$MQTT.sub.>",
        ],
    )
