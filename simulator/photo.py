"""A photo of a parked scooter, as a phone takes it: never the same one twice."""

import io
import random
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDE: Final = 960
HIGH: Final = 720
_TIME_TAKEN: Final = 36867
_EXIF_FOLDER: Final = 0x8769
_MAKE: Final = 271
_OFFSET: Final = 36881


def take_photo(chance: random.Random, taken_at: datetime) -> bytes:
    """Return a JPEG of a scooter on a pavement, with EXIF.

    Args:
        chance: of light, wall and where the scooter stands.
        taken_at: what the phone's clock says, with its offset.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
    """
    from PIL import Image, ImageDraw

    light = chance.randint(150, 215)
    image = Image.new("RGB", (WIDE, HIGH), (light, light, min(255, light + 20)))
    draw = ImageDraw.Draw(image)
    _wall(draw, chance, light)
    _pavement(draw, chance)
    _scooter(draw, chance)
    grain = Image.effect_noise((WIDE, HIGH), chance.uniform(12, 22)).convert("RGB")
    image = Image.blend(image, grain, 0.12)
    exif = Image.Exif()
    exif[_MAKE] = "Simulated"
    details = exif.get_ifd(_EXIF_FOLDER)
    details[_TIME_TAKEN] = f"{taken_at:%Y:%m:%d %H:%M:%S}"
    details[_OFFSET] = taken_at.isoformat(timespec="seconds")[-6:]
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85, exif=exif)
    return out.getvalue()


def _wall(draw: "ImageDraw.ImageDraw", chance: random.Random, light: int) -> None:
    base = [chance.randint(90, light) for _ in range(3)]
    high, wide = chance.randint(24, 40), chance.randint(60, 110)
    for row, top in enumerate(range(0, HIGH // 2, high)):
        for left in range(-wide + row % 2 * wide // 2, WIDE, wide):
            colour = tuple(max(0, min(255, part + chance.randint(-18, 18))) for part in base)
            draw.rectangle((left, top, left + wide - 4, top + high - 4), fill=colour)


def _pavement(draw: "ImageDraw.ImageDraw", chance: random.Random) -> None:
    grey = chance.randint(110, 150)
    side = chance.randint(50, 90)
    for top in range(HIGH // 2, HIGH, side):
        for left in range(0, WIDE, side):
            tone = grey + chance.randint(-14, 14)
            draw.rectangle((left, top, left + side - 3, top + side - 3), fill=(tone, tone, tone))
    for left in (chance.randint(20, 160), chance.randint(760, 920)):
        draw.line((left, HIGH, left + 60, HIGH // 2), fill=(245, 245, 245), width=12)


def _scooter(draw: "ImageDraw.ImageDraw", chance: random.Random) -> None:
    left, floor = chance.randint(220, 420), chance.randint(560, 640)
    paint = tuple(chance.choice(((20, 120, 90), (30, 80, 160), (200, 90, 30))))
    for x in (left, left + 300):
        draw.ellipse((x - 42, floor - 84, x + 42, floor), fill=(25, 25, 25))
        draw.ellipse((x - 18, floor - 60, x + 18, floor - 24), fill=(190, 190, 190))
    draw.rectangle((left, floor - 60, left + 300, floor - 34), fill=paint)
    draw.line((left + 300, floor - 42, left + 250, floor - 380), fill=paint, width=20)
    draw.line((left + 200, floor - 380, left + 310, floor - 390), fill=(15, 15, 15), width=14)
    draw.rectangle((left + 255, floor - 250, left + 300, floor - 205), fill=(240, 240, 240))
