"""Find the Chromium that the browser stories drive: `python -m tests.browser [--install]`."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
MISSING = "needs Chromium: install it, or set CHROMIUM=/path/to/chromium"


def find_chromium() -> Path | None:
    """The browser named by CHROMIUM, else the first one on PATH, else None."""
    named = os.environ.get("CHROMIUM")
    found = [shutil.which(name) for name in ((named,) if named else NAMES)]
    return next((Path(path) for path in found if path), None)


def install() -> None:
    """Install Debian's Chromium; the caller has checked that this process is root."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "chromium"],
    ):
        subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, check=True)


def main() -> int:
    """Say which browser the stories will use; a missing one is no failure, its stories skip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="as root, install a missing one")
    arguments = parser.parse_args()
    named = "CHROMIUM" in os.environ
    can_install = not named and os.geteuid() == 0 and shutil.which("apt-get") is not None
    if arguments.install and find_chromium() is None and can_install:
        sys.stderr.write("installing Chromium for the browser stories\n")
        try:
            install()
        except (OSError, subprocess.CalledProcessError) as trouble:
            sys.stderr.write(f"Chromium could not be installed ({trouble}).\n")
    chromium = find_chromium()
    sys.stderr.write(f"{chromium or f'no browser, its stories are skipped: {MISSING}'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
