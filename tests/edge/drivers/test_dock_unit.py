"""The dock unit's decoder, on the frames of docs/dock-unit.md and against the emulated unit."""

import dataclasses
from pathlib import Path

import pytest

from edge.drivers.base import Explained, FrameError
from edge.drivers.dock_unit import ABOUT, DONE, METER, DockState, DockUnitDecoder, led_request
from edge.drivers.poller import Poller
from edge.links.serial import SerialLink
from firmware_shim.dock_unit import BLUE, DockUnit
from firmware_shim.faults import Faults
from firmware_shim.pty import serve
from tests.edge.drivers import dock_vectors as vectors

IMPATIENT = dataclasses.replace(DockUnitDecoder.policy, timeout_s=0.02)


def explained(frame: bytes) -> Explained:
    return DockUnitDecoder.explain(frame)


def refused(frame: bytes) -> str:
    with pytest.raises(FrameError) as trouble:
        explained(frame)
    return trouble.value.reason


def test_a_charging_dock_is_read_with_its_units_and_signs() -> None:
    fields, reading = explained(vectors.CHARGING)
    assert fields == {
        "type": METER,
        "state": "charging",
        "bay_occupied": True,
        "cable": True,
        "connector_locked": True,
        "faults": (),
        "voltage_v": 38.12,
        "current_a": 4.0,
        "power_w": 168,
        "energy_wh": 1234,
        "temperature_c": 24.9,
        "led": "blue",
        "soc_pct": 40,
        "serial": "PK-0001",
    }
    assert reading is not None
    assert (reading.voltage_v, reading.current_a, reading.soc_pct) == (38.12, 4.0, None)


def test_what_is_all_ones_is_not_known_and_faults_have_names() -> None:
    fields, reading = explained(vectors.FAULT)
    assert fields["faults"] == ("overcurrent", "mains_lost")
    unknown = {"voltage_v", "current_a", "power_w", "energy_wh", "temperature_c", "led", "soc_pct"}
    assert {name for name in unknown if fields[name] is None} == unknown
    assert fields["serial"] is None
    assert reading is not None
    assert (reading.voltage_v, reading.current_a, reading.temperatures_c) == (None, None, None)
    assert reading.alarms == ("overcurrent", "mains_lost")


def test_a_free_bay_has_no_pack() -> None:
    fields, _ = explained(vectors.FREE)
    assert (fields["state"], fields["bay_occupied"], fields["serial"]) == ("free", False, None)
    assert (fields["led"], fields["soc_pct"]) == ("green", None)


def test_requests_and_the_other_replies_are_explained() -> None:
    assert explained(vectors.READ).fields == {"type": 0x20}
    assert explained(vectors.WHO).fields == {"type": 0x21}
    assert explained(vectors.LED_BLUE).fields == {"type": 0x22, "led": "blue"}
    hardware = {"type": ABOUT, "version": 1, "hardware": "MC-DU1 1.0"}
    assert explained(vectors.ABOUT).fields == hardware
    assert explained(vectors.DONE_BLUE).fields == {"type": DONE}


def test_what_is_sent_is_what_the_page_prints() -> None:
    policy = DockUnitDecoder.policy
    assert (policy.main.request, policy.once[0].request) == (vectors.READ, vectors.WHO)
    assert led_request("blue").request == vectors.LED_BLUE


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (vectors.CHARGING[:-1] + b"\0", "checksum"),
        (vectors.CHARGING[:-3], "length"),
        (b"MX" + vectors.CHARGING[2:], "start"),
        (vectors.NAK_UNKNOWN, "status"),
        (bytes.fromhex("4d430000107e7e"), "checksum"),
        (b"", "length"),
    ],
)
def test_what_is_no_frame_is_refused_with_its_reason(frame: bytes, reason: str) -> None:
    assert refused(frame) == reason


def test_a_frame_of_the_lock_unit_is_passed_over_and_counted() -> None:
    lock = bytes.fromhex("4D43000210B8CF")
    assert refused(lock) == "unsupported"
    decoder = DockUnitDecoder()
    assert [frame.key for frame in decoder.feed(lock + vectors.CHARGING)] == [METER]
    assert decoder.counters.bad == {"unsupported": 1}


async def test_the_emulated_unit_is_read_and_its_lamp_obeys(tmp_path: Path) -> None:
    unit = DockUnit()
    unit.set({"bay_occupied": True, "cable": True, "serial": "PK-77", "energy_wh": 500})
    async with serve(unit, link_path=tmp_path / "dock"):
        link = SerialLink(str(tmp_path / "dock"), baud=115_200)
        poller = Poller(link, DockUnitDecoder())
        await poller.poll()
        reading = await poller.poll()
        assert await poller.ask(led_request("blue")) is not None
        await link.close()
    assert reading is not None
    assert reading.current_a == pytest.approx(4.0, abs=0.1)
    dock = poller.about["dock"]
    assert isinstance(dock, DockState)
    assert (dock.state, dock.serial, dock.energy_wh) == ("charging", "PK-77", 500)
    assert poller.about["hardware"] == "MC-DU1 1.0"
    assert unit.led == BLUE


@pytest.mark.parametrize("fault", ["noise", "split", "half_frame", "bad_checksum", "no_reply"])
async def test_a_bad_line_gives_the_right_values_or_none(tmp_path: Path, fault: str) -> None:
    unit = DockUnit(faults=Faults({fault: 0.3}, seed=5))
    unit.set({"bay_occupied": True, "voltage_v": 40.5, "current_a": 0.0})
    async with serve(unit, link_path=tmp_path / "dock"):
        link = SerialLink(str(tmp_path / "dock"), baud=115_200)
        decoder = DockUnitDecoder()
        fast = Poller(link, decoder, policy=IMPATIENT)
        seen = [await fast.poll() for _ in range(20)]
        await link.close()
    good = [reading for reading in seen if reading is not None]
    assert len(good) > 10
    assert {(reading.voltage_v, reading.current_a) for reading in good} == {(40.5, 0.0)}
