"""The agent's configuration: what is read, what is refused, and in which words."""

from pathlib import Path

import pytest

from edge.settings import Battery, Charger, Controller, Gnss, SettingsError, load

SMALLEST = '[device]\nid = "demo-001"\n[battery]\nprotocol = "jbd_uart"\nport = "/dev/ttyS0"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_what_is_not_said_has_the_defaults_of_the_contract(tmp_path: Path) -> None:
    settings = load(written(tmp_path, SMALLEST), {})
    told = settings.intervals
    assert (told.poll_riding_s, told.poll_parked_s) == (1.0, 10.0)
    assert (told.flush_riding_s, told.flush_parked_s) == (1.0, 30.0)
    assert (told.seal_riding_s, told.seal_parked_s, told.journal_parked_s) == (10.0, 60.0, 60.0)
    assert settings.mqtt.keepalive_s <= 30
    assert settings.journal.max_mb == 64


def test_the_journal_lies_beside_the_configuration(tmp_path: Path) -> None:
    settings = load(written(tmp_path, SMALLEST + '[journal]\npath = "j.db"\n'), {})
    assert settings.journal.path == str(tmp_path / "j.db")


def test_the_identity_lies_beside_the_configuration(tmp_path: Path) -> None:
    assert load(written(tmp_path, SMALLEST), {}).identity.folder == str(tmp_path / "identity")
    named = SMALLEST + '[identity]\nfolder = "keys/demo"\n'
    assert load(written(tmp_path, named), {}).identity.folder == str(tmp_path / "keys" / "demo")


def test_what_is_not_wired_is_not_there(tmp_path: Path) -> None:
    settings = load(written(tmp_path, SMALLEST), {})
    assert (settings.controller, settings.gnss) == (None, None)
    wired = SMALLEST + '[gnss]\nport = "/dev/ttyS2"\n'
    assert load(written(tmp_path, wired), {}).gnss == Gnss("/dev/ttyS2")


def test_a_receiver_may_be_fast_or_behind_a_gpsd(tmp_path: Path) -> None:
    fast = SMALLEST + '[gnss]\nport = "/dev/ttyS2"\nbaud = 115200\n'
    assert load(written(tmp_path, fast), {}).gnss == Gnss("/dev/ttyS2", 115_200)
    behind = SMALLEST + '[gnss]\nport = "gpsd://127.0.0.1:2947"\n'
    assert load(written(tmp_path, behind), {}).gnss == Gnss("gpsd://127.0.0.1:2947", 9600)


DOCK = '[device]\nid = "dock-001"\nprofile = "dock"\n'


def test_the_charger_of_a_dock_is_what_is_polled(tmp_path: Path) -> None:
    text = DOCK + '[charger]\nprotocol = "dock_unit"\nport = "/dev/ttyS3"\n'
    settings = load(written(tmp_path, text), {})
    assert (settings.device.profile, settings.charger) == ("dock", Charger("/dev/ttyS3"))
    assert settings.battery == Battery("dock_unit", "/dev/ttyS3")
    moved = load(written(tmp_path, text), {"MOBILITY_CHARGER_PORT": "/dev/ttyS4"})
    assert moved.battery.port == "/dev/ttyS4"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (DOCK, 'missing [charger]; a dock needs one with protocol = "dock_unit" and its port'),
        (DOCK + "[charger]\n", "missing key charger.port"),
        (DOCK + "[charger]\nport = 7\n", "wrong value of charger.port"),
        (
            DOCK + '[battery]\nprotocol = "jbd_uart"\nport = "/dev/ttyS0"\n',
            "a dock has no [battery]; name its unit in [charger]",
        ),
        (
            SMALLEST + '[charger]\nport = "/dev/ttyS3"\n',
            'a vehicle has no [charger]; remove it, or write profile = "dock" under [device]',
        ),
        ('[device]\nid = "a-dock"\nprofile = "bike"\n', "wrong value of device.profile"),
    ],
)
def test_a_dock_that_cannot_be_is_refused_in_words(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(written(tmp_path, text), {})
    assert says in str(refused.value)


def test_a_controller_at_the_batterys_port_needs_none_of_its_own(tmp_path: Path) -> None:
    at_battery = SMALLEST + '[controller]\nprotocol = "jbd_fet"\n'
    assert load(written(tmp_path, at_battery), {}).controller == Controller("jbd_fet")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, SMALLEST + '[mqtt]\nhost = "file.example"\nport = 1\n')
    environ = {
        "MOBILITY_MQTT_HOST": "environment.example",
        "MOBILITY_MQTT_PORT": "18830",
        "MOBILITY_INTERVALS_POLL_S": "0.005",
        "MOBILITY_CONTROLLER_PROTOCOL": "lock_unit",
        "MOBILITY_CONTROLLER_PORT": "/dev/ttyS1",
        "MOBILITY_IDENTITY_CLAIM": "a-claim",
        "MOBILITY_ACCEPT_FD": "7",
    }
    settings = load(path, environ)
    assert (settings.mqtt.host, settings.mqtt.port) == ("environment.example", 18830)
    assert settings.controller == Controller("lock_unit", "/dev/ttyS1")
    assert settings.identity.claim == "a-claim"
    assert settings.intervals.poll_s == 0.005


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[device]\nid = \n", "is not TOML"),
        ('[device]\nid = "demo-001"\n', "missing key battery; add it"),
        (SMALLEST + "[mqtt]\nprt = 1\n", "unknown key mqtt.prt; remove it or correct its name"),
        (
            SMALLEST + '[mqtt]\npassword = "x"\n',
            (
                "unknown key mqtt.password; vehicles use certificates now: "
                "write a new configuration with `mobility-cloud devices add"
            ),
        ),
        (SMALLEST + '[mqtt]\nusername = "x"\n', "vehicles use certificates now"),
        (SMALLEST + '[controller]\nport = "x"\n', "missing key controller.protocol; add it"),
        (
            SMALLEST + '[controller]\nprotocol = "hal"\nport = "x"\n',
            "wrong value of controller.protocol",
        ),
        (SMALLEST + "[bluetooth]\non = true\n", "unknown key bluetooth"),
        (SMALLEST + '[mqtt]\nport = "seven"\n', "wrong value of mqtt.port: expected `int`"),
        (SMALLEST + "[mqtt]\nport = 70000\n", "wrong value of mqtt.port: expected `int` <= 65535"),
        (SMALLEST + "[mqtt]\nkeepalive_s = 60\n", "wrong value of mqtt.keepalive_s"),
        (SMALLEST + "[intervals]\npoll_s = 0\n", "wrong value of intervals.poll_s"),
        (SMALLEST.replace("demo-001", "DEMO"), "wrong value of device.id"),
        ("mqtt = 3\n" + SMALLEST, "wrong value of mqtt: expected `object`"),
    ],
)
def test_a_wrong_configuration_names_file_and_key(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_a_missing_file_tells_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="mobility-cloud devices add"):
        load(tmp_path / "none.toml", {})
