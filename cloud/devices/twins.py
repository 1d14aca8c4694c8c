"""How a device is wanted: a versioned document that the relay signs, and what the device said."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from cloud.devices import requests
from cloud.devices.command_problems import CommandRefusedError
from cloud.devices.command_rules import Limits
from cloud.devices.store import twins as store
from cloud.devices.store.twins import TwinRow
from cloud.identity import api as identity
from cloud.kit.db import Db
from cloud.kit.principal import Principal
from cloud.kit.scope import Scope
from protocol.commands import (
    ArgsError,
    DesiredTwin,
    SignerKey,
    check_args,
    check_intervals,
    decode_twin,
    encode,
)
from protocol.commands import Limits as SpeedLimits
from protocol.decoders import DecoderManifest
from protocol.messages import MessageError
from protocol.topics import MAX_PAYLOAD_BYTES
from protocol.zones import Zone, check_zones

EMPTY: Mapping[str, Any] = {
    "limits": {"speed_limit_kmh": None, "speed_mode": None},
    "intervals_s": {},
    "immobilised": None,
    "live_until_ms": None,
}
LIVE_AT_MOST = timedelta(hours=24)
_ENVELOPE_BYTES = 512


@dataclass(frozen=True, slots=True)
class Announced:
    """Keys that devices are told of: ids, the next one last, and since when that one is."""

    keys: Sequence[SignerKey]
    next_made_at: datetime


def twin(db: Db, scope: Scope, device_id: str) -> TwinRow | None:
    """Return a device's twin; None when nothing was ever wanted of it."""
    return store.find(db, scope, device_id)


def change_twin(
    db: Db,
    who: Principal,
    *,
    device_id: str,
    vehicle_id: str,
    changes: Mapping[str, Any],
    reason: str,
    at: datetime,
    limits: Limits | None = None,
) -> TwinRow:
    """Write the next version of a twin: only the given fields change (RFC 7396, merge patch).

    Counts as a command does. An immobilisation that needs two people is refused: a command can
    wait for the second one. Holds the audit chain until the transaction ends: call it last.

    Args:
        db: connection, inside the caller's transaction or none.
        who: asks, and has been found to have the fields' scopes.
        device_id: whose twin.
        vehicle_id: the vehicle it is on.
        changes: any of limits, intervals_s, immobilised, live_until_ms; null takes away.
        reason: why, for people.
        at: now.
        limits: how much may be asked for.

    Raises:
        CommandRefusedError: device-unknown, args-refused, too-many-commands or approval-needed.
    """
    scope = who.realm
    immobilising = changes.get("immobilised") is True
    with db.transaction():
        alone = requests.count(
            db, who, device_id, at, limits or Limits(), immobilising=immobilising
        )
        if not alone:
            raise CommandRefusedError(
                "approval-needed",
                "More than ten immobilisations in an hour need two people; ask for the command"
                " immobilise instead, which waits for the second one",
            )
        row = store.lock(db, scope, device_id, dict(EMPTY), at)
        if row is None:
            raise requests.unknown_device(device_id)
        document = _checked(merge({**EMPTY, **row.document}, changes), at)
        store.desire(db, device_id, row.version + 1, document, at)
        detail = {"version": row.version + 1, "changes": dict(changes), "reason": reason}
        identity.audit(db, who, "twin.changed", vehicle_id, detail, at)
        changed = store.find(db, scope, device_id)
    assert changed is not None
    return changed


def set_zones(
    db: Db,
    scope: Scope,
    zones: Sequence[Zone],
    at: datetime,
    device_ids: Sequence[str] | None = None,
) -> list[str]:
    """Let devices of a scope, all or these, keep to these zones by themselves.

    It is the city that wishes it, not a person: no limit counts it. Holds the twins in one order
    until the transaction ends. Returns whose twin has a new version.

    Raises:
        ZonesError: they do not fit on a vehicle; nothing has changed.
    """
    check_zones(zones)
    told = msgspec.to_builtins(zones)
    with db.transaction():
        return store.set_zones(db, scope, told, EMPTY, at, device_ids)


def set_decoder(
    db: Db,
    who: identity.Who,
    device_id: str,
    decoder: DecoderManifest | None,
    at: datetime,
) -> int:
    """Have a device read its battery by this manifest, None by its own; return the twin's version.

    The vehicle looks into the DBC and refuses the whole twin when it cannot use it. Holds the
    audit chain until the transaction ends: call it last.

    Raises:
        CommandRefusedError: device-unknown, or args-refused as it would not fit into one message.
    """
    scope = Scope(who.tenant, who.city)
    told = None if decoder is None else msgspec.to_builtins(decoder)
    with db.transaction():
        row = store.lock(db, scope, device_id, dict(EMPTY), at)
        if row is None:
            raise requests.unknown_device(device_id)
        document = _checked({**EMPTY, **row.document, "decoder": told}, at)
        _check_size(document, at)
        store.desire(db, device_id, row.version + 1, document, at)
        named = None if decoder is None else f"{decoder.name} {decoder.version}"
        detail = {"version": row.version + 1, "changes": {"decoder": named}}
        identity.audit(db, who, "twin.changed", device_id, detail, at)
    return row.version + 1


def prepare(
    db: Db, signers: Sequence[SignerKey], greeted: Collection[str], at: datetime
) -> list[tuple[str, bytes]]:
    """Return device and document of every twin that is to be sent now, each once for one process.

    Those are the ones nobody has sent, and of the devices that said hello those they have not
    reported. A document is kept before it is sent: each repeat is the same.
    """
    ready: list[tuple[str, bytes]] = []
    with db.transaction():
        for row in store.take_unsent(db, greeted):
            payload, announced = row.payload, row.signers
            if payload is None or announced is None:
                payload = encode(_desired(row, signers))
                announced = [key.key_id for key in signers]
            store.save_payload(db, row.device_id, payload, announced, at)
            ready.append((row.device_id, bytes(payload)))
    return ready


def announce(db: Db, told: Announced, at: datetime) -> int:
    """Let every device that does not know these keys have a version that names them."""
    ids = [key.key_id for key in told.keys]
    with db.transaction():
        return len(store.announce(db, ids, told.next_made_at, dict(EMPTY), at))


def not_told(db: Db, told: Announced, at: datetime) -> list[str]:
    """Return devices with a certificate in force that have not confirmed the next key."""
    return store.not_told(db, told.keys[-1].key_id, told.next_made_at, at)


def forget_report(db: Db, device_id: str) -> None:
    """Send a device its twin again: it has enrolled anew and may know nothing."""
    store.forget_report(db, device_id)


def merge(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with changes applied as RFC 7396 says, but null stays where it means so."""
    merged = dict(document)
    for name, value in changes.items():
        if name == "limits":
            merged[name] = {**EMPTY["limits"], **merged[name], **(value or EMPTY["limits"])}
        elif name == "intervals_s":
            both = {**merged[name], **value} if value else {}
            merged[name] = {key: seconds for key, seconds in both.items() if seconds is not None}
        else:
            merged[name] = value
    return merged


def _checked(document: dict[str, Any], at: datetime) -> dict[str, Any]:
    """Return the document as a device would take it, or raise CommandRefusedError."""
    try:
        limits = document["limits"]
        check_args("speed_limit", {"kmh": limits["speed_limit_kmh"]})
        if limits["speed_mode"] is not None:
            check_args("speed_mode", {"mode": limits["speed_mode"]})
        if document["intervals_s"]:
            document = {**document, "intervals_s": check_intervals(document["intervals_s"])}
        _check_live(document["live_until_ms"], at)
        sample = SignerKey("sample", "0" * 64)
        decode_twin(encode(_document(document, "sample", 1, at, [sample])))
    except (ArgsError, MessageError) as wrong:
        raise CommandRefusedError("args-refused", f"{wrong}; correct it and ask again") from None
    return document


def _check_size(document: Mapping[str, Any], at: datetime) -> None:
    sample = [SignerKey("k" * 64, "0" * 64)] * 4
    signed = len(encode(_document(document, "d" * 36, 2**53, at, sample))) * 4 / 3 + _ENVELOPE_BYTES
    if signed > MAX_PAYLOAD_BYTES:
        raise CommandRefusedError(
            "args-refused",
            f"The twin would have {signed / 1024:.0f} KiB signed, and a message may have"
            f" {MAX_PAYLOAD_BYTES // 1024}; leave out of the DBC what the map does not use",
        )


def _check_live(until_ms: int | None, at: datetime) -> None:
    if until_ms is not None and until_ms > int((at + LIVE_AT_MOST).timestamp() * 1000):
        raise ArgsError("live_until must be within 24 hours")


def _desired(row: TwinRow, signers: Sequence[SignerKey]) -> DesiredTwin:
    return _document(row.document, row.device_id, row.version, row.desired_at, signers)


def _document(
    document: Mapping[str, Any],
    device_id: str,
    version: int,
    at: datetime,
    signers: Sequence[SignerKey],
) -> DesiredTwin:
    return DesiredTwin(
        device_id=device_id,
        version=version,
        issued_at_ms=int(at.timestamp() * 1000),
        signers=list(signers),
        live_until_ms=document["live_until_ms"],
        intervals_s=document["intervals_s"],
        limits=SpeedLimits(**document["limits"]),
        immobilised=document["immobilised"],
        zones=msgspec.convert(document.get("zones") or [], list[Zone]) or msgspec.UNSET,
        decoder=msgspec.convert(document["decoder"], DecoderManifest)
        if document.get("decoder")
        else msgspec.UNSET,
    )
