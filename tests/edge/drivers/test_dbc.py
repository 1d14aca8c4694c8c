"""Our reading of DBC files, held to what cantools reads in them."""

import logging
from functools import cache
from pathlib import Path

import pytest
from cantools.database import DecodeError, load_string
from cantools.database.can import Database
from cantools.database.errors import Error as CantoolsError
from hypothesis import given
from hypothesis import strategies as st

from edge.drivers.dbc import DbcError, DbcMessage, load_dbc, raw_of, shipped

SHIPPED = ("nissan_leaf_aze0.dbc", "nissan_leaf_ze1.dbc", "hyundai_kia_pcan.dbc")
HEAD = 'VERSION ""\n\nNS_ :\n\nBS_:\n\nBU_: A\n\n'


@cache
def both(text: str) -> tuple[Database, dict[str, DbcMessage]]:
    return database(text), load_dbc(text)


def message(*signals: str, size: int = 8, head: str = "BO_ 256 One") -> str:
    lines = "".join(f" SG_ {signal}\n" for signal in signals)
    return f"{HEAD}{head}: {size} A\n{lines}\n"


def database(text: str) -> Database:
    found = load_string(text, "dbc", strict=False)
    assert isinstance(found, Database)
    return found


MUXED = message('K M : 0|8@1+ (1,0) [0|0] "" A', 'S m0 : 8|8@1+ (1,0) [0|0] "" A')


def without(text: str, overlapping: str) -> str:
    """The file without a signal that shares its bits: cantools cannot decode such a message."""
    return "\n".join(line for line in text.split("\n") if f"SG_ {overlapping} " not in line)


def ours(found: DbcMessage, data: bytes) -> dict[str, float]:
    """Every signal that the frame has, as cantools' `decode` gives it."""
    chosen = {
        signal.name: raw_of(signal, found.size, unsigned=True)(data)
        for signal in found.signals.values()
    }
    return {
        signal.name: raw_of(signal, found.size)(data) * signal.scale + signal.offset
        for signal in found.signals.values()
        if signal.selector is None or chosen[signal.selector] in signal.selected_by
    }


def theirs(parsed: Database, can_id: int, data: bytes) -> dict[str, object] | None:
    """What cantools decodes, None where it does not: a selector's value that chooses nothing."""
    try:
        decoded = parsed.decode_message(can_id, data, decode_choices=False)
    except DecodeError as trouble:
        if "multiplexer" not in str(trouble):
            raise
        return None
    assert isinstance(decoded, dict)
    return dict(decoded)


@pytest.mark.parametrize("name", SHIPPED)
@given(data=st.binary(min_size=8, max_size=8))
def test_every_signal_of_our_files_is_what_cantools_decodes(name: str, data: bytes) -> None:
    text = without(shipped(name), "CapacityKind")
    parsed, mine = both(text)
    for found in mine.values():
        expected = theirs(parsed, found.can_id, data)
        if expected is not None:
            assert ours(found, data) == pytest.approx(expected)


def fits(text: str) -> bool:
    """Whether cantools finds room for every signal."""
    try:
        load_string(text, "dbc", strict=True)
    except (CantoolsError, ValueError):
        return False
    return True


@given(
    size=st.integers(1, 8),
    place=st.integers(0, 63),
    bits=st.integers(1, 64),
    little=st.booleans(),
    signed=st.booleans(),
    data=st.binary(min_size=8, max_size=8),
)
def test_any_signal_anywhere_is_what_cantools_decodes_or_is_refused(
    size: int,
    place: int,
    bits: int,
    little: bool,
    signed: bool,
    data: bytes,
) -> None:
    sign = "-" if signed else "+"
    text = message(f'S : {place}|{bits}@{int(little)}{sign} (0.5,-3) [0|0] "" A', size=size)
    if not fits(text):
        with pytest.raises(DbcError, match="does not fit"):
            load_dbc(text)
        return
    (found,) = load_dbc(text).values()
    expected = theirs(database(text), 256, data[:size])
    assert ours(found, data[:size]) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name",
    ["nissan_leaf_ev_can_aze0.dbc", "nissan_leaf_ev_can_ze1.dbc", "hyundai_kona_ev_pcan.dbc"],
)
def test_files_of_others_can_be_loaded_too(shared: Path, name: str) -> None:
    text = (shared / "data/battery/dbc" / name).read_text("cp1252")
    battery = {"x1DB", "x55B"} if "leaf" in name else {"Batt_HV_Status", "BatteryLimits"}
    found = load_dbc(text, battery)
    assert set(found) == battery
    data = bytes.fromhex("b1e0beed4a5a8478")
    for one in found.values():
        assert ours(one, data) == pytest.approx(theirs(database(text), one.can_id, data))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no DBC file"),
        ("BO_ 1 ;", "no DBC file"),
        (HEAD, "no message"),
        (message('S : 60|8@1+ (1,0) [0|0] "" A'), "does not fit"),
        (message('S : 0|8@1+ (1,0) [0|0] "" A', size=9), "classic frame"),
        (message('S : 0|8@1+ (1,0) [0|0] "" A', size=0), "classic frame"),
        (message('S : 0|8@1+ (1,0) [0|0] "" A', size=999_999_999), "size or place"),
        (message('S : 0|99999999@1+ (1,0) [0|0] "" A'), "size or place"),
        (message("S : " + "9" * 5000 + '|8@1+ (1,0) [0|0] "" A'), "size or place"),
        (MUXED + "SG_MUL_VAL_ 256 S K 0-4000000000;\n", "range"),
        (message('S : 0|8@1+ (1e300,0) [0|0] "" A'), "scale"),
        (
            message('S : 0|8@1+ (1,0) [0|0] "" A')
            + 'BO_ 256 Two: 8 A\n SG_ T : 0|8@1+ (1,0) [0|0] "" A\n',
            "one identifier",
        ),
        (
            message('S : 0|32@1- (1,0) [0|0] "" A') + "SIG_VALTYPE_ 256 S : 1;\n",
            "floating",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(DbcError, match=why):
        load_dbc(text)


@given(text=st.text(max_size=200) | st.text(alphabet='BO_SG: 0123|@+-()[]"A\n', max_size=300))
def test_no_text_does_worse_than_be_refused(text: str) -> None:
    logging.disable(logging.CRITICAL)
    try:
        load_dbc(text)
    except DbcError:
        pass
    finally:
        logging.disable(logging.NOTSET)
