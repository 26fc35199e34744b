"""Photos as they are told: from whatever was handed in to JPEGs of our own, made from the pixels alone.

Pure, and to be run in a process of its own (`python -m alertd.model.photo SECONDS`, see `Decoder` in `alertd.service.records.photos`), because decoders can be made to
hang: a progressive JPEG of 200 kB with a hundred empty scans takes three seconds, one of 10 MB takes an hour. That process
reads a picture on its standard input and writes one line of JSON, then the copies that the line announces.
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

#: By format, pixels that are decoded at most. A JPEG is scaled down while it is decoded, so that one of a phone's 50 million
#: takes no more memory than a PNG of a camera's 24 million.
MOST_PIXELS = {"JPEG": 80_000_000, "PNG": 25_000_000, "WEBP": 25_000_000}
#: Formats of several pictures that move. A JPEG of several (a phone adds a map of depth or brightness) shows its first.
MOVING = frozenset({"PNG", "WEBP"})
#: Modes whose pixels mean the same in 8 bits. Grey of 16 bits would come out white.
MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK"})
#: In less, nobody recognises a face.
LEAST_SIDE = 100

#: What the decoding process may use. Pixels, their turned and scaled copies and a progressive JPEG's coefficients fit.
MEMORY_BYTES = 1024**3
#: Behind whoever sends.
NICENESS = 10


@dataclass(frozen=True, slots=True)
class Size:
    """One way of looking at a photo."""

    side: int  # pixels of the longer side, at most
    most_bytes: int


#: Phones load the picture of a push while they wake: Firebase takes 1 MB and advises 300 kB. A mail shows it 360 pixels wide,
#: on screens of twice as many; a page as large as the reader's screen.
SIZES = {"push": Size(1024, 300_000), "mail": Size(960, 300_000), "page": Size(1600, 500_000)}
_WIDEST = max(size.side for size in SIZES.values())
_QUALITIES = (85, 75, 60)  # below, faces fall into blocks: rather a smaller picture


class UnreadablePhotoError(ValueError):
    """A photo cannot be taken; the message says why, to whoever sent it."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A photo in one size: a JPEG."""

    width: int
    height: int
    data: bytes


_DAMAGED = UnreadablePhotoError(
    "This is no JPEG, PNG or WebP picture, or it is damaged. A phone's HEIC photo must be saved as JPEG first."
)


def copies_of(raw: bytes) -> dict[str, Copy]:
    """A photo in every size of `SIZES`, upright, without anything but its pixels. Its format is told by its bytes.

    Raises UnreadablePhotoError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bomb by Pillow's count is one by ours, or a JPEG that is scaled
            pixels = _pixels(raw)
        return {name: _copy(pixels, size) for name, size in SIZES.items()}
    except UnreadablePhotoError:
        raise
    except MemoryError:
        raise UnreadablePhotoError("This picture takes too much memory to be read.") from None
    except Exception:  # noqa: BLE001  decoders raise whatever comes to them of damaged bytes
        raise _DAMAGED from None


def _pixels(raw: bytes) -> Image.Image:
    """The first picture, upright, no larger than any copy, on white, in sRGB."""
    picture: Image.Image = Image.open(io.BytesIO(raw), formats=tuple(MOST_PIXELS))
    _check(picture)
    picture.draft("RGB", (_WIDEST, _WIDEST))
    picture = ImageOps.exif_transpose(picture)
    profile = picture.info.get("icc_profile")
    if picture.mode in {"1", "P", "LA"}:  # scaling mixes colours, and palettes and bits have none between two
        picture = picture.convert("RGBA")
    picture.thumbnail((_WIDEST, _WIDEST), Image.Resampling.LANCZOS)
    if profile and picture.mode in {"L", "RGB", "CMYK"}:
        picture = _in_srgb(picture, profile)
    plain = Image.new(
        "RGB", picture.size, "white"
    )  # pasted, not converted: a converted picture keeps what came with it
    plain.paste(picture.convert("RGB"), mask=picture.getchannel("A") if picture.mode == "RGBA" else None)
    return plain


def _check(picture: Image.Image) -> None:
    kind = picture.format or ""
    most = MOST_PIXELS.get(kind, MOST_PIXELS["JPEG"])  # a JPEG of several pictures has a name of its own
    if picture.width * picture.height > most:
        raise UnreadablePhotoError(f"A {kind} picture may have at most {most // 1_000_000} million pixels.")
    if min(picture.size) < LEAST_SIDE:
        raise UnreadablePhotoError(f"A photo has at least {LEAST_SIDE} pixels on each side.")
    if kind in MOVING and getattr(picture, "is_animated", False):
        raise UnreadablePhotoError("A photo does not move: send one picture of it.")
    if picture.mode not in MODES:
        raise UnreadablePhotoError("This picture has 16 bits a pixel: save it as JPEG first.")


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Phones photograph in wider colours: shown without their profile, a red coat would look brown."""
    with contextlib.suppress(
        ImageCms.PyCMSError, OSError, ValueError, TypeError
    ):  # a profile that is none counts as none
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or picture
    return picture


def _copy(pixels: Image.Image, size: Size) -> Copy:
    """The largest and best that is within the size."""
    return next(copy for copy in _tries(pixels, size.side) if len(copy.data) <= size.most_bytes)


def _tries(pixels: Image.Image, side: int) -> Iterator[Copy]:
    """Ever worse, then ever smaller."""
    while True:
        scaled = pixels.copy()
        scaled.thumbnail((side, side), Image.Resampling.LANCZOS)
        for quality in _QUALITIES:
            written = io.BytesIO()
            scaled.save(written, "JPEG", quality=quality, optimize=True, progressive=True)
            yield Copy(scaled.width, scaled.height, written.getvalue())
        side = side * 3 // 4


def write(copies: Mapping[str, Copy], to: IO[bytes]) -> None:
    """As the decoding process answers."""
    head = {name: (copy.width, copy.height, len(copy.data)) for name, copy in copies.items()}
    to.write(json.dumps(head).encode() + b"\n" + b"".join(copy.data for copy in copies.values()))


def parse_copies(answer: bytes) -> dict[str, Copy]:
    """What `write` wrote. Raises UnreadablePhotoError if the answer is that one was raised."""
    head, _, rest = answer.partition(b"\n")
    copies, start = {}, 0
    for name, told in json.loads(head).items():
        if name == "refused":
            raise UnreadablePhotoError(told)
        width, height, length = told
        copies[name] = Copy(width, height, rest[start : start + length])
        start += length
    return copies


def main() -> None:
    """Reads a photo, writes its copies or why there are none. The argument is the processor time that it may take, in seconds."""
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
