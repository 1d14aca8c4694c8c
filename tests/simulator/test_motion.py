"""What a vehicle's battery, lock unit and receiver say of one and the same day."""

import binascii
from dataclasses import dataclass, field

import pytest

from edge.gnss.fix import Fix, distance_m
from firmware_shim.gnss import GnssReceiver
from firmware_shim.lock_sensors import LOCKED, UNLOCKED
from firmware_shim.lock_unit import LockUnit
from firmware_shim.pack import Pack
from simulator.load import LoadProfile
from simulator.motion import ROAM_M, Motion

HELLO, LOCK, UNLOCK, IMMOBILISE, LIMIT = 0x01, 0x10, 0x11, 0x12, 0x13
STEP_S = 0.2


@dataclass
class Ride:
    """A vehicle, and its time in steps of a fifth of a second."""

    seed: int
    pack: Pack = field(default_factory=lambda: Pack(soc_pct=90))
    lock: LockUnit = field(default_factory=LockUnit)
    gnss: GnssReceiver = field(default_factory=GnssReceiver)
    steps: int = 0
    seq: int = 0

    def __post_init__(self) -> None:
        load = LoadProfile(self.seed)
        self.motion = Motion(load, self.pack, self.lock, self.gnss, seed=self.seed)
        self.motion.advance(0.0)

    @property
    def now_s(self) -> float:
        return self.steps * STEP_S

    @property
    def speed_kmh(self) -> float:
        return self.lock.sensors.speed_kmh

    @property
    def latch(self) -> int:
        return self.lock.sensors.latch

    def step(self) -> bool:
        """Go on by one step; return whether the latch has moved."""
        self.steps += 1
        self.pack.advance(self.now_s)
        for shim in (self.lock, self.gnss):
            if shim.due_s <= self.now_s:
                shim.tick(self.now_s)
        return self.motion.advance(self.now_s)

    def until(self, *, rides: bool) -> None:
        """Go on until it rolls, or stands with nobody on it."""
        for _ in range(10_000):
            self.step()
            if (self.speed_kmh > 5) if rides else (not self.speed_kmh and self.latch == LOCKED):
                return
        raise AssertionError(f"in vain until rides={rides}")

    def until_it_waits(self) -> None:
        """Go on until it stands with a rider on it."""
        for _ in range(10_000):
            self.step()
            if not self.speed_kmh and self.latch == UNLOCKED:
                return
        raise AssertionError("it never waits")

    def order(self, kind: int, payload: bytes = b"") -> int:
        """Order it as an agent does; return the type of the answer."""
        if not self.seq:
            self._send(HELLO, b"\x01\0\0\0\x07")
        return self._send(kind, payload)

    def _send(self, kind: int, payload: bytes) -> int:
        self.seq += 1
        body = bytes((len(payload), self.seq, kind)) + payload
        crc = binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big")
        return self.lock.receive(b"MC" + body + crc, self.now_s)[-1][4]


ACK, NAK = 0x82, 0x83


def fix(gnss: GnssReceiver) -> Fix:
    return Fix(gnss.sky.latitude_deg, gnss.sky.longitude_deg, gnss.sky.speed_kmh, 1.0, 0.0)


def test_wheel_and_satellites_tell_the_same_speed_and_only_the_ridden_is_open() -> None:
    ride = Ride(3)
    stood = rode = 0
    for _ in range(5 * 900):
        ride.step()
        assert ride.gnss.sky.speed_kmh == ride.speed_kmh
        if ride.speed_kmh > 0:
            assert ride.latch == UNLOCKED
            rode += 1
        elif ride.latch == LOCKED:
            assert ride.pack.demand_a == 0
            stood += 1
    assert rode > 1000
    assert stood > 100
    assert ride.lock.moves == 0


def test_it_goes_as_far_as_its_speed_says_and_stays_round_its_home() -> None:
    ride = Ride(7)
    home, went_m, most_m = fix(ride.gnss), 0.0, 0.0
    before = home
    for _ in range(5 * 1200):
        ride.step()
        now = fix(ride.gnss)
        went_m += distance_m(before, now)
        most_m = max(most_m, distance_m(home, now))
        before = now
    assert went_m > 3 * most_m
    assert 200 < most_m < 2 * ROAM_M


def test_the_same_seed_goes_the_same_way() -> None:
    one, two = Ride(5), Ride(5)
    for _ in range(5 * 200):
        one.step()
        two.step()
    assert one.motion.kept() == two.motion.kept()
    assert one.motion.kept() != Ride(5).motion.kept()


def test_what_a_command_locks_stands_until_a_command_opens_it_and_then_goes_on() -> None:
    ride = Ride(3)
    ride.until(rides=True)
    ride.until_it_waits()
    assert ride.order(LOCK) == ACK
    moved = [ride.step() for _ in range(5 * 600)]
    assert sum(moved) == 1
    assert (ride.latch, ride.speed_kmh, ride.pack.demand_a) == (LOCKED, 0, 0)
    assert ride.motion.kept().by_order
    assert ride.order(UNLOCK) == ACK
    ride.until(rides=True)
    assert ride.lock.moves == 2


def test_a_ridden_vehicle_is_not_locked_nor_immobilised() -> None:
    ride = Ride(3)
    ride.until(rides=True)
    assert ride.order(LOCK) == NAK
    assert ride.order(IMMOBILISE, b"\x01") == NAK
    ride.until_it_waits()
    assert ride.order(IMMOBILISE, b"\x01") == ACK
    for _ in range(5 * 600):
        ride.step()
        assert not ride.speed_kmh
    assert ride.order(IMMOBILISE, b"\x00") == ACK
    ride.until(rides=True)


def test_after_an_unlocking_a_parked_vehicle_stays_open_until_its_next_ride_has_ended() -> None:
    ride = Ride(3)
    ride.until(rides=True)
    ride.until(rides=False)
    assert ride.order(UNLOCK) == ACK
    ride.step()
    assert ride.latch == UNLOCKED
    ride.until(rides=True)
    ride.until(rides=False)


def test_a_limit_is_kept() -> None:
    ride = Ride(3)
    assert ride.order(LIMIT, b"\x08") == ACK
    for _ in range(5 * 900):
        ride.step()
        assert ride.speed_kmh <= 8


def test_a_low_battery_is_plugged_in_and_the_vehicle_stands() -> None:
    ride = Ride(3, pack=Pack(soc_pct=7))
    for _ in range(50):
        ride.step()
    assert ride.lock.sensors.charge_cable
    assert ride.pack.demand_a > 0
    assert ride.speed_kmh == 0


@pytest.mark.parametrize("seed", range(8))
def test_from_the_first_moment_latch_and_motion_agree(seed: int) -> None:
    ride = Ride(seed)
    ridden = ride.latch == UNLOCKED
    for _ in range(10):
        ride.step()
    assert bool(ride.speed_kmh) == ridden
