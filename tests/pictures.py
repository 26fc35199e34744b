"""Pictures, good and bad, as bytes."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageDraw


def drawn(width: int = 600, height: int = 800, mode: str = "RGB") -> Image.Image:
    """A green field with a red square in its upper left corner, so that one sees which way is up."""
    picture = Image.new("RGB", (width, height), (30, 120, 60))
    ImageDraw.Draw(picture).rectangle((0, 0, width // 3, height // 4), fill=(200, 20, 20))
    return picture.convert(mode)


def written(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """As a file of this kind."""
    to = io.BytesIO()
    picture.save(to, kind, **options)
    return to.getvalue()


def read(data: bytes) -> Image.Image:
    """The picture in a file."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def scan_bomb(scans: int = 20_000) -> bytes:
    """A progressive JPEG whose last scan comes again and again: small, and hours of work."""
    data = written(Image.new("RGB", (8000, 6000)), progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scans * last + b"\xff\xd9"


def moving(kind: str, frames: int = 2) -> bytes:
    """A picture that moves."""
    first, *others = [Image.new("RGB", (200, 200), (n * 100, 0, 0)) for n in range(frames)]
    return written(first, kind, save_all=True, append_images=others)
