"""`mobility-edge` as a person and a script meet it."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge import VERSION
from edge.cli import main
from edge.journal.lock import JournalLock
from tests.edge.journal.opening import a_journal, fill

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A journal with five sealed readings and a fact."""
    path = tmp_path / "j.db"
    async with a_journal(path) as journal:
        fill(journal, 5)
        await journal.append_fact("a.fact")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    config = tmp_path / "agent.toml"
    config.write_text(
        '[device]\nid = "demo-001"\n[mqtt]\nport = 1\n[journal]\npath = "j.db"\nmax_mb = 1\n'
        f'[battery]\nprotocol = "jbd_uart"\nport = "{tmp_path / "no-battery"}"\n'
    )
    return config


def test_the_journal_is_shown_to_a_person(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "--path", str(path)]) == 0
    said = capsys.readouterr().out
    assert "6 records wait for their acknowledgement" in said
    assert [line.split()[0] for line in said.splitlines()[1:4]] == ["lane", "fact", "signal"]


def test_the_journal_is_shown_to_a_script(
    path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "--config", str(config), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(lane["lane"], lane["floor_seq"], lane["last_seq"]) for lane in told["lanes"]] == [
        ("fact", 1, 1),
        ("signal", 1, 5),
    ]
    assert [lane["unacked_records"] for lane in told["lanes"]] == [1, 5]


async def test_the_journal_is_readable_beside_its_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with a_journal(tmp_path / "j.db") as journal:
        fill(journal, 3)
        await journal.flush()
        assert main(["journal", "--path", str(tmp_path / "j.db"), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        fill(journal, 1)
        assert await journal.flush() == 1
    assert told["unsealed_readings"] == told["lanes"][1]["unacked_records"] == 3


def test_readings_are_exported_as_json_lines(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "export", "--path", str(path)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[3]["time"] == "2023-11-14T22:13:20.003Z"
    assert rows[3]["lane"] == "signal"
    assert rows[3]["values"]["Vehicle.Powertrain.TractionBattery.CurrentVoltage"] == 0.03


def test_readings_are_exported_as_a_table(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "export", "--path", str(path), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["Vehicle.Powertrain.TractionBattery.CurrentVoltage"] for row in rows] == [
        "0.0",
        "0.01",
        "0.02",
        "0.03",
        "0.04",
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["journal", "--path", "{folder}/none.db"], "no journal at"),
        (["run", "--config", "{folder}/none.toml"], "mobility-cloud devices add"),
        (["journal", "--path", "{folder}/agent.toml"], "cannot be read as a journal"),
    ],
)
def test_trouble_is_one_sentence_with_a_next_step(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    filled = [argument.format(folder=config.parent) for argument in arguments]
    assert main(filled) == 1
    said = capsys.readouterr()
    assert says in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""


def test_a_journal_in_use_is_one_sentence(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = JournalLock(tmp_path / "j.db")
    assert main(["run", "--config", str(config)]) == 1
    lock.close()
    said = capsys.readouterr().err
    assert "another agent is using" in said
    assert len(said.splitlines()) == 1


def test_the_doctor_names_each_trouble_and_what_to_do(
    path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--config", str(config), "--json"]) == 1
    findings = {one["part"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert {part for part, one in findings.items() if not one["ok"]} == {
        "battery",
        "broker",
        "identity",
    }
    assert "does not open" in findings["battery"]["found"]
    assert "the vehicle has to enrol" in findings["broker"]["found"]
    assert "mobility-cloud devices claim demo-001" in findings["identity"]["next_step"]
    assert all(one["next_step"] for one in findings.values() if not one["ok"])
    assert "6 records" in findings["journal"]["found"]


def test_the_doctor_gives_one_next_step_for_a_configuration_that_is_not_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["doctor", "--config", "/nope", "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["found"] == "cannot read /nope: No such file or directory"
    assert finding["next_step"].startswith("write one with: mobility-cloud devices add")


@pytest.mark.parametrize(
    "command",
    [[], ["run"], ["journal"], ["journal", "export"], ["doctor"], ["enrol"], ["identity"]],
)
def test_help_has_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command, "--help"])
    assert left.value.code == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["run"], "required: --config; see mobility-edge run --help"),
        (["journal"], "--config FILE or --path FILE; see mobility-edge journal --help"),
        (["journal", "export"], "FILE; see mobility-edge journal export --help"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1


def test_a_reader_that_goes_away_ends_an_export_quietly(path: Path) -> None:
    command = [sys.executable, "-m", "edge", "journal", "export", "--path", str(path)]
    reading, writing = os.pipe()
    os.close(reading)
    child = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, cwd=ROOT)
    os.close(writing)
    assert (child.returncode, child.stderr) == (1, b"")


def test_the_agent_tells_the_version_of_the_project() -> None:
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text()
