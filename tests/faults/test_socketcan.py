"""SocketCAN on a real kernel: in a virtual machine, for few kernels of build machines have CAN."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.faults.results import table, write

FRAMES = 2500
LIMIT_S = 400
TOOLS = ("qemu-system-x86_64", "busybox", "cpio", "depmod", "modprobe", "mkfs.ext4", "apt-get")


@pytest.mark.faults
def test_no_frame_of_a_leaf_is_lost_on_a_real_can_interface(tmp_path: Path, shared: Path) -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(
            f"no virtual machine without {', '.join(missing)}: on Debian, "
            "apt-get install qemu-system-x86 busybox-static kmod cpio e2fsprogs"
        )
    guest = f"cd {ROOT} && {sys.executable} -B -m tests.faults.socketcan_guest {FRAMES}"
    done = subprocess.run(
        [shared / "tools" / "powercut" / "vm.sh", guest, str(LIMIT_S)],
        env={**os.environ, "VMDIR": str(tmp_path / "vm")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=LIMIT_S + 200,
    )
    shutil.rmtree(tmp_path / "vm", ignore_errors=True)
    told = [line.strip() for line in done.stdout.splitlines()]
    assert any(line.endswith("VCAN_OK") for line in told), done.stdout[-2000:] + done.stderr[-2000:]
    (line,) = [line for line in told if line.startswith("HEARD ")] or [done.stdout[-4000:]]
    found = json.loads(line.removeprefix("HEARD "))
    print(write("faults-socketcan", "SocketCAN on a real kernel", found, as_text(found)))
    counters = found["counters"]
    assert found["sent"] >= 2000
    assert counters["heard"] == found["sent"] + found["sent_others"]
    assert counters["frames"] == found["useful"] > 1000
    assert {name for name in counters if name.startswith("bad_")} == set()
    assert found["chosen"] == found["sent_chosen"] > 500
    assert found["read"] == found["polls"] > 0
    assert 250 < found["voltage_v"] < 450


def as_text(found: dict[str, Any]) -> str:
    """Return the table for people."""
    counters = found["counters"]
    lost = found["sent"] + found["sent_others"] - counters["heard"]
    rows = [
        ("a Leaf's frames sent", found["sent"]),
        ("frames of others sent", found["sent_others"]),
        ("frames lost", lost),
        (
            "frames the decoder used, of as many it can",
            f"{counters['frames']} of {found['useful']}",
        ),
        ("frames behind a filter in the kernel", f"{found['chosen']} of {found['sent_chosen']}"),
        ("polls with a reading", f"{found['read']} of {found['polls']}"),
    ]
    return "On vcan0 of a virtual machine, its processor emulated.\n\n" + table(("what", ""), rows)
