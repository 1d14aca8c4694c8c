"""docs/surface.md and the code agree: nothing promised is missing, nothing public is unlisted."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from protocol.topics import LEAVES, topic

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "surface.md").read_text("utf-8")
OF_ARGPARSE = {"--help"}


def pinned(section: str) -> list[str]:
    """The first cells of the section's table, without backticks."""
    text = PAGE.split(f"## {section} (pinned)\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


COMMANDS = pinned("Commands")


def words_of(command: str) -> tuple[str, ...]:
    """`mobility-cloud devices add ID --port` is the command (mobility-cloud, devices, add)."""
    return tuple(re.findall(r"(?<!\S)[a-z][a-z-]*(?!\S)", command))


@cache
def help_of(words: tuple[str, ...]) -> str:
    script = Path(sys.executable).with_name(words[0])
    shown = subprocess.run([script, *words[1:], "--help"], capture_output=True, check=True)
    return shown.stdout.decode()


def tree(words: tuple[str, ...]) -> dict[tuple[str, ...], bool]:
    """Every command from this one down, and whether it is a leaf."""
    names = re.findall(r"^ {4}([a-z][a-z-]*)(?: |$)", positionals(help_of(words)), re.MULTILINE)
    found = {words: not names}
    for name in names:
        found |= tree((*words, name))
    return found


def positionals(text: str) -> str:
    """The part of a help text where argparse shows sub-commands."""
    return text.partition("positional arguments:")[2].partition("\noptions:")[0]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: "_".join(words_of(c)))
def test_a_listed_command_has_help_with_examples_and_exactly_its_flags(command: str) -> None:
    text = help_of(words_of(command))
    assert "example" in text.lower()
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text.split("xample", maxsplit=1)[0]))
    assert flags - OF_ARGPARSE == set(re.findall(r"--[a-z-]+", command))


@pytest.mark.parametrize("script", ["mobility-cloud", "mobility-edge", "mobility-sim"])
def test_every_command_of_a_script_is_listed(script: str) -> None:
    listed = {words_of(command) for command in COMMANDS if command.startswith(script)}
    found = tree((script,))
    assert listed <= set(found)
    assert {words for words, is_leaf in found.items() if is_leaf} <= listed


def test_the_listed_routes_are_those_of_the_application(tmp_path: Path) -> None:
    from cloud.app import build
    from cloud.kit.settings import CloudSettings
    from tests.cloud.routes import routes_of

    app = build(CloudSettings(data_dir=tmp_path))
    documented = {
        f"{method.upper()} {path}"
        for path, told in app.openapi()["paths"].items()
        for method in told
    }
    answered = {f"{route.method} {route.path}" for route in routes_of(app)}
    listed = set(pinned("HTTP"))
    assert unnamed(listed) <= unnamed(answered)
    assert unnamed(documented) <= unnamed(listed)


def test_the_listed_routes_of_the_device_listener_are_its_own() -> None:
    from cloud.devices.device_http import router

    routes = {
        f"{min(getattr(route, 'methods', ()))} {getattr(route, 'path', '')}"
        for route in router.routes
    }
    assert set(pinned("Device listener")) == routes


def unnamed(routes: set[str]) -> set[str]:
    """Routes without the names of their parameters."""
    return {re.sub(r"\{\w+\}", "{}", route) for route in routes}


def test_the_listed_topics_are_those_of_the_contract() -> None:
    assert pinned("Device topics") == [topic("xyz", leaf).replace("xyz", "{d}") for leaf in LEAVES]


def test_every_make_target_is_listed() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)) - {"help"}
    assert set(pinned("Make targets")) == {"make", *(f"make {target}" for target in targets)}
