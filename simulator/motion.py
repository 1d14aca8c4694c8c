"""One history moves a vehicle's battery, lock unit and receiver alike.

Riders carry a key, unless the vehicle is rented: then it stands until somebody's trip moves it.
"""

import math
import random
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from firmware_shim.gnss import GnssReceiver
from firmware_shim.lock_sensors import LOCKED, UNLOCKED
from firmware_shim.lock_unit import LockUnit
from firmware_shim.pack import Pack
from simulator.load import (
    CHARGER_A,
    PLUG_IN_BELOW_PCT,
    UNPLUG_ABOVE_PCT,
    LoadProfile,
    Moment,
)

if TYPE_CHECKING:
    from simulator.trip import Trip

TOWN: Final = (52.52, 13.405)
TOWN_M: Final = 3000.0
ROAM_M: Final = 1200.0
METRES_A_DEGREE: Final = 111_195.0


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
    has locked or immobilised stands until a command lets it go: then the ride goes on. A rented one
    has no such riders. Whoever has unlocked it by a rental rides it along a trip.

    Args:
        load: the vehicle's day.
        pack: what it draws from.
        lock: what locks it.
        gnss: what knows where it is.
        seed: of its home and of its turns.
        home: latitude and longitude where it stands at first; None for somewhere in town.
        rented: nobody has a key.
    """

    def __init__(
        self,
        load: LoadProfile,
        pack: Pack,
        lock: LockUnit,
        gnss: GnssReceiver,
        *,
        seed: int,
        home: tuple[float, float] | None = None,
        rented: bool = False,
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
        self._home = home or (
            TOWN[0] + north_m / METRES_A_DEGREE,
            TOWN[1] + east_m / (METRES_A_DEGREE * math.cos(math.radians(TOWN[0]))),
        )
        self._is_rented = rented
        self._trip: Trip | None = None
        self._is_lent = False
        self._now_s = 0.0
        self._charging = False
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

    @property
    def trip(self) -> "Trip | None":
        """What its rider rides it along."""
        return self._trip

    def follow(self, trip: "Trip | None") -> None:
        """Be ridden along a trip as long as the latch is open; None stops where it is."""
        self._trip = trip
        self._is_lent |= trip is not None

    def advance(self, now_s: float) -> bool:
        """Go on to `now_s`, in seconds since the beginning; return whether the latch has moved."""
        sensors, before = self._lock.sensors, self._latch
        seconds, self._now_s = now_s - self._now_s, now_s
        held = self._is_locked_up() or sensors.immobilised or not self._pack.discharge_fet
        # Whoever has opened it by a rental has parked it: nobody with a key rides it off meanwhile.
        self._is_lent &= self._trip is not None or sensors.latch != LOCKED
        hands_off = self._is_rented or self._is_lent
        moment = self._load.at(now_s, self._pack.soc_pct, held=held or hands_off)
        if hands_off:
            moment = self._stand()
        if self._trip is not None:
            moment = self._ride(self._trip, seconds, moment, held=held)
        self._pack.demand_a = moment.demand_a
        if not held and not hands_off:
            self._turn_key(moment)
        if sensors.charge_cable != moment.charging:
            self._lock.set({"charge_cable": moment.charging})
        self._roll(min(moment.speed_kmh, sensors.limit_kmh or math.inf))
        self._latch = sensors.latch
        return self._latch != before

    def _stand(self) -> Moment:
        """Stand with nobody on it; locked, it is plugged in when it is low."""
        soc_pct = self._pack.soc_pct
        low = soc_pct < (UNPLUG_ABOVE_PCT if self._charging else PLUG_IN_BELOW_PCT)
        self._charging = low and self._is_rented and self._lock.sensors.latch == LOCKED
        return Moment(CHARGER_A if self._charging else 0.0, charging=self._charging)

    def _ride(self, trip: "Trip", seconds: float, standing: Moment, *, held: bool) -> Moment:
        """Be ridden on; whoever has arrived stands at the very end of the trip."""
        if trip.is_over:
            return standing
        if held or self._lock.sensors.latch != UNLOCKED:
            trip.stand()
            return standing
        sky = self._gnss.sky
        most_kmh = self._lock.sensors.limit_kmh or math.inf
        pace = trip.advance(seconds, (sky.longitude_deg, sky.latitude_deg), most_kmh)
        if trip.is_over:
            longitude_deg, latitude_deg = trip.end
            self._gnss.set({"longitude_deg": longitude_deg, "latitude_deg": latitude_deg})
        self._gnss.set({"course_deg": pace.course_deg})
        return Moment(pace.demand_a, pace.speed_kmh, ridden=True)

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
        if not sensors.speed_kmh and self._trip is None:
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
        north_m = (self._home[0] - sky.latitude_deg) * METRES_A_DEGREE
        width = math.cos(math.radians(sky.latitude_deg))
        east_m = (self._home[1] - sky.longitude_deg) * METRES_A_DEGREE * width
        if math.hypot(north_m, east_m) > ROAM_M:
            course_deg = math.degrees(math.atan2(east_m, north_m)) + self._random.uniform(-30, 30)
        else:
            course_deg = sky.course_deg + self._random.choice((-90, 0, 0, 90))
        return course_deg % 360
