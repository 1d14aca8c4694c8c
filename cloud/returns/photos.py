"""Photos as they come in: told apart by content, encoded anew, and what they say of themselves.

What we keep has been through our own encoder: no EXIF, no thumbnail, nothing hidden behind it.
"""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from numbers import Rational
from typing import Any
from zoneinfo import ZoneInfo

from PIL import ExifTags, Image, ImageChops, ImageFilter, ImageOps, ImageStat

from cloud.returns.model import HASH_BITS

MAX_BYTES = 8 * 1024 * 1024
MAX_PIXELS = 50_000_000
KEPT_PX = 1_600
_LOOKED_AT_PX = 512
_QUALITY = 82
_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG"}
_LAPLACIAN = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)
_CAMERA = (ExifTags.Base.Make, ExifTags.Base.Model)
_DRAWN_SHARE = 0.7
"""Of equal neighbours. Pages have 0.75 to 0.98, what a camera saw 0.2 in the middle.

Only where nothing was lost: JPEG makes photos smooth and screens rough, and they cannot be told
apart by it.
"""
_PAIR = 2
_LONGEST_TAG = 200
_HASH_SIDE = 8
_PARTS_OF_ANGLE = 3


class NotAPhotoError(ValueError):
    """It is no JPEG, PNG or WebP."""


class BrokenPhotoError(ValueError):
    """It begins as a photo and cannot be read, or is too large to be one."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A photo that was read.

    Attributes:
        content: encoded anew, JPEG.
        format: of what came: JPEG, PNG or WEBP.
        sha256: of what came.
        phash: difference hash of 64 bits, as a signed number.
        width: pixels of what came.
        height: pixels of what came.
        brightness: mean grey, 0 to 255.
        sharpness: variance of its Laplacian.
        taken_at: when, as EXIF says.
        place: where, as (lat, lon), likewise.
        exif: what the camera wrote of itself and the shot, by tag, as text; the place is not in it.
        is_screenshot: it is drawn, as a screen is, and no camera says that it took it.
    """

    content: bytes
    format: str
    sha256: bytes
    phash: int
    width: int
    height: int
    brightness: float
    sharpness: float
    taken_at: datetime | None
    place: tuple[float, float] | None
    exif: Mapping[str, str]
    is_screenshot: bool


def sniff(content: bytes) -> str:
    """Return the format of a photo by its first bytes; raises NotAPhotoError."""
    for magic, name in _MAGIC.items():
        if content.startswith(magic):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    raise NotAPhotoError("this is no JPEG, PNG or WebP")


def read_photo(content: bytes, time_zone: str) -> Shot:
    """Read a photo.

    Args:
        content: the file.
        time_zone: of times in it that do not say theirs, such as `Europe/Berlin`.

    Raises:
        NotAPhotoError: it is something else.
        BrokenPhotoError: it is cut off, damaged or has too many pixels.
    """
    name = sniff(content)
    try:
        image, (width, height), exif = _opened(content, name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise BrokenPhotoError("it has too many pixels") from bomb
    except BrokenPhotoError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError) as wrong:
        raise BrokenPhotoError("it is cut off or damaged") from wrong
    drawn = name != "JPEG" and not exif and _same_share(image) > _DRAWN_SHARE
    image.thumbnail((KEPT_PX, KEPT_PX))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY, optimize=True)
    grey = image.convert("L")
    grey.thumbnail((_LOOKED_AT_PX, _LOOKED_AT_PX))
    return Shot(
        content=out.getvalue(),
        format=name,
        sha256=hashlib.sha256(content).digest(),
        phash=phash_of(grey),
        width=width,
        height=height,
        brightness=ImageStat.Stat(grey).mean[0],
        sharpness=ImageStat.Stat(grey.filter(_LAPLACIAN)).var[0],
        taken_at=_taken_at(exif, time_zone),
        place=_place(exif),
        exif=_told(exif),
        is_screenshot=drawn,
    )


def _opened(content: bytes, name: str) -> tuple[Image.Image, tuple[int, int], Mapping[int, Any]]:
    """Return the picture upright, its size as it came, and what its EXIF says."""
    with Image.open(io.BytesIO(content), formats=(name,)) as opened:
        size = opened.size
        if size[0] * size[1] > MAX_PIXELS:
            raise BrokenPhotoError(f"it has more than {MAX_PIXELS // 1_000_000} megapixels")
        exif = _exif_of(opened)
        if name == "JPEG":
            opened.draft("RGB", (KEPT_PX, KEPT_PX))
        return ImageOps.exif_transpose(opened).convert("RGB"), size, exif


def _same_share(image: Image.Image) -> float:
    """Return how many of the pixels are exactly as their neighbour to the right, 0 to 1."""
    width, height = image.size
    if width < _PAIR:
        return 1.0
    left, right = image.crop((0, 0, width - 1, height)), image.crop((1, 0, width, height))
    red, green, blue = ImageChops.difference(left, right).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return most.histogram()[0] / ((width - 1) * height)


def phash_of(grey: Image.Image) -> int:
    """Return a difference hash: whether each of 8 by 8 fields is brighter than its neighbour."""
    small = grey.resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.LANCZOS)
    pixels, bits = small.tobytes(), 0
    for row in range(_HASH_SIDE):
        start = row * (_HASH_SIDE + 1)
        for left in range(start, start + _HASH_SIDE):
            bits = bits << 1 | (pixels[left] > pixels[left + 1])
    return bits - (1 << HASH_BITS) if bits >> (HASH_BITS - 1) else bits


def _exif_of(image: Image.Image) -> Mapping[int, Any]:
    """Return the tags we look at; a damaged EXIF says nothing."""
    try:
        exif = image.getexif()
        found: dict[int, Any] = dict(exif.get_ifd(ExifTags.IFD.Exif))
        if gps := dict(exif.get_ifd(ExifTags.IFD.GPSInfo)):
            found[ExifTags.IFD.GPSInfo] = gps
        found |= {tag: exif[tag] for tag in _CAMERA if tag in exif}
    except (OSError, ValueError, SyntaxError, TypeError, LookupError, ArithmeticError):
        return {}
    return found


def _told(exif: Mapping[int, Any]) -> dict[str, str]:
    """Return the tags that have a name and say something, as text that Postgres can keep."""
    named = {ExifTags.TAGS[tag]: exif[tag] for tag in exif if tag in ExifTags.TAGS}
    told = {
        name: "".join(sign for sign in str(value)[:_LONGEST_TAG] if sign.isprintable()).strip()
        for name, value in named.items()
        if isinstance(value, str | int | float | Rational)
    }
    return {name: text for name, text in told.items() if text}


def _taken_at(exif: Mapping[int, Any], time_zone: str) -> datetime | None:
    told = exif.get(ExifTags.Base.DateTimeOriginal)
    offset = exif.get(ExifTags.Base.OffsetTimeOriginal)
    try:
        naive = datetime.strptime(str(told).strip("\0 "), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007
        if offset:
            aware = datetime.fromisoformat(naive.isoformat() + str(offset).strip("\0 "))
        else:
            aware = naive.replace(tzinfo=ZoneInfo(time_zone))
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _place(exif: Mapping[int, Any]) -> tuple[float, float] | None:
    gps = exif.get(ExifTags.IFD.GPSInfo) or {}
    try:
        lat = _degrees(gps[ExifTags.GPS.GPSLatitude])
        lon = _degrees(gps[ExifTags.GPS.GPSLongitude])
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    if gps.get(ExifTags.GPS.GPSLatitudeRef) == "S":
        lat = -lat
    if gps.get(ExifTags.GPS.GPSLongitudeRef) == "W":
        lon = -lon
    # A comparison with NaN is never true: what is no number is no place.
    return (lat, lon) if abs(lat) <= 90 and abs(lon) <= 180 else None  # noqa: PLR2004 - degrees


def _degrees(told: Any) -> float:  # noqa: ANN401 - whatever the camera wrote
    parts = [float(part) for part in told]
    if len(parts) != _PARTS_OF_ANGLE:
        raise ValueError("an angle has degrees, minutes and seconds")
    return parts[0] + parts[1] / 60 + parts[2] / 3600
