"""Cars that broadcast, byte for byte as the notes on their buses say."""

import pytest

from edge.battery import open_battery
from edge.settings import Battery
from firmware_shim.broadcast import BroadcastNode
from firmware_shim.can import CanFrame
from firmware_shim.hyundai_kia import PcanNode
from firmware_shim.nissan_leaf import LeafNode
from firmware_shim.pack import Pack
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim


def said(node: BroadcastNode, can_id: int, now_s: float = 0.0) -> str:
    frames = {frame.can_id: frame for frame in node.tick(now_s)}
    return frames[can_id].data.hex()


def test_the_leaf_says_what_a_captured_one_said() -> None:
    node = LeafNode()
    node.set({"current_a": -1.5, "voltage_v": 340.0, "soc_pct": 20.8, "usable_pct": 12})
    first = said(node, 0x1DB)
    assert first[:12] == "ffa0aa280c00"
    assert said(node, 0x1DB, 0.01)[12:14] == "02"
    assert said(node, 0x1DB, 0.02)[12:14] == "03"
    assert said(node, 0x1DB, 0.03)[12:14] == "00"


def test_the_leaf_s_crc_is_that_of_a_captured_frame() -> None:
    node = LeafNode()
    node.set({"waking": True, "usable_pct": 12, "charge_fet": False, "discharge_fet": False})
    node.set({"interlock": False})
    frame = bytes.fromhex(said(node, 0x1DB))
    assert frame[:3].hex() == "7fe0ff"
    assert frame[3] == 0xC0


def test_waking_is_all_ones() -> None:
    node = LeafNode()
    node.set({"waking": True})
    assert said(node, 0x55B).startswith("ffc0")
    assert said(node, 0x5BC, 0.1).startswith("ffc0")
    assert said(node, 0x1DC, 0.2).startswith("fffffffc")


def test_the_timetable_is_kept() -> None:
    node = LeafNode()
    counts = dict.fromkeys((0x1DB, 0x1DC, 0x1ED, 0x55B, 0x5BC, 0x5C0), 0)
    node.tick(0.0)
    while node.due_s <= 10.001:
        for frame in node.tick(node.due_s):
            counts[frame.can_id] += 1
    assert counts == {
        0x1DB: pytest.approx(1000, abs=1),
        0x1DC: pytest.approx(1000, abs=1),
        0x1ED: pytest.approx(1000, abs=1),
        0x55B: pytest.approx(100, abs=1),
        0x5BC: pytest.approx(100, abs=1),
        0x5C0: pytest.approx(20, abs=1),
    }


def test_an_old_leaf_says_neither_the_new_identifier_nor_the_usable_charge() -> None:
    node = LeafNode(generation="aze0")
    frames = {frame.can_id: frame.data for frame in node.tick(0.0)}
    assert 0x1ED not in frames
    assert frames[0x1DB][4] == 0
    assert frames[0x5C0][0] == 0x40


def test_the_kona_says_its_values_little_endian() -> None:
    node = PcanNode()
    node.set({"current_a": -10.0, "voltage_v": 363.7, "soc_pct": 53.4})
    assert said(node, 0x595) == "0a00b9b96400350e"
    assert said(node, 0x594, 0.1) == "c819d638a26a0420"
    assert said(node, 0x542, 0.2).startswith("6b")


def test_dials_are_all_or_nothing_and_silence_is_one() -> None:
    node = LeafNode()
    with pytest.raises(ValueError, match="failsafe"):
        node.set({"soc_pct": 10.0, "failsafe": 9})
    with pytest.raises(ValueError, match="no_such"):
        node.set({"failsafe": 2, "no_such": 1})
    assert node.own == {}
    node.set({"asleep": True})
    assert node.tick(0.0) == []
    assert node.receive(CanFrame(0x79B, b"\x02\x21\x01"), 0.0) == []


def test_the_pack_lives_on() -> None:
    node = PcanNode(Pack(PcanNode.design, soc_pct=50.0))
    node.pack.demand_a = -180.0
    node.tick(0.0)
    node.tick(360.0)
    assert node.pack.soc_pct == pytest.approx(40.0, abs=0.1)


@pytest.mark.parametrize("name", ["nissan_leaf_ev_can", "leaf_aze0", "hyundai_kia_pcan"])
async def test_an_agent_reads_it_over_an_slcan_adapter(name: str) -> None:
    shim = build_shim(name, seed=3, soc_pct=55.0)
    shim.set({"voltage_v": 361.5, "current_a": 12.5})
    protocol = "nissan_leaf_ev_can" if "leaf" in name else name
    async with serve(shim) as port:
        battery = open_battery(Battery(protocol=protocol, port=f"slcan:{port.path}"))
        try:
            reading = await battery.source.poll()
        finally:
            await battery.link.close()
    assert reading is not None
    assert reading.voltage_v == 361.5
    assert reading.current_a == 12.5
    assert reading.soc_pct == 55.0
