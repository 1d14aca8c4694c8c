"""The pages of devices: the list, one closely, and the parts of it that renew themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from cloud.devices import api as devices
from cloud.fleet import api as fleet
from cloud.kit.auth import Principal, needs
from cloud.kit.db import Db
from cloud.pages import device_words as words
from cloud.pages.customer import now_of
from cloud.pages.render import page, templates

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Reader = Annotated[Principal, needs("devices:read")]
_MOST_COMMANDS = 10

templates.globals.update(
    alarm_words=words.alarm_words,
    intervals=words.INTERVALS,
    speed_kmh=words.KMH,
    speed_modes=words.MODES,
    twin_state=words.twin_state,
    validity=words.validity,
    wanted=words.wanted,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One device, the vehicle that carries it (None: none does), and what was asked of that."""

    detail: devices.DeviceDetail
    vehicle: fleet.Vehicle | None
    commands: Sequence[words.Told]

    def actions(self, who: Principal) -> list[words.Action]:
        """Return the buttons for what `who` may ask for and this vehicle can do."""
        if self.vehicle is None:
            return []
        vehicle_type = self.vehicle.type
        scopes = {k: s for k, s in fleet.KIND_SCOPES.items() if fleet.can_type(vehicle_type, k)}
        return words.actions(who, scopes, self.detail.device.capabilities)


@router.get("/devices")
def devices_page(request: Request, who: Reader) -> HTMLResponse:
    """Show every device."""
    now = now_of(request)
    with request.app.state.pool.connection() as db:
        found = devices.devices(db, now, scope=who.realm)
        alarms = devices.open_alarms(db, scope=who.realm)
    raised: dict[str, list[str]] = {}
    for alarm in alarms:
        raised.setdefault(alarm.device_id, []).append(words.alarm_words(alarm.kind).short)
    return page(request, "devices.html", section="devices", now=now, devices=found, raised=raised)


@router.get("/devices/{device_id}")
def device_page(request: Request, device_id: str, who: Reader) -> HTMLResponse:
    """Show one device: its connection, certificates, gaps and twin, and what is asked of it."""
    return _part(request, device_id, who, "device.html")


@router.get("/devices/{device_id}/state")
def device_state(request: Request, device_id: str, who: Reader) -> HTMLResponse:
    """Give the part of a device's page that says how it stands."""
    return _part(request, device_id, who, "_device_state.html")


@router.get("/devices/{device_id}/commands")
def device_commands(
    request: Request, device_id: str, who: Annotated[Principal, needs("commands:read")]
) -> HTMLResponse:
    """Give the part of a device's page that says what came of what was asked."""
    return _part(request, device_id, who, "_device_commands.html")


def _part(request: Request, device_id: str, who: Principal, template: str) -> HTMLResponse:
    now = now_of(request)
    with request.app.state.pool.connection() as db:
        shown = _look(db, who, device_id, now)
    if shown is None:
        return page(request, "no_device.html", 404, section="devices", device_id=device_id)
    context: dict[str, Any] = {
        "section": "devices",
        "now": now,
        "shown": shown,
        "detail": shown.detail,
        "d": shown.detail.device,
        "may_approve": words.may_approve,
    }
    return page(request, template, **context)


def _look(db: Db, who: Principal, device_id: str, now: datetime) -> Shown | None:
    detail = devices.device(db, who.realm, device_id, now)
    if detail is None:
        return None
    vehicle = fleet.carrier(db, who.realm, device_id)
    commands: Sequence[devices.CommandRow] = ()
    if vehicle is not None and who.may("commands:read"):
        commands = devices.newest_commands(db, who.realm, vehicle.id, _MOST_COMMANDS)
    return Shown(detail, vehicle, [words.told(row) for row in commands])
