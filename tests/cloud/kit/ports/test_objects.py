"""Objects in a folder."""

import stat
from pathlib import Path

import pytest

from cloud.kit.ports.objects import FolderObjects


def test_what_is_put_is_got_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    kept = FolderObjects(tmp_path / "photos")
    kept.put("demo/one.jpg", b"first")
    kept.put("demo/one.jpg", b"second")
    assert kept.get("demo/one.jpg") == b"second"
    file = tmp_path / "photos" / "demo" / "one.jpg"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["one.jpg"]


def test_what_is_deleted_is_gone_and_may_be_deleted_again(tmp_path: Path) -> None:
    kept = FolderObjects(tmp_path)
    kept.put("one", b"1")
    kept.delete("one")
    kept.delete("one")
    with pytest.raises(KeyError):
        kept.get("one")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../b", "a//b", ".hidden", "a/"])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="is no key"):
        FolderObjects(tmp_path).put(key, b"")
