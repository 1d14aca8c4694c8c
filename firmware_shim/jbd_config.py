"""Config registers of a JBD board for a 10-cell pack, as delivered."""

from typing import Final

DEFAULTS: Final[dict[int, int]] = {
    0x10: 1040,  # design capacity, 10 mAh
    0x11: 832,  # cycle capacity, 10 mAh
    0x12: 4180,  # cell full, mV
    0x13: 3000,  # cell empty, mV
    0x14: 20,  # self discharge, 0.1 %
    0x15: 0x2C7C,  # production date
    0x17: 0,  # cycles
    0x18: 3381,  # temperature limits, 0.1 K: charge over, release
    0x19: 3331,
    0x1A: 2731,  # charge under, release
    0x1B: 2781,
    0x1C: 3481,  # discharge over, release
    0x1D: 3431,
    0x1E: 2531,  # discharge under, release
    0x1F: 2581,
    0x20: 4250,  # pack over-voltage, release, 10 mV
    0x21: 4150,
    0x22: 2800,  # pack under-voltage, release
    0x23: 3000,
    0x24: 4250,  # cell over-voltage, release, mV
    0x25: 4150,
    0x26: 2800,  # cell under-voltage, release
    0x27: 3000,
    0x28: 1500,  # charge over-current, 10 mA
    0x29: 0x10000 - 4000,  # discharge over-current, 10 mA, signed
    0x2A: 4000,  # balance start, mV
    0x2B: 10,  # balance window, mV
    0x2D: 0x000E,  # function bits, bit 3 = balancing
    0x2E: 0x0007,  # fitted sensors
    0x2F: 10,  # cells
}
