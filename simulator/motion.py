"""One history moves a vehicle's battery, lock unit and receiver alike; riders carry a key."""

import math
import random
from typing import Annotated, Final

import msgspec

from firmware_shim.gnss import GnssReceiver
from firmware_shim.lock_sensors import LOCKED, UNLOCKED
from firmware_shim.lock_unit import LockUnit
from firmware_shim.pack import Pack
from simulator.load import LoadProfile, Moment

TOWN: Final = (52.52, 13.405)
TOWN_M: Final = 3000.0
ROAM_M: Final = 1200.0
_METRES_A_DEGREE: Final = 111_195.0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a vehicle when the simulator stops.

    Attributes:
        locked: where the latch is.
        by_order: a command put it there, so that no rider's key opens it.
        immobilised: the unit lets nobody ride.
        limit_kmh: 0 for none.
        mode: number of the unit's speed mode.
        latitude_deg: where it stands, WGS 84.
        longitude_deg: where it stands, WGS 84.
        course_deg: where it looks, 0 is north and 90 east.
    """

    locked: bool
    by_order: bool
    immobilised: bool
    limit_kmh: Annotated[int, msgspec.Meta(ge=0, le=45)]
    mode: Annotated[int, msgspec.Meta(ge=1, le=4)]
    latitude_deg: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude_deg: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    course_deg: Annotated[float, msgspec.Meta(ge=0, le=360)]


class Motion:
    """Lets `load` move a pack, a lock unit and a receiver.

    A rider opens the latch by hand, as with a key, and closes it after the ride. What a command
    has locked or immobilised stands until a command lets it go: then the ride goes on.

    Args:
        load: the vehicle's day.
        pack: what it draws from.
        lock: what locks it.
        gnss: what knows where it is.
        seed: of its home and of its turns.
    """

    def __init__(
        self, load: LoadProfile, pack: Pack, lock: LockUnit, gnss: GnssReceiver, *, seed: int
    ) -> None:
        self._load = load
        self._pack = pack
        self._lock = lock
        self._gnss = gnss
        self._random = random.Random(seed)
        self._ridden = False
        self._by_order = False
        self._locked_before = lock.moved["lock"]
        self._latch = lock.sensors.latch
        north_m, east_m = (self._random.uniform(-TOWN_M, TOWN_M) for _ in range(2))
        self._home = (
            TOWN[0] + north_m / _METRES_A_DEGREE,
            TOWN[1] + east_m / (_METRES_A_DEGREE * math.cos(math.radians(TOWN[0]))),
        )
        latitude_deg, longitude_deg = self._home
        gnss.set(
            {
                "latitude_deg": latitude_deg,
                "longitude_deg": longitude_deg,
                "course_deg": self._random.uniform(0, 360),
            }
        )

    def go_on(self, kept: Kept) -> None:
        """Stand as an earlier run left the vehicle."""
        self._gnss.set(
            {
                "latitude_deg": kept.latitude_deg,
                "longitude_deg": kept.longitude_deg,
                "course_deg": kept.course_deg,
            }
        )
        self._lock.set({"locked": kept.locked, "immobilised": kept.immobilised})
        sensors = self._lock.sensors
        sensors.limit_kmh, sensors.mode = kept.limit_kmh, kept.mode
        self._by_order = kept.by_order

    def kept(self) -> Kept:
        """Return what the next run goes on with."""
        sensors, sky = self._lock.sensors, self._gnss.sky
        return Kept(
            locked=sensors.latch != UNLOCKED,
            by_order=self._is_locked_up(),
            immobilised=sensors.immobilised,
            limit_kmh=sensors.limit_kmh,
            mode=sensors.mode,
            latitude_deg=sky.latitude_deg,
            longitude_deg=sky.longitude_deg,
            course_deg=sky.course_deg,
        )

    def advance(self, now_s: float) -> bool:
        """Go on to `now_s`, in seconds since the beginning; return whether the latch has moved."""
        sensors, before = self._lock.sensors, self._latch
        held = self._is_locked_up() or sensors.immobilised or not self._pack.discharge_fet
        moment = self._load.at(now_s, self._pack.soc_pct, held=held)
        self._pack.demand_a = moment.demand_a
        if not held:
            self._turn_key(moment)
        if sensors.charge_cable != moment.charging:
            self._lock.set({"charge_cable": moment.charging})
        self._roll(min(moment.speed_kmh, sensors.limit_kmh or math.inf))
        self._latch = sensors.latch
        return self._latch != before

    def _is_locked_up(self) -> bool:
        """Whether the latch is closed because a command closed it."""
        before, self._locked_before = self._locked_before, self._lock.moved["lock"]
        self._by_order |= self._locked_before != before
        self._by_order &= self._lock.sensors.latch != UNLOCKED
        return self._by_order

    def _turn_key(self, moment: Moment) -> None:
        """Open the latch for a ride, close it after one, and leave it alone between."""
        latch, before = self._lock.sensors.latch, self._ridden
        self._ridden = moment.ridden
        if moment.ridden and latch == LOCKED:
            self._lock.set({"locked": False, "compartment_open": False})
        elif before and not moment.ridden and latch == UNLOCKED:
            self._lock.set({"locked": True})

    def _roll(self, speed_kmh: float) -> None:
        sensors, speed_kmh = self._lock.sensors, round(speed_kmh, 1)
        if speed_kmh == sensors.speed_kmh:
            return
        if not sensors.speed_kmh:
            self._gnss.set({"course_deg": self._next_course_deg()})
        self._gnss.set({"speed_kmh": speed_kmh})
        if speed_kmh and sensors.speed_kmh:
            # It tells by itself ten times a second while it rolls.
            sensors.speed_kmh = speed_kmh
        else:
            self._lock.set({"speed_kmh": speed_kmh})

    def _next_course_deg(self) -> float:
        """Return where the next leg goes: round a corner or straight on; from afar, home."""
        sky = self._gnss.sky
        north_m = (self._home[0] - sky.latitude_deg) * _METRES_A_DEGREE
        width = math.cos(math.radians(sky.latitude_deg))
        east_m = (self._home[1] - sky.longitude_deg) * _METRES_A_DEGREE * width
        if math.hypot(north_m, east_m) > ROAM_M:
            course_deg = math.degrees(math.atan2(east_m, north_m)) + self._random.uniform(-30, 30)
        else:
            course_deg = sky.course_deg + self._random.choice((-90, 0, 0, 90))
        return course_deg % 360
