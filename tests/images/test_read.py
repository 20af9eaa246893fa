import base64
import errno
import io
import os
import pickle
import stat
import struct
import sys
import tarfile
import zipfile
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polyface.errors import InputError, RequestError
from polyface.images import headers
from polyface.images.read import decode, decode_mask, file_source, find_pictures, open_root, read_header
from polyface.images.sources import find_sources

# 16 x 16 pixels of (200, 40, 90) in CMYK, inverted as Adobe does
CMYK = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0aHx4dGhwcICQuJyAiLCMcHCg3KSwwMTQ0NB8nOT04MjwuMzQy/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EABYAAQEB"
    "AAAAAAAAAAAAAAAAAAAHBv/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMATQBZAEsAAD8ApCTsyv4AAAD/2Q=="
)


def quarters(width=48, height=32):
    """Red, green / blue, yellow: every orientation and every exchange of channels shows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = (255, 0, 0), (0, 255, 0)
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = (0, 0, 255), (255, 255, 0)
    return image


def encode(image, ending=".png", *options):
    swapped = image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]
    done, data = cv2.imencode(ending, np.ascontiguousarray(swapped), options)
    assert done
    return data.tobytes()


def png(width, height, depth, kind, rows, *chunks):
    """A PNG by hand. rows: bytes, each row with its filter in front; chunks: (kind, content) before the pixels."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)


def exif(orientation):
    return b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)


def jpeg_with_exif(image, orientation):
    data, content = encode(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95), exif(orientation)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]


UPRIGHT = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: lambda a: np.rot90(a),
}  # fmt: skip


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photograph_comes_upright_by_its_exif_whatever_the_format(orientation):
    image = quarters()
    wanted = UPRIGHT[orientation](image)
    from_jpeg = decode(jpeg_with_exif(image, orientation), "a.jpg")
    assert from_jpeg.shape == wanted.shape and np.abs(from_jpeg.astype(int) - wanted).mean() < 10
    with_alpha = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    rows = b"".join(b"\0" + row.tobytes() for row in with_alpha)
    from_png = decode(png(48, 32, 8, 6, rows, (b"eXIf", exif(orientation)[6:])), "a.png")
    assert np.array_equal(from_png, wanted)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tiff", ".webp", ".gif", ".jpg"])
def test_every_format_gives_rgb(ending):
    image = decode(encode(quarters(), ending), "a")
    assert image.dtype == np.uint8 and image.shape == (32, 48, 3)
    assert np.abs(image[8, 8].astype(int) - (255, 0, 0)).max() < 40 and np.abs(image[24, 8].astype(int) - (0, 0, 255)).max() < 40


@pytest.mark.parametrize("ending", [".png", ".tiff"])
def test_sixteen_bits_become_eight_by_scale(ending):
    assert np.abs(decode(encode(quarters().astype(np.uint16) * 200, ending), "a").astype(int) - np.round(quarters() * (200 / 257))).max() <= 1


def test_sixteen_bits_with_alpha_become_eight_by_scale():
    image = np.dstack([quarters().astype(np.uint16) * 200, np.full((32, 48), 65_535, np.uint16)])
    assert np.abs(decode(encode(image), "a").astype(int) - quarters() * (200 / 257)).max() <= 1


def test_grey_cmyk_palette_and_one_pixel_become_rgb():
    assert np.array_equal(decode(encode(np.full((5, 4), 77, np.uint8)), "a"), np.full((5, 4, 3), 77))
    assert np.abs(decode(CMYK, "a").astype(int) - (200, 40, 90)).max() < 6
    rows = b"\0\x00\x01" * 2
    assert decode(png(2, 2, 8, 3, rows, (b"PLTE", bytes([9, 8, 7, 200, 100, 50]))), "a")[0].tolist() == [[9, 8, 7], [200, 100, 50]]
    assert decode(encode(np.full((1, 1, 3), 5, np.uint8)), "a").shape == (1, 1, 3)


@pytest.mark.parametrize("ending", [".png", ".webp"])
def test_transparent_parts_lie_over_mid_grey(ending):
    image = np.dstack([quarters(), np.where(np.arange(48) < 24, 255, 0)[None].repeat(32, 0).astype(np.uint8)])
    shown = decode(encode(image, ending, cv2.IMWRITE_WEBP_QUALITY, 101), "a")
    assert shown[5, 40].tolist() == [128, 128, 128] and shown[5, 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize("ending", [".gif", ".webp", ".png"])
def test_of_an_animation_the_first_picture_is_taken(ending):
    animation = cv2.Animation()
    animation.frames = [np.ascontiguousarray(quarters()[..., ::-1]), np.zeros((32, 48, 3), np.uint8)]
    animation.durations = [100, 100]
    done, data = cv2.imencodeanimation(ending, animation)
    assert done and decode(data.tobytes(), "a")[5, 5, 0] > 200


def test_a_long_picture_of_few_pixels_is_read_and_a_bomb_is_not():
    assert decode(encode(np.zeros((10, 30_000, 3), np.uint8)), "a").shape == (10, 30_000, 3)
    with pytest.raises(InputError, match=r"^bomb.png: 60,000 x 50,000 pixels"):
        decode(png(60_000, 50_000, 1, 0, b"\0"), "bomb.png")
    with pytest.raises(InputError, match=r"^tall.png: 1 x 90,000 pixels"):
        decode(png(1, 90_000, 8, 0, b"\0"), "tall.png")
    data = bytearray(encode(quarters(), ".jpg"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(InputError, match="more than the limit"):
        decode(bytes(data), "bomb.jpg")


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("kept", [0.4, 0.9, 0.99])
def test_a_truncated_picture_is_refused_by_name(ending, kept):
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    data = encode(noise, ending)
    with pytest.raises(InputError, match=r"^cut.*cut short"):
        decode(data[: int(len(data) * kept)], "cut" + ending)


@pytest.mark.parametrize("behind", [b"\0" * 100, b"\xff\xda" * 300, b"\xff\xda no end", np.random.default_rng(0).bytes(300_000)])
def test_a_jpeg_with_anything_after_its_end_is_read_as_phones_put_films_there(behind):
    assert decode(encode(quarters(), ".jpg") + behind, "a").shape == (32, 48, 3)


def test_a_second_name_of_a_file_in_a_tar_leads_to_it(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.jpg").write_bytes(encode(quarters(), ".jpg"))
    os.link(tmp_path / "set" / "a.jpg", tmp_path / "set" / "b.jpg")
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(tmp_path / "set", "set")
    root = open_root(tmp_path / "set.tar")
    assert root.names() == ["a.jpg", "b.jpg"] and root.open("a.jpg") == root.open("b.jpg") != b""


def test_a_jpeg_of_very_many_scans_is_refused():
    whole = encode(quarters(), ".jpg")
    scan = whole.index(b"\xff\xda")
    with pytest.raises(InputError, match=r"^slow.jpg: a JPEG of more than 200 scans"):
        decode(whole[:-2] + whole[scan:-2] * 200 + whole[-2:], "slow.jpg")


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", [".jpg", ".tiff"])
def test_a_header_gives_the_shape_that_the_picture_has_when_it_is_decoded(orientation, ending):
    data = jpeg_with_exif(quarters(), orientation) if ending == ".jpg" else _tiff_of(orientation)
    assert read_header(data, "a").shape == decode(data, "a").shape[:2]


def jpeg_with_segments(*contents: bytes, behind: bytes = b"\xff\xd8") -> bytes:
    """A JPEG with APP1 segments behind the segment of a marker (its start, if none is named)."""
    data = encode(quarters(), ".jpg")
    at = data.index(behind)
    at += 2 if behind == b"\xff\xd8" else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return data[:at] + b"".join(b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content for content in contents) + data[at:]


def exif_of(*tags: tuple[int, int, int, int]) -> bytes:
    """Exif of tags: number, type, count, value."""
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHIHH", *tag, 0) for tag in tags) + bytes(4)


@pytest.mark.parametrize(
    ("data", "turned"),
    [
        (jpeg_with_segments(exif(6), exif(1)), True),
        (jpeg_with_segments(exif(1), exif(6)), False),
        (jpeg_with_segments(exif(9), exif(6)), False),
        (jpeg_with_segments(exif_of((0x10F, 3, 1, 1)), exif(6)), True),
        (jpeg_with_segments(exif(6), exif_of((0x10F, 3, 1, 1))), True),
        (jpeg_with_segments(b"Exif\0\0", b"Exif\0\0II*\0" + b"\xff" * 8, exif(6)), True),
        (jpeg_with_segments(exif(6), behind=b"\xff\xc0"), True),
        (jpeg_with_segments(exif_of((0x112, 3, 1, 6), (0x112, 3, 1, 1))), True),
        (jpeg_with_segments(exif_of((0x112, 3, 2, 6))), True),
        (jpeg_with_segments(exif_of((0x112, 7, 0, 6))), True),
    ],
)
def test_of_several_orientations_in_a_jpeg_that_counts_by_which_it_is_decoded(data, turned):
    assert read_header(data, "a").shape == decode(data, "a").shape[:2] == ((48, 32) if turned else (32, 48))


def png_of(before: list[bytes], behind: list[bytes], kind: int = 2) -> bytes:
    """A PNG with eXIf chunks before and behind its pixels."""
    rows = b"".join(b"\0" + row.tobytes() for row in (quarters() if kind == 2 else np.dstack([quarters(), np.full((32, 48), 255, np.uint8)])))
    data = png(48, 32, 8, kind, rows, *((b"eXIf", content) for content in before))
    chunks = [struct.pack(">I", len(content)) + b"eXIf" + content + struct.pack(">I", zlib.crc32(b"eXIf" + content)) for content in behind]
    return data[:-12] + b"".join(chunks) + data[-12:]


@pytest.mark.parametrize("kind", [2, 6])
@pytest.mark.parametrize(
    ("before", "behind", "turned"),
    [
        ([], [exif(6)[6:]], True),
        ([exif(6)[6:]], [exif(1)[6:]], True),
        ([exif(1)[6:]], [exif(6)[6:]], False),
        ([exif(1)[6:], exif(6)[6:]], [], False),
        ([exif_of((0x10F, 3, 1, 1))[6:]], [exif(6)[6:]], False),
        ([exif(6)], [], False),
        ([exif(1)], [exif(6)[6:]], True),
    ],
)
def test_of_several_orientations_in_a_png_that_counts_by_which_it_is_decoded(before, behind, turned, kind):
    data = png_of(before, behind, kind)
    assert read_header(data, "a").shape == decode(data, "a").shape[:2] == ((48, 32) if turned else (32, 48))


def webp_of(flags: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP with chunks behind its pixels."""
    pixels = encode(quarters(), ".webp")[12:]
    parts = [(b"VP8X", struct.pack("<IHBHB", flags, 47, 0, 31, 0)), *chunks]
    head, *rest = [kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2) for kind, content in parts]
    body = b"WEBP" + head + pixels + b"".join(rest)
    return b"RIFF" + struct.pack("<I", len(body)) + body


TEXT = b"EXIF" + struct.pack("<I", 26) + exif(6)[6:]


@pytest.mark.parametrize(
    ("data", "turned"),
    [
        (webp_of(8, (b"EXIF", exif(6)[6:])), True),
        (webp_of(0, (b"EXIF", exif(6)[6:])), False),
        (webp_of(12, (b"EXIF", exif(6)[6:]), (b"XMP ", b"a text about EXIF, and more than that")), True),
        (webp_of(12, (b"XMP ", b"odd"), (b"EXIF", exif(6)[6:])), True),
        (webp_of(8, (b"ABCD", TEXT)), False),
        (webp_of(8, (b"EXIF", exif(1)[6:])) + TEXT, False),
        (webp_of(8, (b"EXIF", exif(6)[6:]), (b"EXIF", exif(1)[6:])), True),
        (webp_of(8, (b"EXIF", exif(6))), False),
    ],
)
def test_the_orientation_of_a_webp_is_that_of_its_chunk_and_no_text_elsewhere(data, turned):
    assert read_header(data, "a").shape == decode(data, "a").shape[:2] == ((48, 32) if turned else (32, 48))


@pytest.mark.parametrize("count", [0, 2])
def test_a_tag_of_a_tiff_that_is_no_single_number_is_none(count):
    data, tag = _tiff_of(6), struct.pack("<HHI", 274, 3, 1)
    data = data.replace(tag, tag[:4] + struct.pack("<I", count))
    assert read_header(data, "a").shape == decode(data, "a").shape[:2] == (32, 48)


def _tiff_of(orientation: int) -> bytes:
    """48 x 32 grey pixels, uncompressed."""
    tags = [(256, 3, 48), (257, 3, 32), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (274, 3, orientation), (277, 3, 1), (278, 3, 32), (279, 4, 48 * 32)]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + 48 * 32) + bytes(48 * 32) + directory


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer, not the picture"),
        (b"\n  <!DOCTYPE html><html><body>404</body></html>", "a web page"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF needs to be converted"),
        (b"just text", "not a JPEG"),
        (b"\xff\xd8\xff\xe0", "cut short"),
        (png(0, 5, 8, 0, b""), "0 x 5"),
    ],
)
def test_what_is_no_picture_is_named_for_what_it_is(data, said):
    with pytest.raises(InputError, match=rf"^face.jpg: .*{said}") as caught:
        decode(data, "face.jpg")
    assert "\n" not in str(caught.value)


def test_heic_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match=r"^a\.heic: HEIC needs one more package: pip install 'polyface\[heic\]'"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.heic")


@pytest.mark.parametrize("alpha", [False, True])
def test_heic_is_read_where_its_package_is_installed(alpha):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = np.kron(quarters(), np.ones((4, 4, 1), np.uint8))
    stored = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]) if alpha else image
    file = io.BytesIO()
    pillow_heif.from_bytes("RGBA" if alpha else "RGB", image.shape[1::-1], stored.tobytes()).save(file, quality=95)
    found = decode(file.getvalue(), "a.heic")
    assert found.dtype == np.uint8 and found.shape == image.shape and read_header(file.getvalue(), "a.heic").shape == image.shape[:2]
    assert np.abs(found.astype(int) - image).mean() < 10
    assert decode(file.getvalue(), "a.heic", reduce=2).shape == (64, 96, 3)
    with pytest.raises(InputError, match=r"^a\.heic: a damaged HEIC"):
        decode(file.getvalue()[: len(file.getvalue()) // 2], "a.heic")


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("by", [2, 4, 8])
def test_coordinates_of_a_reduced_picture_divide_exactly(ending, by):
    image = np.zeros((101, 203, 3), np.uint8)  # divides by nothing
    image[40:56, 120:136] = 255
    reduced = decode(encode(image, ending), "a", reduce=by).astype(float)[..., 0]
    assert reduced.shape == (-(-101 // by), -(-203 // by))
    weights = np.where(reduced > 20, reduced, 0)
    x = (weights.sum(0) * (np.arange(reduced.shape[1]) + 0.5)).sum() / weights.sum()
    y = (weights.sum(1) * (np.arange(reduced.shape[0]) + 0.5)).sum() / weights.sum()
    assert abs(x * by - 128) < 0.5 and abs(y * by - 48) < 0.5


# Masks


@pytest.mark.parametrize("kind", [3, 0])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_mask_gives_what_is_stored_not_the_colour_of_its_palette_nor_a_stretched_grey(depth, kind):
    classes = np.random.default_rng(0).integers(0, min(1 << depth, 19), (7, 16), dtype=np.uint8)
    per_byte = 8 // depth
    packed = np.zeros((7, 16 // per_byte), np.uint8)
    for place in range(per_byte):
        packed |= classes[:, place::per_byte] << (8 - depth * (place + 1))
    palette = np.random.default_rng(1).integers(0, 255, (1 << depth) * 3, dtype=np.uint8).tobytes()
    chunks = [(b"PLTE", palette)] if kind == 3 else []
    mask = decode_mask(png(16, 7, depth, kind, b"".join(b"\0" + row.tobytes() for row in packed), *chunks), "m.png")
    assert mask.dtype == np.uint8 and np.array_equal(mask, classes)


def test_a_grey_mask_gives_its_values_also_stored_as_rgb_or_sixteen_bits():
    classes = np.arange(20, dtype=np.uint8).reshape(4, 5)
    for stored in (classes, np.dstack([classes] * 3), classes.astype(np.uint16)):
        assert np.array_equal(decode_mask(encode(stored), "m.png"), classes)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (encode(quarters()), "colours"),
        (encode(np.full((3, 3), 700, np.uint16)), "700"),
        (encode(quarters(), ".jpg"), "must be a PNG"),
        (encode(quarters())[:-12], "cut short"),
        (png(8, 8, 8, 0, bytes(72)).replace(struct.pack(">I", len(zlib.compress(bytes(72)))) + b"IDAT", struct.pack(">I", 2**30) + b"IDAT"), "cut short"),
    ],
)
def test_a_mask_that_is_none_is_refused_by_name(data, said):
    with pytest.raises(InputError, match=rf"^m.png: .*{said}"):
        decode_mask(data, "m.png")


# Fuzz

SMALL = quarters(12, 8)
SEEDS = [encode(SMALL, ending) for ending in (".png", ".jpg", ".webp", ".gif", ".bmp", ".tiff")]
SEEDS += [encode(np.dstack([SMALL, SMALL[..., :1]]), ending) for ending in (".png", ".webp")]
SEEDS += [CMYK, jpeg_with_exif(SMALL, 6), png(8, 1, 4, 3, b"\0\x01\x21\x12\x10", (b"PLTE", b"abcdefghi"), (b"tRNS", b"\0"))]
changes = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6)


@settings(deadline=None, max_examples=400)
@example(seed=SEEDS[-1], changes=[(54, 1)], kept=0, whole=True, noise=b"", reduce=1)  # nothing after the header
@example(seed=SEEDS[-1], changes=[(8, 255)], kept=0, whole=True, noise=b"", reduce=1)  # a header of two gigabytes
@given(seed=st.sampled_from(SEEDS), changes=changes, kept=st.floats(0, 1), whole=st.booleans(), noise=st.binary(max_size=60), reduce=st.sampled_from([1, 2, 8]))
def test_damaged_bytes_give_a_picture_within_the_limit_or_one_refusal(seed, changes, kept, whole, noise, reduce):
    data = bytearray(seed)
    for at, value in changes:
        data[at % len(data)] = value
    damaged = bytes(data if whole else data[: int(len(data) * kept)] + noise)
    limit = headers.MAX_PIXELS
    headers.MAX_PIXELS = 1_000_000
    try:
        for read in (lambda: decode(damaged, "x", reduce), lambda: decode_mask(damaged, "x")):
            try:
                assert 0 < read().size <= 3_000_000
            except InputError as error:
                assert str(error).startswith("x: ") and "\n" not in str(error)
    finally:
        headers.MAX_PIXELS = limit


@settings(deadline=None, max_examples=200)
@given(start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8X", b"GIF89a", b"BM", b"II*\0", b"MM\0*"]), noise=st.binary(max_size=200))
def test_random_bytes_are_refused(start, noise):
    with pytest.raises(InputError):
        header = read_header(start + noise, "x")
        if header.width * header.height > 1_000_000:
            raise InputError("not decoded here, to be quick")
        decode(start + noise, "x")
        decode_mask(b"", "x")  # a few random bytes may be a picture; nothing else may come out


# Roots


FILES = {"a/one.jpg": b"1" * 300, "a/b/two.txt": b"22", "three.bin": b""}


def folder(place):
    for name, content in FILES.items():
        (place / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "set" / name).write_bytes(content)
    return place / "set"


def zipped(place, method=zipfile.ZIP_DEFLATED, inside=""):
    with zipfile.ZipFile(place / "set.zip", "w", method) as archive:
        archive.mkdir("set")
        for name, content in FILES.items():
            archive.writestr(inside + name, content)
    return place / "set.zip"


def tarred(place, mode="w", inside="./"):
    with tarfile.open(place / "set.tar", mode) as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(inside + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return place / "set.tar"


@pytest.mark.parametrize(
    "make",
    [
        folder,
        *(zipped, lambda p: zipped(p, zipfile.ZIP_STORED), lambda p: zipped(p, inside="set/")),
        *(tarred, lambda p: tarred(p, inside="/"), lambda p: tarred(p, inside="set/")),
    ],
)
def test_a_folder_a_zip_and_a_tar_read_alike(make, tmp_path):
    root = pickle.loads(pickle.dumps(open_root(make(tmp_path))))
    assert root.names() == sorted(FILES)
    assert {name: root.open(name) for name in root.names()} == FILES
    assert root.exists("a/one.jpg") and not root.exists("a") and not root.exists("no.jpg")
    with pytest.raises(InputError, match=r"set.*no.jpg: no such file"):
        root.open("no.jpg")


def test_a_source_names_itself_and_reads_itself(tmp_path):
    source = file_source(folder(tmp_path) / "a" / "one.jpg")
    assert str(source) == str(tmp_path / "set" / "a" / "one.jpg") and source.read() == FILES["a/one.jpg"]
    assert str(file_source("one.jpg")) == "one.jpg"


def test_a_folder_that_links_to_itself_is_listed_once(tmp_path):
    place = folder(tmp_path)
    (place / "a" / "again").symlink_to(place, target_is_directory=True)
    assert open_root(place).names() == sorted(FILES)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_symbolic_links_in_an_archive_lead_to_its_files(kind, tmp_path):
    links = {"b/link.jpg": "../a/one.jpg", "again.jpg": "b/link.jpg", "nowhere.jpg": "gone.jpg", "out.jpg": "/etc/passwd", "round.jpg": "round.jpg"}
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
            for name, to in links.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, to)
            archive.writestr("a/one.jpg", b"1")
    else:
        with tarfile.open(tmp_path / "s.tar", "w") as archive:
            for name, to in links.items():
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, to
                archive.addfile(info)
            info = tarfile.TarInfo("a/one.jpg")
            info.size = 1
            archive.addfile(info, io.BytesIO(b"1"))
    root = open_root(tmp_path / f"s.{kind}")
    assert {name: root.open(name) for name in root.names()} == dict.fromkeys(("a/one.jpg", "b/link.jpg", "again.jpg"), b"1")
    assert root.exists("./b/link.jpg") and root.open("b/../a/one.jpg") == b"1"  # as in a folder


@pytest.mark.parametrize("fault", ["encrypted", "damaged", "bad checksum", "unknown method", "too long", "cut"])
def test_a_link_of_a_zip_that_cannot_be_read_is_left_out_and_the_rest_goes_on(fault, tmp_path):
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/one.jpg", b"1")
        for name, to in (("good.jpg", "a/one.jpg"), ("bad.jpg", "./" * (5000 if fault == "too long" else 1) + "a/one.jpg")):
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = (stat.S_IFLNK | 0o777) << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, to)
    data = bytearray((tmp_path / "s.zip").read_bytes())
    listed = data.rindex(b"PK\x01\x02")  # the bad one's line of the list: its flags are at 8, its method at 10, its checksum at 16, its place at 42
    at = struct.unpack_from("<I", data, listed + 42)[0]
    if fault == "encrypted":
        data[listed + 8] |= 1
        data[at + 6] |= 1
    elif fault == "damaged":
        data[at + 30 + len("bad.jpg")] = 0xFF  # a kind of block that deflate has not
    elif fault == "bad checksum":
        data[listed + 16] ^= 1
    elif fault == "unknown method":
        data[listed + 10] = data[at + 8] = 97
    elif fault == "cut":
        data[listed + 42 : listed + 46] = struct.pack("<I", len(data) - 10)
    (tmp_path / "s.zip").write_bytes(data)
    root = open_root(tmp_path / "s.zip")
    assert {name: root.open(name) for name in root.names()} == dict.fromkeys(("a/one.jpg", "good.jpg"), b"1")


def test_names_with_backslashes_in_a_zip_are_paths(tmp_path):
    info = zipfile.ZipInfo("x")
    info.filename = "a\\one.jpg"
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(info, b"1")
    assert open_root(tmp_path / "s.zip").open("a/one.jpg") == b"1"


def test_a_damaged_archive_member_is_refused_and_the_others_are_read(tmp_path):
    path = zipped(tmp_path, zipfile.ZIP_STORED)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1" * 300, b"1" * 299 + b"x", 1))
    root = open_root(path)
    with pytest.raises(InputError, match=r"a/one.jpg: .*checksum"):
        root.open("a/one.jpg")
    assert root.open("a/b/two.txt") == b"22"


def test_a_member_is_never_unpacked_beyond_its_stated_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * 5_000_000)
    data = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(data.replace(struct.pack("<I", 5_000_000), struct.pack("<I", 10)))
    with pytest.raises(InputError, match="bomb: "):
        open_root(tmp_path / "b.zip").open("bomb")


def test_what_is_no_root_is_refused_by_name(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    tarred(tmp_path, "w:gz")
    (tmp_path / "text.txt").write_bytes(b"x")
    for name in ("broken.zip", "set.tar", "text.txt", "missing"):
        with pytest.raises(RequestError, match=name):
            open_root(tmp_path / name)


# What a person types


def test_photographs_folders_and_globs_become_files_sorted_and_once(tmp_path):
    for name in ("b.JPG", "a.png", "deep/c.webp", "deep/d.heic", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    every = [tmp_path / name for name in ("a.png", "b.JPG", "deep/c.webp", "deep/d.heic")]
    assert find_pictures([tmp_path]) == (every, [])
    assert find_pictures([tmp_path / "b.JPG", tmp_path, tmp_path / "deep"]) == (every, [])
    assert find_pictures([f"{tmp_path}/**/*.webp", f"{tmp_path}/*"]) == (every, [])
    assert find_pictures([tmp_path / "notes.txt"])[0] == [tmp_path / "notes.txt"]


def test_a_path_that_leads_to_no_picture_is_refused_by_name_and_the_rest_goes_on(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    found, refused = find_pictures([tmp_path / "gone.jpg", f"{tmp_path}/*.bmp", tmp_path / "empty", tmp_path / "a.png"])
    assert found == [tmp_path / "a.png"]
    assert [str(error).split(": ")[1] for error in refused] == ["no such file or folder", "no picture matches it", "holds no pictures"]
    assert all(isinstance(error, InputError) for error in refused)


def test_a_folder_that_cannot_be_read_is_refused_by_name_and_the_rest_goes_on(tmp_path, monkeypatch):
    for name in ("a.png", "locked/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    scan, locked = os.scandir, str(tmp_path / "locked")

    def scandir(folder):
        if folder == locked:
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scandir)  # whoever runs the tests may be root, to whom nothing is locked
    found, refused = find_pictures([tmp_path])
    assert found == [tmp_path / "a.png"] and [str(error) for error in refused] == [f"{locked}: cannot be read (Permission denied)"]
    assert [str(error) for error in find_pictures([locked])[1]] == [f"{locked}: cannot be read (Permission denied)"]
    with pytest.raises(InputError, match=r"locked: cannot be read \(Permission denied\)"):  # of a data set nothing goes missing unsaid
        open_root(tmp_path).names()


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_text_is_refused_and_the_rest_goes_on(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    try:
        (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system holds names in UTF-8 only")
    found, (refused,) = find_pictures([tmp_path])
    assert found == [tmp_path / "a.png"] and str(refused).endswith("\\udcff.jpg': its name is no UTF-8")


def test_an_empty_path_is_not_the_folder_one_is_in(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.png"), quarters())
    monkeypatch.chdir(tmp_path)
    for find in (find_pictures, find_sources):
        found, refused = find([""])
        assert not found and [str(error) for error in refused] == ["'' names no path"]
