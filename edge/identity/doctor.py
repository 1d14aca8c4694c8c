"""What the doctor looks at in the identity, and what `mobility-edge identity` shows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.clock import Clock, utc
from edge.findings import Finding, trouble
from edge.identity.certificate import CertificateInfo
from edge.identity.keys import FileKeyStore, KeyStoreError
from edge.settings import Settings
from edge.times import rfc3339

DAY_MS = 86_400_000


def examine_identity(settings: Settings, clock: Clock) -> Sequence[Finding]:
    """Look at key, certificate, authority and claim. Changes nothing."""
    keys = FileKeyStore(Path(settings.identity.folder))
    try:
        held = keys.held()
        if held is None:
            return [_not_enrolled(settings)]
        keys.tls_context()
        found = f"in {keys.folder}, private, fits its certificate"
        key = Finding("key", ok=True, found=found)
        return [key, _certificate(settings, keys, held, clock), *_claim(settings, keys)]
    except KeyStoreError as error:
        return [trouble("key", error, "look at the folder under [identity]")]


def describe(settings: Settings) -> dict[str, Any]:
    """Return the identity for people and scripts. Raises KeyStoreError."""
    keys = FileKeyStore(Path(settings.identity.folder))
    held = keys.held()
    told: dict[str, Any] = {
        "device_id": settings.device.id,
        "folder": str(keys.folder),
        "enrolled": held is not None,
        "serial": held and held.serial,
        "common_name": held and held.common_name,
        "not_before": held and rfc3339(held.not_before_ms),
        "not_after": held and rfc3339(held.not_after_ms),
        "renew_from": held and rfc3339(held.renew_from_ms),
        "signers": [each.key_id for each in keys.signers()],
        "claim": _claim_state(settings, keys),
    }
    return told


def as_text(told: dict[str, Any]) -> str:
    """Write what `describe` returns for a person."""
    if not told["enrolled"]:
        return f"{told['device_id']} is not enrolled; its claim is {told['claim']}\n"
    lines = {
        "device": told["device_id"],
        "folder": told["folder"],
        "certificate": f"{told['serial']}, of {told['common_name']}",
        "good": f"{told['not_before']} to {told['not_after']}",
        "renewed": f"about {told['renew_from']}",
        "believes": ", ".join(told["signers"]) or "no signer",
        "claim": told["claim"],
    }
    return "".join(f"{name:<12}{text}\n" for name, text in lines.items())


def as_json(told: dict[str, Any]) -> str:
    """Write what `describe` returns as one JSON object."""
    return json.dumps(told) + "\n"


def _not_enrolled(settings: Settings) -> Finding:
    if settings.identity.claim:
        return Finding(
            "identity",
            ok=False,
            found="not enrolled yet, a claim is there",
            next_step="start the agent, or run mobility-edge enrol, to see what the cloud says",
        )
    return Finding(
        "identity",
        ok=False,
        found="not enrolled, and there is no claim",
        next_step=f"make one with: mobility-cloud devices claim {settings.device.id}, and put it "
        "under [identity] claim",
    )


def _certificate(
    settings: Settings, keys: FileKeyStore, held: CertificateInfo, clock: Clock
) -> Finding:
    device_id = settings.device.id
    claim = f"make a claim with: mobility-cloud devices claim {device_id}, and enrol anew"
    left_ms = held.not_after_ms - clock.wall_ms()
    until = f"{held.serial}, good until {utc(held.not_after_ms)}"
    if held.common_name != device_id:
        step = "give each vehicle its own [identity] folder"
        return Finding("certificate", ok=False, found=f"of {held.common_name}", next_step=step)
    if not _is_signed(keys.folder):
        found = "is not signed by the authority that lies beside it"
        return Finding("certificate", ok=False, found=found, next_step=claim)
    if clock.wall_ms() < held.not_before_ms:
        found = f"begins on {utc(held.not_before_ms)}, and it is {utc(clock.wall_ms())} here"
        return Finding("certificate", ok=False, found=found, next_step="set this vehicle's clock")
    if left_ms <= 0:
        return Finding("certificate", ok=False, found=f"{until}: expired", next_step=claim)
    if left_ms < (held.not_after_ms - held.not_before_ms) / 3:
        return Finding(
            "certificate",
            ok=False,
            found=f"{until}: {left_ms / DAY_MS:.1f} days, less than a third of its life",
            next_step="it should have been renewed: see that the agent runs and reaches "
            f"{settings.identity.enrol_url or '[identity] enrol_url, which is missing'}",
        )
    return Finding("certificate", ok=True, found=until)


def _is_signed(folder: Path) -> bool:
    """Check the signature; a program that ends soon may import what it likes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates

    shown = load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
    for ca in load_pem_x509_certificates((folder / "ca.pem").read_bytes()):
        try:
            shown.verify_directly_issued_by(ca)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def _claim_state(settings: Settings, keys: FileKeyStore) -> str:
    claim = settings.identity.claim
    if not claim:
        return "none"
    return "used" if keys.redeemed(claim) else "new"


def _claim(settings: Settings, keys: FileKeyStore) -> list[Finding]:
    if _claim_state(settings, keys) != "new":
        return []
    found = "a new one is in the configuration; the agent enrols with it when it starts"
    return [Finding("claim", ok=True, found=found)]
