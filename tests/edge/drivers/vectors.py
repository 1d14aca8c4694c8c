"""Frames printed in the JBD protocol's specification, with what they say."""

READ_BASIC = bytes.fromhex("DD A5 03 00 FF FD 77")
READ_CELLS = bytes.fromhex("DD A5 04 00 FF FC 77")
READ_HARDWARE = bytes.fromhex("DD A5 05 00 FF FB 77")
DISCHARGE_OFF = bytes.fromhex("DD 5A E1 02 00 02 FF 1B 77")
BOTH_FETS_ON = bytes.fromhex("DD 5A E1 02 00 00 FF 1D 77")
FET_WRITTEN = bytes.fromhex("DD E1 00 00 00 00 77")
RIDING = bytes.fromhex(
    "DD 03 00 1D 06 18 FE E1 01 F2 01 F4 00 2A 2C 7C 00 00 00 00 00 00 80 64 03 04 03 "
    "0B 8B 0B 8A 0B 84 F8 84 77"
)
# A new board: one sensor, then humidity, alarms, full 4.90 Ah, remaining, balance current.
NEW_BOARD = bytes.fromhex(
    "DD 03 00 22 06 18 FE E1 01 F2 01 F4 00 2A 2C 7C 00 00 00 00 00 00 80 64 03 04 01 "
    "0B 8B 2D 00 00 01 EA 01 F2 00 00 F7 9A 77"
)
REFUSAL = bytes.fromhex("DD 03 80 00 FF 80 77")
