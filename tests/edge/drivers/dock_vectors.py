"""The frames that docs/dock-unit.md prints."""

import re
from pathlib import Path

_DOC = Path(__file__).parents[3] / "docs" / "dock-unit.md"
FRAMES = {
    name: bytes.fromhex(text)
    for name, text in re.findall(
        r"^(\w+) +(4D43 [0-9A-F ]+)$", _DOC.read_text("utf-8"), re.MULTILINE
    )
}
READ, WHO, LED_BLUE, ABOUT = (FRAMES[name] for name in ("read", "who", "led_blue", "about"))
CHARGING, FREE, FAULT = (FRAMES[name] for name in ("charging", "free", "fault"))
DONE_BLUE, NAK_UNKNOWN = (FRAMES[name] for name in ("done_blue", "nak_unknown"))
