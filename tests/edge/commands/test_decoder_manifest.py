"""A decoder that came with the twin: in use at once, refused whole, in force after a restart."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.battery import open_battery
from edge.drivers.base import BatteryReading
from edge.drivers.broadcast import BroadcastDecoder, ship
from edge.drivers.can import CanFrame
from edge.drivers.dbc_can import DbcCanDecoder
from edge.drivers.nissan_leaf import NissanLeafDecoder
from edge.fitting import broadcasting
from edge.settings import Battery
from firmware_shim.pty import serve
from firmware_shim.registry import build_shim
from protocol.commands import DesiredTwin, decode_twin, encode
from protocol.decoders import DBC_CHARACTERS, DecoderManifest, read_map
from protocol.messages import MessageError
from protocol.signing import TWIN_TYPE
from tests.edge.commands.parts import DEVICE, NOW_MS, TestSigner, Vehicle, a_vehicle

SIGNER = TestSigner()
KEYS = [SIGNER.public]
LARGEST_PAYLOAD = 256 * 1024

DBC = """\
VERSION ""

BU_: A

BO_ 800 Pack: 8 A
 SG_ Volts : 7|16@0+ (0.1,0) [0|0] "V" A
 SG_ Amps : 16|16@1- (0.5,0) [0|0] "A" A
 SG_ Left : 32|8@1+ (0.5,0) [0|0] "%" A

"""
MAP = b"""{"main": "Pack", "messages": [{"message": "Pack", "stale_s": 1.0, "signals": [
  {"signal": "Volts", "name": "voltage_v", "member": "voltage_v", "unknown_raw": 65535},
  {"signal": "Amps", "name": "drawn_a", "member": "current_a", "scale": -1},
  {"signal": "Left", "name": "soc_pct", "member": "soc_pct"}]}]}"""
FRAME = CanFrame(800, bytes.fromhex("0e1014007b000000"))
READ = BatteryReading(voltage_v=360.0, current_a=-10.0, soc_pct=61.5)


def manifest(dbc: str = DBC, signals: bytes = MAP, version: int = 1) -> DecoderManifest:
    return DecoderManifest("our_van", version, dbc, read_map(signals))


def read(decoder: BroadcastDecoder, frame: CanFrame = FRAME, now_s: float = 1.0) -> Any:
    decoder.feed([frame], now_s)
    return decoder.reading(now_s)


async def refused(vehicle: Vehicle) -> list[str]:
    return [str(one["reason"]) for one in await vehicle.facts("twin.refused")]


async def test_a_decoder_of_the_twin_is_in_use_without_a_restart(tmp_path: Path) -> None:
    decoder = DbcCanDecoder()
    async with a_vehicle(tmp_path / "j.db", KEYS, reads=decoder) as vehicle:
        assert read(decoder) is None
        await vehicle.twin(SIGNER.twin(1, decoder=manifest()))
        assert read(decoder) == READ
        assert decoder.about == {"decoder": "our_van 1"}
        assert [one["version"] for one in await vehicle.facts("twin.applied")] == [1]


async def test_it_is_in_force_again_after_a_restart(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS, reads=DbcCanDecoder()) as vehicle:
        await vehicle.twin(SIGNER.twin(1, decoder=manifest()))
    fresh = DbcCanDecoder()
    async with a_vehicle(tmp_path / "j.db", KEYS, reads=fresh, boot_id=2):
        assert read(fresh) == READ


async def test_a_twin_without_one_goes_back_to_the_shipped_one(tmp_path: Path) -> None:
    leaf = NissanLeafDecoder()
    parked = CanFrame(0x1DB, bytes.fromhex("ff60b06a370001fd"))
    async with a_vehicle(tmp_path / "j.db", KEYS, reads=leaf) as vehicle:
        await vehicle.twin(SIGNER.twin(1, decoder=manifest()))
        assert read(leaf, parked) is None
        assert read(leaf) == READ
        await vehicle.twin(SIGNER.twin(2))
        assert read(leaf) is None
        assert read(leaf, parked).voltage_v == 352.5


async def test_another_twin_with_the_same_one_loses_nothing_that_was_heard(tmp_path: Path) -> None:
    decoder = DbcCanDecoder()
    async with a_vehicle(tmp_path / "j.db", KEYS, reads=decoder) as vehicle:
        await vehicle.twin(SIGNER.twin(1, decoder=manifest()))
        assert read(decoder) == READ
        await vehicle.twin(SIGNER.twin(2, decoder=manifest(), speed_limit_kmh=20))
        assert decoder.reading(1.0) == READ


OVERLAP = DBC + 'BO_ 800 Again: 8 A\n SG_ T : 0|8@1+ (1,0) [0|0] "" A\n'
BAD = {
    "no DBC": manifest(dbc="this is no DBC"),
    "an identifier twice": manifest(dbc=OVERLAP),
    "no such message": manifest(signals=MAP.replace(b'"Pack"', b'"Rack"')),
    "no such signal": manifest(signals=MAP.replace(b"Amps", b"Ampere")),
    "no such signal to add": manifest(
        signals=MAP.replace(b'"scale": -1', b'"scale": -1, "plus": "More"')
    ),
    "no such counter": manifest(
        signals=MAP.replace(b'"stale_s": 1.0', b'"stale_s": 1.0, "counter": "More"')
    ),
    "main is not listened to": manifest(signals=MAP.replace(b'"main": "Pack"', b'"main": "Other"')),
    "a member twice": manifest(
        signals=MAP.replace(b'"member": "current_a"', b'"member": "voltage_v"')
    ),
    "raw beyond the bits": manifest(signals=MAP.replace(b"65535", b"65536")),
    "a flag that is a voltage": manifest(
        signals=MAP.replace(b'"unknown_raw": 65535', b'"flag": true')
    ),
    "outside of the frame": manifest(dbc=DBC.replace("32|8@1+", "60|8@1+")),
    "nothing of use": manifest(
        signals=MAP.replace(b'"member": "voltage_v", ', b"")
        .replace(b', "member": "current_a"', b"")
        .replace(b', "member": "soc_pct"', b"")
    ),
}


@pytest.mark.parametrize("why", BAD)
async def test_a_bad_one_is_refused_whole_and_the_old_one_stays(tmp_path: Path, why: str) -> None:
    decoder = DbcCanDecoder()
    async with a_vehicle(tmp_path / "j.db", KEYS, reads=decoder) as vehicle:
        await vehicle.twin(SIGNER.twin(1, decoder=manifest(), speed_limit_kmh=20))
        await vehicle.twin(SIGNER.twin(2, decoder=BAD[why], speed_limit_kmh=25))
        assert await refused(vehicle) == ["bad_decoder"]
        assert vehicle.lock.limit_kmh == 20
        assert decoder.about == {"decoder": "our_van 1"}
        assert read(decoder) == READ
        await vehicle.twin(SIGNER.twin(3, decoder=manifest(version=2)))
        assert decoder.about == {"decoder": "our_van 2"}


@pytest.mark.parametrize(
    "change",
    [
        {"dbc": "x" * (DBC_CHARACTERS + 1)},
        {"dbc": "\0"},
        {"map": {"main": "Pack", "messages": []}},
        {"map": {"main": "Pack", "messages": [], "typo": 1}},
        {"version": 0},
    ],
)
async def test_one_that_is_too_big_or_no_document_is_refused_whole(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    decoder = DbcCanDecoder()
    twin = DesiredTwin(DEVICE, 2, NOW_MS, [SIGNER.public], decoder=manifest())
    document = msgspec.json.decode(encode(twin))
    document["decoder"] |= change
    async with a_vehicle(tmp_path / "j.db", KEYS, reads=decoder) as vehicle:
        await vehicle.twin(SIGNER.twin(1, decoder=manifest()))
        await vehicle.twin(SIGNER.raw(msgspec.json.encode(document), TWIN_TYPE))
        assert await refused(vehicle) == ["bad_document"]
        assert read(decoder) == READ


async def test_a_decoder_that_somebody_else_signed_is_not_used(tmp_path: Path) -> None:
    decoder = DbcCanDecoder()
    async with a_vehicle(tmp_path / "j.db", KEYS, reads=decoder) as vehicle:
        await vehicle.twin(TestSigner().twin(1, decoder=manifest()))
        assert decoder.about == {}
        assert (await vehicle.facts("twin.applied")) == []


async def test_a_car_on_its_bus_is_read_by_the_new_one_at_the_next_poll(tmp_path: Path) -> None:
    shipped = ship("hyundai_kia_pcan", 1)
    turned = msgspec.structs.replace(
        shipped, version=2, dbc=shipped.dbc.replace("48|16@1+ (0.1,0)", "48|16@1+ (0.05,0)")
    )
    shim = build_shim("hyundai_kia_pcan")
    shim.set({"voltage_v": 360.0})
    async with serve(shim) as port:
        battery = open_battery(Battery(protocol="hyundai_kia_pcan", port=f"slcan:{port.path}"))
        reads = broadcasting(battery)
        try:
            before = await battery.source.poll()
            async with a_vehicle(tmp_path / "j.db", KEYS, reads=reads) as vehicle:
                await vehicle.twin(SIGNER.twin(1, decoder=turned))
                after = await battery.source.poll()
        finally:
            await battery.link.close()
    assert before is not None
    assert after is not None
    assert (before.voltage_v, after.voltage_v) == (360.0, 180.0)
    assert battery.source.about["decoder"] == "hyundai_kia_pcan 2"


def test_only_a_bus_that_speaks_on_its_own_takes_a_decoder() -> None:
    serial = open_battery(Battery(protocol="jbd_uart", port="/dev/none"))
    asked = open_battery(Battery(protocol="uds_ev", port="slcan:/dev/none"))
    any_bus = open_battery(Battery(protocol="dbc_can", port="slcan:/dev/none"))
    assert broadcasting(serial) is None
    assert broadcasting(asked) is None
    assert isinstance(broadcasting(any_bus), DbcCanDecoder)


async def test_a_battery_that_is_asked_takes_none(tmp_path: Path) -> None:
    async with a_vehicle(tmp_path / "j.db", KEYS) as vehicle:
        await vehicle.twin(SIGNER.twin(1, decoder=manifest()))
        assert await refused(vehicle) == ["unsupported"]


def test_the_biggest_dbc_fits_into_one_message() -> None:
    text = '"\n' * (DBC_CHARACTERS // 2)
    twin = SIGNER.twin(1, decoder=manifest(dbc=text))
    assert len(twin) < LARGEST_PAYLOAD


@pytest.mark.parametrize("name", ["nissan_leaf_aze0", "nissan_leaf_ze1", "hyundai_kia_pcan"])
def test_the_shipped_ones_travel_and_come_out_the_same(name: str) -> None:
    shipped = ship(name, 1)
    twin = DesiredTwin(DEVICE, 1, NOW_MS, [SIGNER.public], decoder=shipped)
    assert decode_twin(encode(twin)).decoder == shipped


def test_an_unknown_word_in_a_signal_map_is_refused() -> None:
    with pytest.raises(ValueError, match="sign"):
        read_map(MAP.replace(b'"scale"', b'"sign"'))
    with pytest.raises(MessageError):
        decode_twin(b"{}")
