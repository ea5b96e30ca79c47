"""One image file from anywhere, opened safely: an upright RGB square, or the reason why not.

The file is data and never code: a closed list of formats (EPS, which would start Ghostscript, is
not among them), a limit on bytes and on pixels. Whatever a damaged file makes of Pillow's decoders
becomes one word.

Turned as its EXIF says; of an animation the first frame; grey, palette and CMYK become RGB; 16-bit
grey is divided by 256; what is transparent shows white.
"""

import warnings
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as an image when a folder is listed; other files there are passed over."""
PIXELS = 1024**3 // 12
"""Most pixels: Pillow's own limit, held here too, since any library can lift that one."""
BYTES = 2**28
"""Most bytes of a file, which is read whole."""
_FLIP = Image.Transpose
TURNS = {
    2: _FLIP.FLIP_LEFT_RIGHT,
    3: _FLIP.ROTATE_180,
    4: _FLIP.FLIP_TOP_BOTTOM,
    5: _FLIP.TRANSPOSE,
    6: _FLIP.ROTATE_270,
    7: _FLIP.TRANSVERSE,
    8: _FLIP.ROTATE_90,
}
"""EXIF's tag 274, Orientation, and what makes it upright (Exif 2.32, 4.6.4)."""

Fit = Literal["crop", "squash"]
"""How an oblong becomes a square: its centre, or all of it with its proportions given up."""


class Broken(NamedTuple):
    """A file that could not be used: its path in the data's folder, the reason in words."""

    path: str
    reason: str


class Flaw(Exception):
    """One image cannot be used; the text is the reason, as it stands in Broken."""


def read(path: Path) -> bytes:
    """The bytes of a file. Raises Flaw if it is missing, empty, too large or forbidden."""
    try:
        if not path.is_file():  # a pipe would hold us for ever
            raise Flaw("not a file" if path.exists() else "missing")
        size = path.stat().st_size
        if size > BYTES:
            raise Flaw(f"too large ({size} bytes)")
        if not size:
            raise Flaw("empty (0 bytes)")
        return path.read_bytes()
    except OSError as error:
        raise Flaw(f"cannot be read ({error.strerror})") from error


def decode(data: bytes) -> Image.Image:
    """An image in the mode that it is stored in, upright; `info["turned"]` if EXIF asked for it.

    Raises Flaw with the reason.
    """
    if not data:
        raise Flaw("empty (0 bytes)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on size, which is told below, and on odd EXIF
        try:
            image = Image.open(BytesIO(data), formats=FORMATS)
            pixels = image.width * image.height
            if pixels <= PIXELS:
                image.load()
        except Image.DecompressionBombError as error:
            raise Flaw("too large (in pixels)") from error
        except UnidentifiedImageError as error:
            raise Flaw("not an image") from error
        except Exception as error:  # decoders raise nearly anything on a damaged file
            cut = "truncated" in str(error).lower()
            raise Flaw("truncated" if cut else "damaged") from error
        if pixels > PIXELS:
            raise Flaw("too large (in pixels)")
        try:
            turn = TURNS.get(image.getexif().get(274, 1))
        except Exception:  # EXIF that cannot be read turns nothing
            turn = None
    if turn is None:
        return image
    upright = image.transpose(turn)
    upright.info["turned"] = True
    return upright


def square(image: Image.Image, size: int, fit: Fit, nearest: bool = False) -> np.ndarray:
    """An image as a square of `size` pixels: uint8 [size, size] or [size, size, bands].

    Bicubic with antialiasing, or the nearest pixel (masks), in the same geometry. `crop` is the
    usual "shorter side to `size`, then the centre" in one step: no rounding between the two, and a
    strip of 1 x 50,000 pixels is never blown up.
    """
    width, height = image.size
    if width == height == size:
        return np.asarray(image)
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (0, 0, width, height) if fit == "squash" else (left, top, left + side, top + side)
    how = Image.Resampling.NEAREST if nearest else Image.Resampling.BICUBIC
    return np.asarray(image.resize((size, size), how, box=box))


def rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB, on white where it is transparent.

    Raises Flaw for grey levels of no known range (real numbers, or more than 16 bits).
    """
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise Flaw("grey levels beyond 16 bits")
        return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise Flaw("grey levels are real numbers")
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    try:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")
    except ValueError as error:  # a mode without a way to RGB, such as La
        raise Flaw(f"mode {image.mode} does not convert to RGB") from error


def picture(data: bytes, size: int, fit: Fit) -> np.ndarray:
    """An image file's bytes as uint8 [size, size, 3]. Raises Flaw with the reason."""
    return square(rgb(decode(data)), size, fit)
