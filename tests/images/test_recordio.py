import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.images.recordio import open_records

MAGIC = struct.pack("<I", 0xCED7230A)


def record(content: bytes) -> bytes:
    """A record as dmlc's writer makes it, in the most obvious way: the magic number at a multiple of 4 ends a part, and is left out."""
    parts, start = [], 0
    for at in range(0, len(content) - 3, 4):
        if content[at : at + 4] == MAGIC:
            parts.append(content[start:at])
            start = at + 4
    parts.append(content[start:])
    kinds = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4) for kind, part in zip(kinds, parts, strict=True))


def picture(number: int, content: bytes, labels: tuple[float, ...] = (), label: float = 7.0, number_2: int = 0) -> bytes:
    return record(struct.pack(f"<IfQQ{len(labels)}f", len(labels), label, number, number_2, *labels) + content)


def write(path: Path, records: list[bytes], keys: list[int] | None = None) -> Path:
    path.write_bytes(b"".join(records))
    if keys is not None:
        offsets = [sum(map(len, records[:at])) for at in range(len(records))]
        path.with_suffix(".idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in zip(keys, offsets, strict=True)))
    return path


def test_the_bytes_are_those_of_mxnet(tmp_path: Path) -> None:
    """Worked values, papers.md D15."""
    assert picture(3, b"ab").hex() == "0a23d7ce1a000000000000000000e0400300000000000000000000000000000061620000"
    assert picture(0, b"", (5.0, 7.0), 0.0, 1).hex() == "0a23d7ce200000000200000000000000000000000000000001000000000000000000a0400000e040"
    assert record(b"abcd" + MAGIC + b"ef").hex() == "0a23d7ce04000020616263640a23d7ce0200006065660000"
    records = open_records(write(tmp_path / "a.rec", [picture(3, b"ab")]))
    assert records.names() == ["3"] and records.open("3") == b"ab"


def test_records_about_people_are_no_pictures(tmp_path: Path) -> None:
    """insightface's layout: pictures 1 to N, people after them, key 0 written last."""
    written = [picture(number, b"picture %d" % number) for number in (1, 2, 3, 4)]
    written += [picture(5, b"", (1.0, 3.0)), picture(6, b"", (3.0, 5.0)), picture(0, b"", (5.0, 7.0), 0.0, 1)]
    for keys in (None, [1, 2, 3, 4, 5, 6, 0]):
        records = open_records(write(tmp_path / "train.rec", written, keys))
        assert records.names() == ["1", "2", "3", "4"]
        assert [records.open(name) for name in records.names()] == [b"picture %d" % number for number in (1, 2, 3, 4)]


def test_keys_are_those_of_the_index_in_the_order_of_numbers(tmp_path: Path) -> None:
    records = open_records(write(tmp_path / "a.rec", [picture(0, b"x"), picture(0, b"y", (1.0, 2.0, 3.0)), picture(0, b"z")], [10, 9, 100]))
    assert records.names() == ["9", "10", "100"]
    assert [records.open(name) for name in records.names()] == [b"y", b"x", b"z"]


def test_the_label_of_a_picture_is_the_one_in_its_header_or_the_first_of_several(tmp_path: Path) -> None:
    records = open_records(write(tmp_path / "a.rec", [picture(1, b"x", label=3.0), picture(2, b"y", (5.0, 0.5), label=0.0), picture(3, b"a" * 8 + MAGIC, (6.0,))]))
    assert records.labels == {"1": 3.0, "2": 5.0, "3": 6.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


PIECES = st.lists(st.sampled_from([MAGIC, b"\xff\xd8", b"a", b"\0\0\0", MAGIC[:2]]), min_size=1, max_size=8).map(b"".join)


@settings(max_examples=30)
@given(contents=st.lists(PIECES, min_size=1, max_size=4), number=st.sampled_from([0, 2**40, int.from_bytes(MAGIC * 2, "little")]))
def test_what_was_written_is_read_whatever_bytes_it_holds(contents: list[bytes], number: int, folder: Path) -> None:
    records = open_records(write(folder / "whole.rec", [picture(number + at, content) for at, content in enumerate(contents)]))
    assert [records.open(name) for name in records.names()] == contents


@settings(max_examples=30)
@given(left=st.integers(0, 119), flipped=st.integers(0, 119), byte=st.integers(0, 255))
def test_a_damaged_file_is_refused_by_name_or_read(left: int, flipped: int, byte: int, folder: Path) -> None:
    path = write(folder / "a.rec", [picture(number, b"abc" + MAGIC * number) for number in range(3)], [0, 1, 2])
    whole = path.read_bytes()
    assert len(whole) == 120
    path.write_bytes(whole[:left])
    with pytest.raises(InputError, match=r"a\.rec, record \d, byte \d+: |a\.rec: cannot be read|a\.idx, line \d: no record of a\.rec"):
        open_records(path)
    changed = bytearray(whole)
    changed[flipped] = byte
    path.write_bytes(changed)
    try:
        records = open_records(path)
        for name in records.names():
            records.open(name)
    except InputError as error:
        assert "a.rec" in str(error)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("3\t0\n4\t12\n", r"a\.idx, line 2: no record of a\.rec begins at byte 12"),
        ("3\t0\n3\t36\n", r"a\.idx, line 2: the key 3 is there already"),
        ("3\t0\n4\t0\n", r"a\.idx, line 2: the record at byte 0 is there already"),
        ("3 zero\n", r"a\.idx, line 1: not a key and a byte offset"),
    ],
)
def test_an_index_of_another_file_is_refused_by_line(tmp_path: Path, index: str, said: str) -> None:
    path = write(tmp_path / "a.rec", [picture(1, b"ab"), picture(2, b"cd")])
    path.with_suffix(".idx").write_text(index)
    with pytest.raises(InputError, match=said):
        open_records(path)


def test_two_records_of_one_number_need_an_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.rec, record 1: has the number 1, as record 0 has; it takes a\.idx"):
        open_records(write(tmp_path / "a.rec", [picture(1, b"ab"), picture(1, b"cd")]))


def test_an_empty_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.rec").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.rec: cannot be read"):
        open_records(tmp_path / "a.rec")
