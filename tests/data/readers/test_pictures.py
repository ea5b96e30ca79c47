"""One image from anywhere: what is seen of it, and the reason where nothing is."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from steps.data.readers import pictures
from steps.data.readers.pictures import Flaw, decode, picture, read, rgb, square


def stored(image, form="PNG", **how):
    file = io.BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def quarters(width=40, height=40):
    """Red, green over blue, white."""
    image = np.zeros((height, width, 3), np.uint8)
    y, x = height // 2, width // 2
    image[:y, :x], image[:y, x:] = (255, 0, 0), (0, 255, 0)
    image[y:, :x], image[y:, x:] = (0, 0, 255), (255, 255, 255)
    return Image.fromarray(image)


def corners(image):
    """The colours of the four quarters' middles, by rows."""
    n = len(image) // 4
    return [tuple(map(int, image[y, x])) for y in (n, 3 * n) for x in (n, 3 * n)]


R, G, B, W = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.mark.parametrize(
    ("tag", "seen"),
    [  # by the definition: where the stored row 0 and column 0 are to be shown
        (1, [R, G, B, W]),
        (2, [G, R, W, B]),
        (3, [W, B, G, R]),
        (4, [B, W, R, G]),
        (5, [R, B, G, W]),
        (6, [B, R, W, G]),
        (7, [W, G, B, R]),
        (8, [G, W, R, B]),
    ],
)
def test_exif_turns_the_image_upright(tag, seen):
    exif = Image.Exif()
    exif[274] = tag
    data = stored(quarters(), exif=exif)
    assert corners(picture(data, 16, "crop")) == seen
    assert bool(decode(data).info.get("turned")) == (tag != 1)


def test_exif_that_cannot_be_read_turns_nothing():
    data = stored(quarters(), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff junk")
    assert np.abs(picture(data, 16, "crop")[4, 4].astype(int) - R).max() < 20


def test_grey_palette_cmyk_and_16_bits_become_rgb():
    grey = np.full((8, 8), 100, np.uint8)
    assert (picture(stored(Image.fromarray(grey)), 8, "crop") == 100).all()
    deep = Image.fromarray(np.full((8, 8), 100 * 257, np.uint16))
    for form in ("PNG", "TIFF", "PPM"):
        assert (picture(stored(deep, form), 8, "crop") == 100).all(), form
    for mode, form in (("P", "PNG"), ("P", "GIF"), ("CMYK", "JPEG"), ("1", "PNG")):
        image = Image.new("RGB", (8, 8), W).convert(mode)
        assert (picture(stored(image, form), 8, "crop") >= 254).all(), (mode, form)
    red = picture(stored(Image.new("RGB", (8, 8), R).convert("P"), "PNG"), 8, "crop")
    assert (red == R).all()


def test_what_is_transparent_shows_white():
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (picture(stored(half), 8, "crop") == 255).all()  # the hidden red does not show
    half.putalpha(51)
    assert (picture(stored(half), 8, "crop") == (255, 204, 204)).all()  # 0.2 red, 0.8 white
    assert (picture(stored(half.convert("LA")), 8, "crop") >= 210).all()
    palette = Image.new("P", (8, 8), 3)
    palette.putpalette(bytes(768))
    assert (picture(stored(palette, transparency=3), 8, "crop") == 255).all()
    assert (picture(stored(palette), 8, "crop") == 0).all()


def test_grey_levels_of_no_known_range_are_broken():
    for array in (np.full((4, 4), 0.5, np.float32), np.full((4, 4), 70_000, np.int32)):
        with pytest.raises(Flaw, match="grey levels"):
            picture(stored(Image.fromarray(array), "TIFF"), 4, "crop")
    with pytest.raises(Flaw, match="mode La does not convert"):
        rgb(Image.new("La", (4, 4)))


def test_crop_takes_the_centre_and_squash_all():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 20:40], wide[:, 40:] = R, G, B
    data = stored(Image.fromarray(wide))
    seen = picture(data, 10, "crop")
    usual = Image.fromarray(wide).resize((30, 10), Image.Resampling.BICUBIC).crop((10, 0, 20, 10))
    assert (seen[:, 2:-2] == G).all() and np.abs(seen.astype(int) - np.asarray(usual)).max() <= 1
    assert [tuple(map(int, c)) for c in picture(data, 30, "squash")[15, [4, 15, 25]]] == [R, G, B]
    strip = stored(Image.new("RGB", (1, 50_000), G))
    assert (picture(strip, 32, "crop") == G).all()


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_a_mask_goes_with_its_image(fit):
    rng = np.random.default_rng(0)
    index = np.kron(rng.integers(0, 2, (6, 9)), np.ones((8, 8))).astype(np.uint8)
    mask = Image.fromarray(index)
    image = Image.fromarray(255 * index).convert("RGB")
    small, shown = square(mask, 24, fit, nearest=True), square(image, 24, fit)[..., 0]
    assert set(np.unique(small)) == {0, 1}
    assert ((shown > 127) == small).mean() > 0.9  # and mirrored or moved it would be near 0.5


def test_resizing_is_antialiased():
    fine = np.zeros((64, 64), np.uint8)
    fine[:, ::2] = 255
    seen = picture(stored(Image.fromarray(fine)), 8, "crop")
    assert np.abs(seen.astype(int) - 128).max() < 16


def broken_png(width, height):
    """A PNG of a few bytes that promises an image of this size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100)))):
        sealed = struct.pack(">I", zlib.crc32(kind + content))
        data += struct.pack(">I", len(content)) + kind + content + sealed
    return data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty (0 bytes)"),
        (b"<html>404 Not Found</html>", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(code) run\n", "not an image"),
        (broken_png(30_000, 30_000), "too large (in pixels)"),
        (broken_png(10_000, 10_000), "too large (in pixels)"),  # where Pillow only warns
    ],
)
def test_what_is_no_image_says_why(data, reason):
    with pytest.raises(Flaw) as told:
        decode(data)
    assert str(told.value) == reason


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP"])
def test_a_truncated_file_is_never_half_an_image(form):
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = stored(Image.fromarray(noise), form)
    assert decode(whole).size == (64, 64)
    for share in (0.5, 0.9):
        with pytest.raises(Flaw, match="truncated|damaged|not an image"):
            decode(whole[: int(share * len(whole))])
    if form in ("JPEG", "PNG"):
        with pytest.raises(Flaw, match="^truncated$"):
            decode(whole[: len(whole) // 2])


def test_the_limit_on_pixels_is_held_even_where_pillow_s_is_lifted(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(Flaw, match="too large"):
        decode(broken_png(30_000, 30_000))


def test_files_that_cannot_be_read_say_why(tmp_path, monkeypatch):
    with pytest.raises(Flaw, match="^missing$"):
        read(tmp_path / "gone.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(Flaw, match="^empty"):
        read(tmp_path / "empty.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(Flaw, match="^not a file$"):
        read(tmp_path / "pipe.png")
    (tmp_path / "large.png").write_bytes(b"x" * 100)
    monkeypatch.setattr(pictures, "BYTES", 99)
    with pytest.raises(Flaw, match="too large"):
        read(tmp_path / "large.png")
