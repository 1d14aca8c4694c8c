"""A vehicle that dies while it enrols: the real agent's program, the real listener, one claim."""

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from cloud.devices import enrolment
from tests.cloud.devices.door import House, counted

pytestmark = pytest.mark.slow

STEPS = ("enrol.answered", "keep.written", "keep.named", "keep.linked")


async def edge(*arguments: str, dies_at: str = "") -> tuple[int, str]:
    """Run `mobility-edge`, killed at a point; return how it ended and everything it said."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "edge", *arguments),
        env={**os.environ, "MOBILITY_FAULT_POINT": dies_at},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await running.communicate()
    return running.returncode or 0, said.decode()


@pytest.fixture
def config(house: House) -> str:
    config = house.folder / "agent.toml"
    config.write_text(
        '[device]\nid = "demo-001"\n[battery]\nprotocol = "jbd_uart"\nport = "none"\n'
        f'[identity]\nenrol_url = "{house.url}"\nclaim = "{house.claim()}"\n'
        f'ca = """\n{house.authority.ca_pem}"""\n'
    )
    return str(config)


@pytest.mark.parametrize("step", STEPS)
async def test_a_vehicle_killed_before_it_kept_the_answer_is_enrolled_with_the_same_claim(
    house: House, config: str, step: str
) -> None:
    assert (await edge("enrol", "--config", config, dies_at=step))[0] == -signal.SIGKILL
    assert "not enrolled" in (await edge("identity", "--config", config))[1]
    ended, said = await edge("enrol", "--config", config)
    assert ended == 0, said
    told = json.loads((await edge("identity", "--config", config, "--json"))[1])
    [row] = enrolment.certificates_of(house.db, "demo-001")
    assert (row.serial, row.revoked_at) == (told["serial"], None)


async def test_a_vehicle_that_lost_its_key_needs_another_claim(house: House, config: str) -> None:
    await edge("enrol", "--config", config, dies_at="enrol.answered")
    shutil.rmtree(Path(config).parent / "identity")
    before = counted("enrol", "claim_used")
    ended, said = await edge("enrol", "--config", config)
    assert ended == 1
    assert "the claim was used already" in said
    assert counted("enrol", "claim_used") == before + 1
