"""Converts an uploaded photo into JPEGs made from its pixels only.

Pure, but run it in a process of its own (`python -m alertd.model.photo SECONDS`, see `Decoder` in
`alertd.service.records.photos`), because some images block a decoder: a progressive JPEG of 200 kB with a hundred empty
scans takes three seconds, one of 10 MB takes an hour. The process reads a picture on standard input and writes one line
of JSON, then the copies that the line announces.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from PIL import Image, ImageCms, ImageOps

#: Maximum decoded pixels by format. A JPEG is scaled down while decoding, so a phone's 50 million pixels take no more
#: memory than a camera's PNG of 24 million.
MOST_PIXELS = {"JPEG": 80_000_000, "PNG": 25_000_000, "WEBP": 25_000_000}
#: Formats in which an animated picture is refused. Of a JPEG with several pictures (a phone adds a depth or brightness
#: map) the first counts.
MOVING = frozenset({"PNG", "WEBP"})
#: Pillow's colour modes that 8 bits represent without loss; others are refused. Grey of 16 bits would turn white.
MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK"})
#: Minimum pixels of the shorter side. Below this, a face cannot be recognised.
LEAST_SIDE = 100

#: Memory limit of the decoding process in bytes. It holds the pixels, their rotated and scaled copies and a progressive
#: JPEG's coefficients.
MEMORY_BYTES = 1024**3
#: Niceness of the decoding process, so that it yields to the senders.
NICENESS = 10


@dataclass(frozen=True, slots=True)
class Size:
    """The limits of one copy of a photo."""

    side: int  # pixels of the longer side, at most
    most_bytes: int


#: The limits of each copy, by name. Phones load a push's picture while they wake: Firebase takes 1 MB and recommends
#: 300 kB. A mail shows the picture 360 pixels wide, on screens with up to twice the density; a page shows it as large
#: as the screen.
SIZES = {"push": Size(1024, 300_000), "mail": Size(960, 300_000), "page": Size(1600, 500_000)}
_WIDEST = max(size.side for size in SIZES.values())
_QUALITIES = (85, 75, 60)  # lower quality breaks faces into blocks, so shrink the picture instead


class UnreadablePhotoError(ValueError):
    """The photo cannot be used. The message gives the client the reason."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A JPEG of a photo in one size."""

    width: int
    height: int
    data: bytes


_DAMAGED = UnreadablePhotoError(
    "This is no JPEG, PNG or WebP picture, or it is damaged. A phone's HEIC photo must be saved as JPEG first."
)


def copies_of(raw: bytes) -> dict[str, Copy]:
    """Returns the photo in every size of `SIZES`, upright, with nothing but its pixels. The bytes determine the format.

    Raises UnreadablePhotoError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `_check` refuses what Pillow calls a bomb, or it is a JPEG that is scaled
            pixels = _pixels(raw)
        return {name: _copy(pixels, size) for name, size in SIZES.items()}
    except UnreadablePhotoError:
        raise
    except MemoryError:
        raise UnreadablePhotoError("This picture takes too much memory to be read.") from None
    except Exception:  # noqa: BLE001  decoders raise many exception types for damaged bytes
        raise _DAMAGED from None


def _pixels(raw: bytes) -> Image.Image:
    """Returns the (first) picture in the bytes: upright, at most as large as the largest copy, on white, in sRGB.
    Raises UnreadablePhotoError.
    """
    picture: Image.Image = Image.open(io.BytesIO(raw), formats=tuple(MOST_PIXELS))
    _check(picture)
    picture.draft("RGB", (_WIDEST, _WIDEST))
    picture = ImageOps.exif_transpose(picture)
    profile = picture.info.get("icc_profile")
    if picture.mode in {"1", "P", "LA"}:  # scaling mixes colours, which palettes and bits cannot express
        picture = picture.convert("RGBA")
    picture.thumbnail((_WIDEST, _WIDEST), Image.Resampling.LANCZOS)
    if profile and picture.mode in {"L", "RGB", "CMYK"}:
        picture = _in_srgb(picture, profile)
    plain = Image.new("RGB", picture.size, "white")  # pasted, not converted: a converted picture keeps its metadata
    plain.paste(picture.convert("RGB"), mask=picture.getchannel("A") if picture.mode == "RGBA" else None)
    return plain


def _check(picture: Image.Image) -> None:
    """Raises UnreadablePhotoError for a picture with too many pixels, too short a side, several frames or a colour mode
    that 8 bits cannot represent.
    """
    kind = picture.format or ""
    most = MOST_PIXELS.get(kind, MOST_PIXELS["JPEG"])  # a JPEG with several pictures has another format name
    if picture.width * picture.height > most:
        raise UnreadablePhotoError(f"A {kind} picture may have at most {most // 1_000_000} million pixels.")
    if min(picture.size) < LEAST_SIDE:
        raise UnreadablePhotoError(f"A photo has at least {LEAST_SIDE} pixels on each side.")
    if kind in MOVING and getattr(picture, "is_animated", False):
        raise UnreadablePhotoError("A photo does not move: send one picture of it.")
    if picture.mode not in MODES:
        raise UnreadablePhotoError("This picture has 16 bits a pixel: save it as JPEG first.")


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Returns the picture in sRGB. Phones use wider colour spaces: without its profile, a red coat would look brown."""
    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):  # an invalid profile counts as none
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or picture
    return picture


def _copy(pixels: Image.Image, size: Size) -> Copy:
    """Returns the largest copy of the best quality that keeps within the size and its bytes."""
    return next(copy for copy in _tries(pixels, size.side) if len(copy.data) <= size.most_bytes)


def _tries(pixels: Image.Image, side: int) -> Iterator[Copy]:
    """Yields copies of falling quality, then of falling size."""
    while True:
        scaled = pixels.copy()
        scaled.thumbnail((side, side), Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            written = io.BytesIO()
            scaled.save(written, "JPEG", quality=quality, optimize=True, progressive=True)
            yield Copy(scaled.width, scaled.height, written.getvalue())
        side = side * 3 // 4


def write(copies: Mapping[str, Copy], to: IO[bytes]) -> None:
    """Writes the copies to `to`, as the output of the decoding process: one line of JSON, then the JPEGs."""
    head = {name: (copy.width, copy.height, len(copy.data)) for name, copy in copies.items()}
    to.write(json.dumps(head).encode() + b"\n" + b"".join(copy.data for copy in copies.values()))


def parse_copies(answer: bytes) -> dict[str, Copy]:
    """Returns the copies from the output of `write`. Raises UnreadablePhotoError if the process reported that it
    refused the photo.
    """
    head, _, rest = answer.partition(b"\n")
    copies, start = {}, 0
    for name, value in json.loads(head).items():
        if name == "refused":
            raise UnreadablePhotoError(value)
        width, height, length = value
        copies[name] = Copy(width, height, rest[start : start + length])
        start += length
    return copies


def main() -> None:
    """Reads a photo from standard input, and writes its copies or the reason for refusing it to standard output.

    The argument is the CPU time limit in seconds.
    """
    cpu_s = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    os.nice(NICENESS)
    try:
        write(copies_of(sys.stdin.buffer.read()), sys.stdout.buffer)
    except UnreadablePhotoError as error:
        sys.stdout.write(json.dumps({"refused": str(error)}) + "\n")


if __name__ == "__main__":
    main()
