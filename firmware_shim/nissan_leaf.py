"""A Nissan Leaf's battery on the EV-CAN: what it broadcasts, with counters and CRC.

    1DB  u11 current 0.5 A (two's complement, + = charging), u2 relay cut, u3 failsafe,
         u10 voltage 0.5 V, relay, full, interlock, usable charge (ZE1), counter, CRC
    1DC  u10 discharge and charge limit 0.25 kW, u10 charger limit 0.1 - 10 kW, counter, CRC
    55B  u10 charge 0.1 %, counter, CRC
    5BC  u10 gids, u7 health            5C0  kind (1 highest, 2 mean, 3 lowest), temperature + 40

Bits count from the top of the first byte. The CRC has the polynomial 85 and is over bytes 0 to 6.
"""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Final

from firmware_shim.broadcast import BroadcastNode
from firmware_shim.checks import Check, flag, number, whole
from firmware_shim.faults import Faults
from firmware_shim.pack import Pack, PackDesign, PackSample

_POLYNOMIAL: Final = 0x85
_TEN_BITS: Final = 0x3FF
_GID_WH: Final = 77
_KINDS: Final = 6
_ALONE: Final = 8
_LOST: Final = 0xFF
_NO_TIME: Final = 0x1FFF
_STATE, _LIMITS, _CHARGE, _CAPACITY, _HISTORY = 0x1DB, 0x1DC, 0x55B, 0x5BC, 0x5C0
_ZE1_ONLY: Final = 0x1ED
_GENERATIONS: Final = ("aze0", "ze1")


class LeafNode(BroadcastNode):
    """The battery of an AZE0 or a ZE1.

    Dials beside the pack's: `waking` (voltage, current, charge and gids are all ones, as in the
    first moments after sleep), `asleep` (silence), `failsafe` 0 to 7, `relay_cut` 0 to 3,
    `interlock`, `soh_pct`, `usable_pct`, `counter_stuck`.
    """

    timetable: ClassVar[Mapping[int, float]] = {
        _STATE: 0.01,
        _LIMITS: 0.01,
        _ZE1_ONLY: 0.01,
        _CHARGE: 0.1,
        _CAPACITY: 0.1,
        _HISTORY: 0.5,
    }
    own_dials: ClassVar[Mapping[str, Check]] = {
        "waking": flag,
        "asleep": flag,
        "failsafe": whole(7),
        "relay_cut": whole(3),
        "interlock": flag,
        "soh_pct": number(0, 127),
        "usable_pct": number(0, 126),
        "counter_stuck": flag,
    }
    design: ClassVar[PackDesign] = PackDesign(
        cells=96,
        capacity_ah=115.0,
        resistance_ohm=0.09,
        heat_capacity_j_per_k=270_000.0,
        heat_loss_w_per_k=25.0,
        overcurrent_a=550.0,
    )

    def __init__(
        self, pack: Pack | None = None, *, faults: Faults | None = None, generation: str = "ze1"
    ) -> None:
        if generation not in _GENERATIONS:
            raise ValueError(f"generation is one of {', '.join(_GENERATIONS)}, not {generation!r}.")
        self._is_ze1 = generation == "ze1"
        super().__init__(pack, faults=faults)
        if not self._is_ze1:
            del self._due[_ZE1_ONLY]
        self._counts: Counter[int] = Counter()
        self._kind = 0

    def payload(self, can_id: int, sample: PackSample) -> bytes:
        """Return what one message says now."""
        say = {
            _STATE: self._state,
            _LIMITS: self._limits,
            _CHARGE: self._charge,
            _CAPACITY: self._capacity,
            _HISTORY: self._history,
        }
        if can_id == _ZE1_ONLY:
            return b"\xff\xe1\xed"
        return say[can_id](sample)

    def _state(self, sample: PackSample) -> bytes:
        waking = self.dial("waking", otherwise=False)
        amps = max(min(round(sample.current_a * 2), 1022), -1024) & 0x7FF
        volts = min(round(sample.voltage_v * 2), _TEN_BITS - 1)
        relay = sample.discharge_fet or sample.charge_fet
        failsafe = self.dial("failsafe", 1 if sample.protection_bits else 0)
        bits = _TEN_BITS if waking else amps
        bits = bits << 2 | self.dial("relay_cut", 0)
        bits = bits << 3 | failsafe
        bits = bits << 10 | (_TEN_BITS if waking else volts)
        full = sample.soc_pct >= 100  # noqa: PLR2004 - per cent
        bits = bits << 3 | relay << 2 | full << 1 | self.dial("interlock", otherwise=True)
        bits = bits << 3
        usable = round(self.dial("usable_pct", sample.soc_pct)) if self._is_ze1 else 0
        return self._counted(_STATE, bits.to_bytes(4, "big") + bytes((usable, 0)))

    def _limits(self, sample: PackSample) -> bytes:
        waking = self.dial("waking", otherwise=False)
        out = 440 if sample.discharge_fet else 0
        into = 276 if sample.charge_fet else 0
        charger = round((6.6 + 10) * 10)
        words = (_TEN_BITS,) * 3 if waking else (out, into, charger)
        bits = (words[0] << 20 | words[1] << 10 | words[2]) << 18
        return self._counted(_LIMITS, bits.to_bytes(6, "big"))

    def _charge(self, sample: PackSample) -> bytes:
        waking = self.dial("waking", otherwise=False)
        tenths = _TEN_BITS if waking else round(sample.soc_pct * 10)
        return self._counted(_CHARGE, (tenths << 38).to_bytes(6, "big"))

    def _capacity(self, sample: PackSample) -> bytes:
        health = round(self.dial("soh_pct", 91))
        left_wh = sample.remaining_ah * sample.voltage_v
        gids = min(round(left_wh / _GID_WH), _TEN_BITS - 1)
        if self.dial("waking", otherwise=False):
            gids = _TEN_BITS
        head = (gids << 6).to_bytes(2, "big") + b"\xf0\x64"
        return head + bytes((health << 1 | 1,)) + _NO_TIME.to_bytes(3, "big")

    def _history(self, sample: PackSample) -> bytes:
        self._kind = self._kind % _KINDS + 1
        known = [celsius for celsius in sample.temperatures_c if celsius is not None]
        raw = _LOST
        if known:
            shown = {1: max(known), 2: sum(known) / len(known), 3: min(known)}
            raw = (round(shown.get(self._kind, 0)) + 40) << 1
        kind = self._kind if self._is_ze1 else (self._kind & 3) << 6
        return bytes((kind, raw, 0, 0, 0, 0, 0x1F, 0))

    def _counted(self, can_id: int, six: bytes) -> bytes:
        if not self.dial("counter_stuck", otherwise=False):
            self._counts[can_id] += 1
        seven = six + bytes((self._counts[can_id] & 3,))
        return seven + bytes((_crc(seven),))


def _crc(data: bytes) -> int:
    """Divide bit by bit, as it stands in the notes."""
    rest = 0
    for byte in data:
        for place in range(_ALONE):
            top = rest >> 7 ^ byte >> (7 - place) & 1
            rest = (rest << 1 & 0xFF) ^ (_POLYNOMIAL if top else 0)
    return rest
