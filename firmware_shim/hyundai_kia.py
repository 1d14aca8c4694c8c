"""A Hyundai Kona's or Kia e-Niro's battery on the P-CAN: what it broadcasts, little-endian.

595  plugs (bit 1 AC, 2 DC) at 1, s16 current 0.1 A at 4 (+ = discharging), u16 voltage 0.1 V
594  u16 charge and discharge limit 0.01 kW, charge 0.5 % at 5, tenths of it in 3 bits at 6
542  charge as displayed, 0.5 %, at 0
596  12 V battery 0.1 V at 1, u16 minutes to full at 2 (AC), u8 at 4 (DC), lowest cell °C, highest
"""

import struct
from collections.abc import Mapping
from typing import ClassVar, Final

from firmware_shim.broadcast import BroadcastNode
from firmware_shim.checks import Check, flag, number
from firmware_shim.pack import PackDesign, PackSample

_DISPLAYED, _LIMITS, _STATE, _COMFORT = 0x542, 0x594, 0x595, 0x596
_LOST: Final = 0x7F
_HALVES: Final = 5
_CHARGE_KW, _DISCHARGE_KW = 66.0, 145.5


class PcanNode(BroadcastNode):
    """The battery of a Kona or e-Niro.

    Dials beside the pack's: `asleep`, `plug_ac`, `plug_dc`, `aux_v`, and `on_ccan`: 595 as the
    other bus has it.
    """

    timetable: ClassVar[Mapping[int, float]] = {
        _STATE: 0.1,
        _LIMITS: 0.1,
        _DISPLAYED: 0.1,
        _COMFORT: 0.2,
    }
    own_dials: ClassVar[Mapping[str, Check]] = {
        "asleep": flag,
        "plug_ac": flag,
        "plug_dc": flag,
        "on_ccan": flag,
        "aux_v": number(0, 25.5),
    }
    design: ClassVar[PackDesign] = PackDesign(
        cells=98,
        capacity_ah=180.0,
        resistance_ohm=0.09,
        heat_capacity_j_per_k=400_000.0,
        heat_loss_w_per_k=35.0,
        overcurrent_a=500.0,
    )

    def payload(self, can_id: int, sample: PackSample) -> bytes:
        """Return what one message says now."""
        if can_id == _STATE:
            return self._state(sample)
        if can_id == _LIMITS:
            return _limits(sample)
        if can_id == _DISPLAYED:
            return struct.pack("<BHHBH", round(sample.soc_pct * 2), 12, 0, 0, 0xFFFF)
        return self._comfort(sample)

    def _state(self, sample: PackSample) -> bytes:
        drawn = max(min(round(-sample.current_a * 10), 0x7FFF), -0x8000)
        volts = round(sample.voltage_v * 10)
        if self.dial("on_ccan", otherwise=False):
            return struct.pack("<BBHHH", 0, 0, drawn & 0xFFFF, volts, 0)
        plugs = self.dial("plug_ac", otherwise=False) << 1
        plugs |= self.dial("plug_dc", otherwise=False) << 2
        return struct.pack("<BBHhH", 10, plugs, 0xB9B9, drawn, volts)

    def _comfort(self, sample: PackSample) -> bytes:
        known = [round(celsius) for celsius in sample.temperatures_c if celsius is not None]
        low, high = (min(known), max(known)) if known else (_LOST, _LOST)
        tenths_v = round(self.dial("aux_v", 12.6) * 10)
        return struct.pack("<BBHBBbb", 0x22, tenths_v, 0, 0, 0, low, high)


def _limits(sample: PackSample) -> bytes:
    into = round(_CHARGE_KW * 100) if sample.charge_fet else 0
    out = round(_DISCHARGE_KW * 100) if sample.discharge_fet else 0
    halves, tenths = divmod(round(sample.soc_pct * 10), _HALVES)
    return struct.pack("<HHBBBB", into, out, 0xA2, halves, tenths, 0x20)
