"""Commands and twins: what they may carry, and what each kind needs."""

import json
from typing import Any

import pytest

from protocol.commands import (
    AGENT_KINDS,
    KINDS,
    ArgsError,
    check_args,
    decode_command,
    decode_twin,
    encode,
)
from protocol.messages import MessageError
from protocol.topics import MAX_PAYLOAD_BYTES

COMMAND: dict[str, Any] = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "device_id": "demo-001",
    "kind": "unlock",
    "issued_at_ms": 1_700_000_000_000,
    "not_after_ms": 1_700_000_030_000,
}
TWIN: dict[str, Any] = {
    "device_id": "demo-001",
    "version": 1,
    "issued_at_ms": 1_700_000_000_000,
    "signers": [{"key_id": "k1", "public_key": "ab" * 32}],
}

ZONE: dict[str, Any] = {
    "id": "school",
    "kind": "slow",
    "area": [[[[13.0, 52.0], [13.1, 52.0], [13.1, 52.1], [13.0, 52.0]]]],
    "limit_kmh": 10,
}


def test_a_command_needs_no_more_than_this() -> None:
    command = decode_command(json.dumps(COMMAND | {"later": True}).encode())
    assert (command.kind, command.args, command.traceparent) == ("unlock", {}, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "1"),
        ("id", COMMAND["id"] + "\n"),
        ("device_id", "Demo 1"),
        ("kind", "rm -rf"),
        ("not_after_ms", "2026-11-24T06:00:00Z"),
        ("not_after_ms", 2**47),
        ("args", []),
        ("traceparent", "00-xyz"),
        ("v", 2),
    ],
)
def test_a_command_that_is_none_is_refused(field: str, value: object) -> None:
    with pytest.raises(MessageError):
        decode_command(json.dumps(COMMAND | {field: value}).encode())


def test_a_twin_may_have_zones_and_one_without_says_nothing_of_them() -> None:
    no_go = {"id": "lake", "kind": "no_go", "area": ZONE["area"]}
    twin = decode_twin(json.dumps(TWIN | {"zones": [ZONE, no_go]}).encode())
    assert [(zone.id, zone.kind, zone.limit_kmh) for zone in twin.zones or []] == [
        ("school", "slow", 10),
        ("lake", "no_go", None),
    ]
    assert json.loads(encode(twin))["zones"][0] == ZONE
    assert "zones" not in json.loads(encode(decode_twin(json.dumps(TWIN).encode())))


def test_the_largest_twin_fits_into_a_message() -> None:
    ring = [[-179.123456, -84.123456]] * 32
    zones = [ZONE | {"id": f"{number:0120}", "area": [[ring]]} for number in range(64)]
    twin = decode_twin(json.dumps(TWIN | {"zones": zones}).encode())
    decoder = 65_536 * 4 // 3  # a DBC file beside it
    assert len(encode(twin)) * 4 // 3 + decoder < MAX_PAYLOAD_BYTES * 0.8


def test_a_twin_needs_no_more_than_this() -> None:
    twin = decode_twin(json.dumps(TWIN).encode())
    assert (twin.version, twin.immobilised, twin.limits.speed_limit_kmh) == (1, None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 0),
        ("signers", []),
        ("signers", [{"key_id": "k1", "public_key": "ab"}]),
        ("intervals_s", {"poll_riding_s": 0}),
        ("intervals_s", {"poll_riding_s": True}),
        ("intervals_s", {"coffee_s": 60}),
        ("limits", {"speed_limit_kmh": 400}),
        ("limits", {"speed_mode": "warp"}),
        ("immobilised", "yes"),
        ("zones", [ZONE | {"kind": "swamp"}]),
        ("zones", [ZONE | {"limit_kmh": 2}]),
        ("zones", [ZONE | {"area": []}]),
        ("zones", [ZONE | {"area": [[[[13.0, 52.0], [13.0, 52.1], [13.0, 52.0]]]]}]),
        ("zones", [ZONE | {"area": [[[[181.0, 52.0]] * 4]]}]),
        ("zones", [ZONE, ZONE]),
        ("zones", [ZONE | {"id": f"z-{number}"} for number in range(65)]),
        ("zones", [ZONE | {"area": [[[[13.0, 52.0]] * 2_049]]}]),
    ],
)
def test_a_twin_that_cannot_be_is_refused_whole(field: str, value: object) -> None:
    with pytest.raises(MessageError):
        decode_twin(json.dumps(TWIN | {field: value}).encode())


@pytest.mark.parametrize(
    ("kind", "args", "checked"),
    [
        ("lock", {}, {}),
        ("immobilise", {"on": True}, {"on": True}),
        ("speed_mode", {"mode": "eco"}, {"mode": "eco"}),
        ("speed_limit", {"kmh": 20}, {"kmh": 20}),
        ("speed_limit", {"kmh": None}, {"kmh": None}),
        (
            "set_intervals",
            {"intervals_s": {"poll_parked_s": 5}},
            {"intervals_s": {"poll_parked_s": 5.0}},
        ),
    ],
)
def test_arguments_that_fit_are_taken(
    kind: str, args: dict[str, Any], checked: dict[str, Any]
) -> None:
    assert check_args(kind, args) == checked


@pytest.mark.parametrize(
    ("kind", "args", "says"),
    [
        ("fly", {}, "there are lock, unlock"),
        ("lock", {"hard": True}, "takes no arguments"),
        ("immobilise", {}, "needs 'on'"),
        ("immobilise", {"on": 1}, "true or false"),
        ("speed_mode", {"mode": "warp"}, "eco, normal"),
        ("speed_limit", {"kmh": 2}, "3 to 45"),
        ("speed_limit", {"kmh": True}, "3 to 45"),
        ("speed_limit", {"kmh": 20.5}, "3 to 45"),
        ("set_intervals", {"intervals_s": {}}, "seconds by name"),
        ("set_intervals", {"intervals_s": {"x": 1}}, "there is no 'x'"),
    ],
)
def test_arguments_that_do_not_fit_say_what_would(
    kind: str, args: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgsError, match=says):
        check_args(kind, args)


def test_what_moves_a_part_is_refused_while_riding_and_the_rest_is_not() -> None:
    standing = {kind for kind, rule in KINDS.items() if rule.standstill({"on": True})}
    assert standing == {"lock", "immobilise", "open_battery", "reboot"}
    assert not KINDS["immobilise"].standstill({"on": False})
    assert {"reboot", "read_now", "set_intervals", "rotate_keys"} == AGENT_KINDS
