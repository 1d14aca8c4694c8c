"""The golden bytes printed in docs/lock-unit.md, by name."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "lock-unit.md"
_LINE = re.compile(r"^([a-z0-9_]+) +(4D43[0-9A-F ]+)$", re.MULTILINE)
VECTORS = {
    name: bytes.fromhex(text) for name, text in _LINE.findall(PAGE.read_text(encoding="utf-8"))
}
