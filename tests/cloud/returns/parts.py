"""Photos as phones take them, and a ride in the small city to end."""

import io
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from PIL import ExifTags, Image, ImageDraw

from cloud.booking.store.rentals import Rental
from cloud.fleet import api as fleet
from cloud.fleet.city import import_city
from cloud.fleet.model import Vehicle
from cloud.fleet.states import add_vehicle
from cloud.identity.api import console
from cloud.kit.db import Db
from cloud.kit.events import Subscriber, run_due
from cloud.kit.http import Problem
from cloud.kit.ports.objects import Objects
from cloud.kit.scope import DEMO, Scope
from cloud.returns import reactions, service, uploads
from cloud.returns.adapters import FleetGrounds, RuleVerifier
from cloud.returns.model import Position
from cloud.returns.photos import read_photo
from cloud.returns.ports import Parts
from cloud.returns.store import PhotoRow, Return
from tests.cloud.booking.parts import World, a_customer, a_vehicle
from tests.cloud.fleet.city import a_city, at_m
from tests.cloud.identity.customers_parts import URL, Mailbox


def a_picture(seed: int = 1, size: tuple[int, int] = (640, 480), light: float = 1.0) -> Image.Image:
    """A picture full of edges; another seed is another scene."""
    rng = random.Random(seed)
    fields = bytes(int(rng.randrange(30, 256) * light) for _ in range(32 * 24 * 3))
    small = Image.frombytes("RGB", (32, 24), fields)
    return small.resize(size, Image.Resampling.NEAREST)


def a_photo(
    seed: int = 1,
    *,
    kind: str = "JPEG",
    size: tuple[int, int] = (640, 480),
    light: float = 1.0,
    taken_at: datetime | None = None,
    place: tuple[float, float] | None = None,
    orientation: int | None = None,
) -> bytes:
    """A photo file, with what EXIF is to say."""
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    if taken_at is not None:
        told = exif.get_ifd(ExifTags.IFD.Exif)
        told[ExifTags.Base.DateTimeOriginal] = taken_at.strftime("%Y:%m:%d %H:%M:%S")
        told[ExifTags.Base.OffsetTimeOriginal] = "+00:00"
    if place is not None:
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        for name, ref, sides, degrees in (
            (ExifTags.GPS.GPSLatitude, ExifTags.GPS.GPSLatitudeRef, "NS", place[0]),
            (ExifTags.GPS.GPSLongitude, ExifTags.GPS.GPSLongitudeRef, "EW", place[1]),
        ):
            gps[ref] = sides[degrees < 0]
            gps[name] = (abs(degrees), 0.0, 0.0)
    out = io.BytesIO()
    a_picture(seed, size, light).save(out, kind, exif=exif)
    return out.getvalue()


@dataclass
class PlayedFixes:
    """Where vehicles say that they are."""

    at: dict[str, Position] = field(default_factory=dict)
    kmh: dict[str, float] = field(default_factory=dict)

    def last(
        self, db: Db, scope: Scope, vehicle_id: str, now: datetime, accuracy_m: float
    ) -> Position | None:
        return self.at.get(vehicle_id)

    def speed_kmh(
        self, db: Db, scope: Scope, vehicle_id: str, now: datetime, within: timedelta
    ) -> float | None:
        return self.kmh.get(vehicle_id)


@dataclass
class MemoryObjects:
    """An object store that forgets everything at the end of the test."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def put(self, key: str, content: bytes) -> None:
        self.kept[key] = content

    def get(self, key: str) -> bytes:
        return self.kept[key]

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


@dataclass
class Ending:
    """Rides in the small city, and what ends them: what a test drives."""

    world: World
    fixes: PlayedFixes = field(default_factory=PlayedFixes)
    objects: Objects = field(default_factory=MemoryObjects)
    mailbox: Mailbox = field(default_factory=Mailbox)

    def __post_init__(self) -> None:
        self.parts = Parts(
            booking=self.world.parts,
            grounds=FleetGrounds(),
            fixes=self.fixes,
            verifier=RuleVerifier(),
            objects=self.objects,
            clock=self.world.clock,
        )

    @property
    def db(self) -> Db:
        return self.world.db

    @property
    def subscribers(self) -> tuple[Subscriber, ...]:
        post = reactions.Post(self.mailbox, URL, self.world.clock)
        return (*self.world.subscribers, *reactions.subscribers(self.parts, post))

    def riding(self, vehicle_id: str = "booked-001", customer: int = 1) -> Rental:
        """A ride of five minutes on a vehicle that fleet and booking know."""
        vehicle = Vehicle(vehicle_id, vehicle_id, "scooter", vehicle_id, "available")
        add_vehicle(self.db, DEMO, vehicle, self.world.now)
        a_vehicle(self.db, vehicle_id, at=self.world.now)
        rental = self.world.riding(vehicle_id, customer)
        self.world.clock.advance(timedelta(minutes=5))
        return rental

    def stands(self, east: float, north: float, *, vehicle: str = "booked-001") -> None:
        """Let a vehicle say that it is so many metres from the city's centre."""
        point = at_m(east, north)
        self.fixes.at[vehicle] = Position(point.lat, point.lon, 5.0, self.world.now, "vehicle")

    def phone(self, east: float, north: float, accuracy_m: float = 8.0) -> Position:
        point = at_m(east, north)
        return Position(point.lat, point.lon, accuracy_m, self.world.now, "phone")

    def end(
        self,
        rental: Rental,
        phone: Position | None = None,
        *,
        customer: int = 1,
        accept_fee: bool = False,
    ) -> Return | Problem:
        return service.end(
            self.db,
            self.parts,
            a_customer(customer),
            rental.id,
            phone,
            self.world.now,
            accept_fee=accept_fee,
        )

    def ended(
        self, rental: Rental, phone: Position | None = None, *, accept_fee: bool = False
    ) -> Return:
        """End a ride that may end."""
        made = self.end(rental, phone, accept_fee=accept_fee)
        assert isinstance(made, Return), made.detail
        return made

    def refused(self, rental: Rental, *, accept_fee: bool = False) -> Any:
        """End a ride that may not; return the problem, of any members."""
        problem = self.end(rental, accept_fee=accept_fee)
        assert isinstance(problem, Problem)
        return problem

    def send(
        self, rental: Rental, photo: bytes, customer: int = 1
    ) -> tuple[PhotoRow, Return | None]:
        shot = read_photo(photo, "UTC")
        who = a_customer(customer)
        return uploads.add_photo(self.db, self.parts, who, rental.id, shot, self.world.now)

    def deliver(self) -> None:
        run_due(self.db, self.subscribers, self.world.now)

    def told(self, rental: Rental) -> list[str]:
        """What returns has published of a rental, oldest first, without its timers."""
        rows = self.db.execute(
            "SELECT type FROM kit.event WHERE source = '/cloud/returns' AND due = \"time\""
            " AND subject = %s ORDER BY ctid",
            [str(rental.id)],
        ).fetchall()
        return [row[0].removeprefix("returns.").removesuffix(".v1") for row in rows]

    def fees(self, rental: Rental) -> list[tuple[int, str]]:
        """What was charged beside the ride."""
        return self.db.execute(
            "SELECT amount_minor, reason FROM fake.fee WHERE rental_id = %s", [rental.id]
        ).fetchall()


def settle(db: Db, at: datetime, places: int = 2) -> dict[str, UUID]:
    """Draw the small city; return its bays by key."""
    import_city(db, console(DEMO), "city", a_city(places=places), at)
    near = fleet.bays_near(db, DEMO, at_m(0, 0), at, limit=100, radius_m=5_000)
    return {each.bay.key: each.bay.id for each in near}


def a_page(kind: str = "PNG", exif: Image.Exif | None = None) -> bytes:
    """A page as a screen shows it: text and buttons on white."""
    page = Image.new("RGB", (390, 844), "white")
    draw = ImageDraw.Draw(page)
    for line in range(20):
        draw.text((16, 24 + 38 * line), "The vehicle is unlocked, your ride goes on", fill="black")
    draw.rectangle((16, 780, 374, 820), fill=(0, 90, 160))
    out = io.BytesIO()
    page.save(out, kind, exif=exif or Image.Exif())
    return out.getvalue()
