"""Booking's ports on the contexts below it."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from cloud.booking.model import Place, RideTimes
from cloud.booking.ports import (
    Bill,
    Errand,
    Fee,
    NotAskedError,
    NotPayableError,
    Parts,
    Payer,
    Quote,
)
from cloud.devices import api as devices
from cloud.devices.api import CommandRefusedError, Limits, Wish
from cloud.fleet import api as fleet
from cloud.fleet.api import Point
from cloud.identity import api as identity
from cloud.kit.clock import Clock
from cloud.kit.db import Db
from cloud.kit.money import Money
from cloud.kit.principal import Principal
from cloud.kit.scope import Scope
from cloud.payments import api as payments
from cloud.payments.api import Line, Plan, PriceSnapshot, SellerUnknownError, Usage


class DeviceVehicles:
    """Asks through devices' commands, in the rider's name: limits count for each rider alone."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits

    def ask(self, db: Db, scope: Scope, errand: Errand, at: datetime) -> UUID:
        """Ask for a command; raises NotAskedError."""
        who = Principal(
            account_id=UUID(errand.customer_id),
            name="rider",
            kind="service",
            role="",
            tenant=scope.tenant,
            city=scope.city,
            scopes=frozenset({f"vehicles:{errand.kind}"}),
        )
        wish = Wish(errand.device_id, errand.vehicle_id, errand.kind, {}, errand.reason)
        try:
            return devices.request_command(db, who, wish, at, self._limits).id
        except CommandRefusedError as refused:
            raise NotAskedError(str(refused)) from None


class LedgerPayments:
    """Holds and captures through payments' rows; receipts are in the rider's zone and language.

    `time_zone` is that of riders whom identity does not know, `public_url` where our pages are.
    """

    def __init__(self, time_zone: str = "Europe/Berlin", public_url: str = "") -> None:
        self._time_zone = time_zone
        self._public_url = public_url.rstrip("/")

    def quote(self, db: Db, scope: Scope, vehicle_type: str, at: datetime) -> Quote | None:
        """Freeze the plan of a type; None without one."""
        try:
            plan = payments.plan_for(db, scope, vehicle_type, at)
        except payments.PlanUnknownError:
            return None
        told = payments.preview(plan)
        return Quote(
            plan=plan.named(),
            unlock=told.unlock,
            per_minute=told.per_minute,
            pause_per_minute=told.pause_per_minute,
            # What costs something is held for: a plan that names no sum holds its first minute.
            hold=plan.hold if plan.hold_amount_minor else told.first_minute,
            frozen=payments.snapshot(plan, at).as_json(),
            for_10_min=told.for_10_min,
            is_flat=told.is_flat,
        )

    def price(self, quote: Quote, used: RideTimes) -> Money:
        """Return what a ride comes to, with tax."""
        return payments.total(payments.meter(PriceSnapshot.from_json(quote.frozen), _usage(used)))

    def authorise(self, db: Db, scope: Scope, payer: Payer, amount: Money, at: datetime) -> None:
        """Ask for the hold; raises NotPayableError."""
        try:
            payments.authorise(
                db,
                scope,
                customer_id=payer.customer_id,
                rental_id=payer.rental_id,
                amount=amount,
                card=_card(db, scope, payer) if amount.amount_minor else None,
                at=at,
            )
        except SellerUnknownError as why:
            raise NotPayableError(f"{str(why)[:1].upper()}{str(why)[1:]}") from None

    def top_up(
        self, db: Db, scope: Scope, *, rental_id: UUID, quote: Quote, cost: Money, at: datetime
    ) -> None:
        """Ask to hold more, by steps of the plan's hold."""
        hold = payments.authorisation(db, scope, rental_id)
        if hold is None or hold.state != "authorised":
            return
        to = payments.next_hold(hold.held, cost, quote.hold)
        if to is not None:
            payments.top_up(db, scope, rental_id, to, at)

    def try_another(
        self, db: Db, scope: Scope, payer: Payer, *, quote: Quote, cost: Money, at: datetime
    ) -> bool:
        """Ask the customer's newest card to hold all, unless that is the card held on."""
        hold = payments.authorisation(db, scope, payer.rental_id)
        cards = identity.payment_methods(db, scope, payer.customer_id)
        if hold is None or not cards or cards[-1].id == hold.method_id:
            return False
        to = payments.next_hold(hold.held, cost, quote.hold) or hold.held
        return payments.replace_card(db, scope, payer.rental_id, _method(cards[-1]), to, at)

    def release(self, db: Db, scope: Scope, rental_id: UUID, at: datetime) -> None:
        """Let the hold go, or the one that may still come."""
        payments.release(db, scope, rental_id, at)

    def capture(self, db: Db, scope: Scope, bill: Bill, at: datetime) -> None:
        """Issue the invoice and ask for its money, once."""
        price, facts = PriceSnapshot.from_json(bill.quote.frozen), bill.facts
        rider = identity.customer(db, scope, facts.customer_id)
        charged = tuple(_fee_line(price.plan, self._linked(fee, bill)) for fee in bill.fees)
        payments.capture_once(
            db,
            scope,
            rental_id=bill.rental_id,
            lines=payments.meter(price, _usage(bill.used)) + charged,
            price=price,
            facts=payments.Facts(
                customer_name=facts.customer_id if rider is None else rider.name,
                vehicle_type=facts.vehicle_type,
                vehicle_number=facts.vehicle_name,
                started_at=facts.started_at,
                ended_at=facts.ended_at,
                time_zone=self._time_zone if rider is None else rider.time_zone,
                start_place=_shown(db, scope, facts.start),
                end_place=_shown(db, scope, facts.end),
                language="en" if rider is None else rider.language,
            ),
            at=at,
        )

    def _linked(self, fee: Fee, bill: Bill) -> Fee:
        """Return a fee that leads to the page of its rental where it leads nowhere yet."""
        link = fee.link or f"{self._public_url}/ride/rentals/{bill.rental_id}"
        return replace(fee, link=link)


def real_parts(clock: Clock, limits: Limits | None = None, public_url: str = "") -> Parts:
    """Return what a process books with; the links of its invoices lead to `public_url`."""
    return Parts(LedgerPayments(public_url=public_url), DeviceVehicles(limits), clock=clock)


def _fee_line(plan: Plan, fee: Fee) -> Line:
    """Return the line of a fee; what the rider was told has the tax inside, whatever the plan."""
    told = payments.line(
        replace(plan, is_taxable=False),
        "fee",
        fee.amount.amount_minor,
        reason=fee.reason,
        link=fee.link,
    )
    return replace(told, amount_minor=told.net_minor) if plan.is_taxable else told


def _usage(used: RideTimes) -> Usage:
    return Usage(used.ride_s, used.pause_s, used.outage_s, cancelled=used.called_off)


def _card(db: Db, scope: Scope, payer: Payer) -> payments.Method:
    found = identity.payment_method(db, scope, payer.customer_id, payer.method_id)
    if found is None:
        raise NotPayableError(
            "Add a payment method at POST /api/v1/me/payment-methods, or name one of this account's"
        )
    return _method(found)


def _method(card: identity.PaymentMethod) -> payments.Method:
    return payments.Method(card.id, card.provider, card.token, card.last4)


def _shown(db: Db, scope: Scope, place: Place | None) -> str:
    if place is None:
        return "unknown"
    told = f"{place.lat:.5f}, {place.lon:.5f}"
    bay = fleet.bay_at(db, scope, Point(place.lat, place.lon), place.accuracy_m or 0.0)
    return told if bay is None else f"{bay.name} ({told})"
