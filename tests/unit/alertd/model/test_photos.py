"""Photos are made anew from their pixels: what comes out is small, upright and says nothing; what is no photo is refused."""

from __future__ import annotations

import io

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from alertd.model import photo
from alertd.model.photo import SIZES, UnreadablePhotoError, copies_of
from alertd.service.records.photos import Decoder, without_ours
from tests.pictures import drawn, moving, read, scan_bomb, written

#: Words that a photo brings along, each found nowhere else.
SECRETS = (b"CAMERAX", b"PLACEX", b"COMMENTX", b"XMPX", b"PROFILEX", b"http://ns.adobe.com", b"Exif", b"ICC_PROFILE")
RED, GREEN = (200, 20, 20), (30, 120, 60)


def near(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) < 25 for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_every_size_is_a_small_jpeg_of_the_same_picture(kind: str):
    """The longer side and the bytes are within the size, the shape is kept."""
    copies = copies_of(written(drawn(3000, 4000), kind))
    assert copies.keys() == SIZES.keys()
    for name, copy in copies.items():
        picture = read(copy.data)
        assert picture.format == "JPEG"
        assert picture.size == (copy.width, copy.height) == (SIZES[name].side * 3 // 4, SIZES[name].side)
        assert len(copy.data) <= SIZES[name].most_bytes
        assert near(picture.getpixel((10, 10)), RED)
        assert near(picture.getpixel((copy.width - 10, copy.height - 10)), GREEN)


def test_a_small_photo_is_not_blown_up():
    """It stays as large as it is."""
    assert {(copy.width, copy.height) for copy in copies_of(written(drawn(150, 200))).values()} == {(150, 200)}


def test_even_noise_fits():
    """What no quality makes small enough is made smaller; a push never has more than 300 kB."""
    noise = Image.effect_noise((1600, 1600), 120).convert("RGB")
    for name, copy in copies_of(written(noise, "PNG")).items():
        assert 0 < len(copy.data) <= SIZES[name].most_bytes


def secretive(kind: str) -> bytes:
    """A photo with a place, a camera, a comment and a colour profile in it."""
    exif = Image.Exif()
    exif[0x010F], exif[0x8825] = "CAMERAX", {29: "PLACEX"}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + b"PROFILEX"
    options = {"exif": exif, "icc_profile": profile}
    if kind == "JPEG":
        options |= {"comment": b"COMMENTX", "xmp": b"<x:xmpmeta>http://ns.adobe.com XMPX</x:xmpmeta>"}
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Comment", "COMMENTX")
    return written(drawn(), kind, **options)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_nothing_but_pixels_is_kept(kind: str):
    """No place, no camera, no comment, no profile, no preview: of what the file said, no copy has a word."""
    raw = secretive(kind)
    assert b"PLACEX" in raw
    for copy in copies_of(raw).values():
        assert not [secret for secret in SECRETS if secret in copy.data]
        assert not set(read(copy.data).info) - {
            "jfif",
            "jfif_version",
            "jfif_unit",
            "jfif_density",
            "progressive",
            "progression",
        }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright(orientation: int):
    """Phones write down how they were held; without that note, the pixels themselves must be turned."""
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes each, as `Image.Transpose`
    held = drawn().transpose(Image.Transpose(turns[orientation])) if orientation > 1 else drawn()
    exif = Image.Exif()
    exif[0x0112] = orientation
    copy = copies_of(written(held, exif=exif))["page"]
    assert (copy.width, copy.height) == (600, 800)
    assert near(read(copy.data).getpixel((20, 20)), RED)
    assert near(read(copy.data).getpixel((580, 20)), GREEN)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "RGBA", "CMYK"])
def test_every_kind_of_pixels_becomes_plain_ones(mode: str):
    """Grey, palettes, ink and what shines through: on white, in red, green and blue."""
    kind = "JPEG" if mode == "CMYK" else "PNG"
    picture = read(copies_of(written(drawn(mode=mode), kind))["page"].data)
    assert picture.mode == "RGB"
    assert picture.size == (600, 800)
    if mode in {"P", "RGBA", "CMYK"}:
        assert near(picture.getpixel((20, 20)), RED)


def test_what_shines_through_is_white():
    """No black child on a black ground."""
    picture = read(copies_of(written(Image.new("RGBA", (200, 200), (0, 0, 0, 0)), "PNG"))["push"].data)
    assert picture.getpixel((100, 100)) == (255, 255, 255)


def test_colours_of_a_wider_space_are_brought_into_srgb():
    """A profile that swaps nothing changes nothing; one that is none counts as none."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    for profile in (lab, b"no profile", b""):
        picture = read(copies_of(written(drawn(), icc_profile=profile))["push"].data)
        assert picture.mode == "RGB"
    assert near(picture.getpixel((20, 20)), RED)


def test_a_phones_photo_of_several_pictures_shows_its_first():
    """The map of depth or brightness that phones add is no movement."""
    several = written(drawn(), "MPO", save_all=True, append_images=[Image.new("RGB", (600, 800))])
    assert near(read(copies_of(several)["page"].data).getpixel((20, 20)), RED)


HTML = b"<!doctype html><html><body><script>alert(1)</script><img src=x></body></html>"
REFUSED = [
    (HTML, "no JPEG"), (b"", "no JPEG"), (b"\xff\xd8\xff\xe0" + HTML, "no JPEG"), (b"\x00\x00\x00\x18ftypheic", "HEIC"),
    (moving("GIF", 3), "no JPEG"), (moving("PNG"), "move"), (moving("WEBP"), "move"), (written(drawn(), "GIF"), "no JPEG"),
    (written(drawn(), "TIFF"), "no JPEG"), (written(drawn(), "BMP"), "no JPEG"),
    (written(drawn())[:2_000], "damaged"), (written(drawn(), "PNG")[:-300], "damaged"), (written(drawn(99, 800)), "100 pixels"),
    (written(Image.new("L", (1, 1)), "PNG"), "100 pixels"), (written(Image.new("L", (5001, 5001)), "PNG"), "25 million"),
    (written(Image.new("L", (5001, 5001)), "WEBP"), "25 million"), (written(Image.new("L", (9000, 9000))), "80 million"),
    (written(Image.new("I;16", (200, 200)), "PNG"), "16 bits"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "why"), REFUSED)
def test_what_is_no_photo_is_refused_with_the_reason(raw: bytes, why: str):
    """Whatever its name says: pages, pictures that move, other formats, halves, bombs and dots."""
    with pytest.raises(UnreadablePhotoError, match=why):
        copies_of(raw)


async def test_the_decoding_process_answers_the_same():
    """Copies and refusals come through as they are."""
    raw = written(drawn())
    decoder = Decoder()
    assert await decoder.copies_of(raw) == copies_of(raw)
    with pytest.raises(UnreadablePhotoError, match="HEIC"):
        await decoder.copies_of(HTML)


async def test_a_photo_of_50_million_pixels_is_taken():
    """Phones make them; scaled while it is decoded, it fits into the memory of the decoding process."""
    raw = written(drawn(8160, 6144), quality=60, progressive=True)
    assert (await Decoder().copies_of(raw))["page"].width == SIZES["page"].side


async def test_a_picture_that_would_take_hours_is_given_up():
    """The process that decodes it has only so much time."""
    with pytest.raises(UnreadablePhotoError, match="too long"):
        await Decoder(cpu_s=1).copies_of(scan_bomb())


def test_a_decoding_process_knows_none_of_our_secrets():
    """A picture that takes it over finds no key in its environment."""
    assert without_ours({"ALERTD_STORE__MASTER_KEY": "secret", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_copies_are_read_as_they_were_written():
    """The two ends of the pipe understand each other."""
    copies, to = copies_of(written(drawn())), io.BytesIO()
    photo.write(copies, to)
    assert photo.parse_copies(to.getvalue()) == copies
