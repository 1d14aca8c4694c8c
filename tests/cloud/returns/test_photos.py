"""Photos as they come in: good ones, hostile ones, and what they say of themselves."""

import io
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFilter

from cloud.returns.photos import BrokenPhotoError, NotAPhotoError, read_photo
from tests.cloud.returns.parts import a_page, a_photo, a_picture
from tests.cloud.sealed import NOON


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_is_read_measured_and_encoded_anew(kind: str) -> None:
    shot = read_photo(a_photo(kind=kind), "UTC")
    assert (shot.format, shot.width, shot.height) == (kind, 640, 480)
    assert shot.brightness > 80
    assert shot.sharpness > 100
    with Image.open(io.BytesIO(shot.content)) as kept:
        assert (kept.format, kept.size) == ("JPEG", (640, 480))


def test_exif_is_kept_beside_the_photo_and_not_in_it() -> None:
    sent = a_photo(taken_at=NOON, place=(52.5, -13.25), orientation=6)
    shot = read_photo(sent, "UTC")
    assert (shot.taken_at, shot.place) == (NOON, (52.5, -13.25))
    with Image.open(io.BytesIO(shot.content)) as kept:
        assert kept.size == (480, 640)
        assert dict(kept.getexif()) == {}
    assert b"Exif" not in shot.content


def test_a_time_without_a_zone_is_the_citys() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2026:07:01 14:00:00"
    out = io.BytesIO()
    a_picture().save(out, "JPEG", exif=exif)
    assert read_photo(out.getvalue(), "Europe/Berlin").taken_at == NOON


@pytest.mark.parametrize("told", ["0000:00:00 00:00:00", "yesterday", ""])
def test_a_camera_that_does_not_know_the_time_says_nothing(told: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = told
    out = io.BytesIO()
    a_picture().save(out, "JPEG", exif=exif)
    assert read_photo(out.getvalue(), "UTC").taken_at is None


def test_a_large_photo_is_made_smaller() -> None:
    shot = read_photo(a_photo(size=(4_000, 3_000)), "UTC")
    assert (shot.width, shot.height) == (4_000, 3_000)
    with Image.open(io.BytesIO(shot.content)) as kept:
        assert max(kept.size) <= 1_600


def test_dark_and_blurred_ones_are_seen_by_their_numbers() -> None:
    good = read_photo(a_photo(), "UTC")
    assert read_photo(a_photo(light=0.05), "UTC").brightness < 25 < good.brightness
    out = io.BytesIO()
    a_picture().filter(ImageFilter.GaussianBlur(20)).save(out, "JPEG")
    assert read_photo(out.getvalue(), "UTC").sharpness < 25 < good.sharpness


def test_one_picture_has_one_hash_however_it_is_saved() -> None:
    first, again = read_photo(a_photo(1), "UTC"), read_photo(a_photo(1, kind="WEBP"), "UTC")
    other = read_photo(a_photo(2), "UTC")
    assert first.sha256 != again.sha256
    assert (first.phash ^ again.phash).bit_count() <= 3
    assert (first.phash ^ other.phash).bit_count() > 8


@pytest.mark.parametrize(
    "content",
    [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a" + bytes(40), b"%PDF-1.7"],
)
def test_what_is_no_photo_is_refused_by_its_content(content: bytes) -> None:
    with pytest.raises(NotAPhotoError):
        read_photo(content, "UTC")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_one_that_is_cut_off_is_refused(kind: str) -> None:
    whole = a_photo(kind=kind)
    for length in (12, 40, len(whole) // 2):
        with pytest.raises(BrokenPhotoError):
            read_photo(whole[:length], "UTC")


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_a_bomb_of_pixels_is_not_unpacked(side: int) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))
    with pytest.raises(BrokenPhotoError):
        read_photo(bomb, "UTC")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(st.data())
def test_damage_is_refused_or_read_but_never_crashes(data: st.DataObject) -> None:
    whole = bytearray(_WHOLE[data.draw(st.sampled_from(sorted(_WHOLE)))])
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(12, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        shot = read_photo(bytes(whole), "UTC")
    except BrokenPhotoError:
        return
    assert shot.content.startswith(b"\xff\xd8\xff")


_WHOLE = {
    kind: a_photo(kind=kind, size=(64, 48), taken_at=NOON, place=(1.0, 2.0))
    for kind in ("JPEG", "PNG", "WEBP")
}


def test_a_screenshot_is_told_from_a_photo() -> None:
    assert read_photo(a_page(), "UTC").is_screenshot
    noise = Image.effect_noise((640, 480), 40).convert("RGB")
    out = io.BytesIO()
    noise.save(out, "PNG")
    assert not read_photo(out.getvalue(), "UTC").is_screenshot
    camera = Image.Exif()
    camera[ExifTags.Base.Make] = "A camera"
    assert not read_photo(a_page(exif=camera), "UTC").is_screenshot
    assert not read_photo(a_photo(), "UTC").is_screenshot


def test_what_the_camera_wrote_is_told_as_text_without_the_place() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "A camera\0" + "x" * 500
    shot = exif.get_ifd(ExifTags.IFD.Exif)
    shot[ExifTags.Base.DateTimeOriginal] = "2026:07:01 12:00:00"
    shot[ExifTags.Base.ISOSpeedRatings] = 64
    shot[ExifTags.Base.MakerNote] = b"\x00\x01"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    out = io.BytesIO()
    Image.effect_noise((64, 48), 40).convert("RGB").save(out, "JPEG", exif=exif)
    told = dict(read_photo(out.getvalue(), "UTC").exif)
    assert told.pop("Make").startswith("A camera")
    assert told == {"DateTimeOriginal": "2026:07:01 12:00:00", "ISOSpeedRatings": "64"}
    assert read_photo(a_photo(), "UTC").exif == {}
