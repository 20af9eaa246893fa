"""Files of strangers: what is read, and that everything else is refused by file and row, before anything is scored."""

import errno
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyface.errors import InputError, RunError
from polyface.evaluation.arrays import matched, read_arrays
from polyface.evaluation.mask_writer import MaskWriter
from polyface.evaluation.masks import read_masks
from polyface.evaluation.pair_lists import read_pair_list
from polyface.evaluation.pair_pictures import read_pair_pictures
from polyface.evaluation.score import parsing, verification

NAMES = ["a", "b", "c"]
POINTS = np.arange(12.0).reshape(3, 4)


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def npz(path: Path, **arrays: object) -> Path:
    np.savez(path, **{name: np.array(array) for name, array in arrays.items()})
    return path


# Arrays


def test_every_kind_of_file_gives_the_same_arrays(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "z.npz", names=np.array(NAMES), values=POINTS, classes=np.array(list("pqrs")))
    rows = [f"{name},{','.join(map(str, row))}" for name, row in zip(NAMES, POINTS.tolist(), strict=True)]
    written(tmp_path / "c.csv", "names,values.p,values.q,values.r,values.s\n" + "\n".join(rows) + "\n")
    parquet.write_table(pa.table({"names": NAMES, **{f"values.{name}": POINTS[:, at] for at, name in enumerate("pqrs")}}), tmp_path / "p.parquet")
    for file in ("z.npz", "c.csv", "p.parquet"):
        found = read_arrays(tmp_path / file)
        assert (found.names, found.classes) == (tuple(NAMES), tuple("pqrs"))
        np.testing.assert_array_equal(found.numbers("values"), POINTS)
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float64(), 4), pa.large_list(pa.int64())):
        parquet.write_table(pa.table({"names": NAMES, "values": pa.array(POINTS.astype(int).tolist(), kind)}), tmp_path / "lists.parquet")
        np.testing.assert_array_equal(read_arrays(tmp_path / "lists.parquet").numbers("values"), POINTS)


def test_rows_of_a_npy_are_named_by_number(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", POINTS.astype(">f4"))
    found = read_arrays(tmp_path / "e.npy", "embeddings")
    assert found.names == ("0", "1", "2")
    np.testing.assert_array_equal(found.numbers("embeddings"), POINTS)
    np.save(tmp_path / "s.npy", np.array([(1, 2.5)], [("values", int), ("sigmas", float)]))
    assert read_arrays(tmp_path / "s.npy").numbers("sigmas").tolist() == [2.5]


def test_rows_are_matched_by_name(tmp_path: Path) -> None:
    one, other = npz(tmp_path / "one.npz", names=[3, 1, 2], values=[30, 10, 20]), npz(tmp_path / "other.npz", names=[b"1", b"2", b"3"], values=[1, 2, 3])
    said, true = matched(read_arrays(one), read_arrays(other))
    assert said.names == true.names == ("1", "2", "3")
    assert said.numbers("values").tolist() == [10, 20, 30] and true.numbers("values").tolist() == [1, 2, 3]


def test_broken_arrays_are_refused_by_file_and_row(tmp_path: Path) -> None:
    def refused(message: str, path: Path) -> None:
        with pytest.raises(InputError, match=message) as error:
            read_arrays(path).numbers("values")
        assert str(path) in str(error.value)

    refused("no such file", tmp_path / "x.npz")
    refused("not one of .npz, .npy, .csv, .parquet", written(tmp_path / "x.pkl", ""))
    refused("no array 'names'.*did you mean 'name'", npz(tmp_path / "x.npz", name=NAMES, values=POINTS))
    refused("names, row 2: 'a' is there already, row 0", npz(tmp_path / "x.npz", names=["a", "b", "a"], values=POINTS))
    refused("names, row 1: is empty", npz(tmp_path / "x.npz", names=["a", "", "c"], values=POINTS))
    refused("names is float64", npz(tmp_path / "x.npz", names=[0.5], values=[1]))
    refused("no rows", npz(tmp_path / "x.npz", names=np.zeros(0, str), values=[]))
    refused("values has 2 rows, there are 3 names", npz(tmp_path / "x.npz", names=NAMES, values=POINTS[:2]))
    refused("values has no rows", npz(tmp_path / "x.npz", names=NAMES, values=1))
    refused("no array 'values'.*did you mean 'value'", npz(tmp_path / "x.npz", names=NAMES, value=POINTS))
    refused("classes names 'p' twice", npz(tmp_path / "x.npz", names=NAMES, values=POINTS, classes=list("pqps")))
    refused("x.npz, classes, number 1: is empty", npz(tmp_path / "x.npz", names=NAMES, values=POINTS, classes=["p", "", "q", "r"]))
    refused("Python objects, which are not unpickled", npz(tmp_path / "x.npz", names=np.array(NAMES, object), values=POINTS))
    refused(r"values holds complex128", npz(tmp_path / "x.npz", names=NAMES, values=[1j, 2, 3]))
    refused(r"row 1 \(b\): 'two' is no number", npz(tmp_path / "x.npz", names=NAMES, values=["1", "two", "3"]))
    refused("x.csv, values, line 3 .b.: nan is not finite", written(tmp_path / "x.csv", "names,values\na,1\nb,nan\n"))
    refused("x.csv, values, line 4 .b.: '' is no number", written(tmp_path / "x.csv", 'names,values\n"a\n",1\nb,\n'))
    refused("x.csv, line 3: 3 fields under 2 columns", written(tmp_path / "x.csv", "names,values\na,1\nb,2,3\n"))
    refused("names, line 3: 'a' is there already, line 2", written(tmp_path / "x.csv", "names,values\na,1\na,2\n"))
    refused("the column 'values' is there twice", written(tmp_path / "x.csv", "names,values,values\na,1,2\n"))
    refused("'values' is a column, and 'values.x' a part of it", written(tmp_path / "x.csv", "names,values,values.x\na,1,2\n"))
    refused("no column 'names'", written(tmp_path / "x.csv", ""))
    refused("no rows", written(tmp_path / "x.csv", "names,values\n"))
    refused("no UTF-8", written(tmp_path / "x.csv", b"names,values\n\xff,1\n"))
    refused("cannot be read", written(tmp_path / "x.parquet", b"PAR1 and then nothing"))
    for column, message in (
        ([1, None, 3], "x.parquet, values, row 1: is empty"),
        ([[1], [1, 2], [3]], "row 1: is not as long"),
        ([[1], [None], [2]], "row 1: holds an empty"),
        ([1.5, None, 3], "x.parquet, values, row 1 .b.: nan is not finite"),
        ([[1.5], [None], [2]], "x.parquet, values, row 1 .b.: nan is not finite"),
        ([[1.5], None, [2.5]], "x.parquet, values, row 1: is empty"),
    ):
        parquet.write_table(pa.table({"names": NAMES, "values": column}), tmp_path / "x.parquet")
        refused(message, tmp_path / "x.parquet")
    parquet.write_table(pa.table({"names": NAMES, "values": [{"x": 1}] * 3}), tmp_path / "x.parquet")
    refused("neither numbers, nor words", tmp_path / "x.parquet")


def test_what_pandas_leaves_empty_is_what_nobody_labelled(tmp_path: Path) -> None:
    """It writes NaN as an empty cell of a CSV, and as null into Parquet."""
    parquet.write_table(pa.table({"names": NAMES, "values.x": pa.array([1.5, None, 3]), "values.y": [4.5, 5, 6]}), tmp_path / "x.parquet")
    parquet.write_table(pa.table({"names": NAMES, "values": [[1.5, 4.5], [None, 5], [3, 6]]}), tmp_path / "lists.parquet")
    for path in (written(tmp_path / "x.csv", "names,values.x,values.y\na,1.5,4.5\nb,,5\nc,3,6\n"), tmp_path / "x.parquet", tmp_path / "lists.parquet"):
        np.testing.assert_array_equal(read_arrays(path).numbers("values", unlabelled=True), [[1.5, 4.5], [np.nan, 5], [3, 6]])


def header_of(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(10**12, 512), (3,), (1,), (2**40, 2**40)])
def test_a_header_that_lies_about_its_size_is_refused_before_it_costs_memory(tmp_path: Path, shape: tuple[int, ...]) -> None:
    content = header_of(shape) + bytes(16)
    with pytest.raises(InputError, match=r"its header claims .* there are 16"):
        read_arrays(written(tmp_path / "x.npy", content))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("names.npy", content)
    with pytest.raises(InputError, match=r"its header claims .* there are 16"):
        read_arrays(tmp_path / "x.npz")


def test_words_of_no_length_are_refused_since_any_number_of_them_is_no_byte(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<U0", "fortran_order": False, "shape": (10**12,)})
    with pytest.raises(InputError, match="words of no length"):
        read_arrays(written(tmp_path / "x.npy", stream.getvalue()))


def test_an_archive_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("names.npy", header_of((2**37,)) + bytes(16))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    with pytest.raises(InputError, match=r"x\.npz: cannot be read .*packed bytes cannot be"):
        read_arrays(written(tmp_path / "y" / "x.npz", bytes(content)))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_refused_or_read_never_a_traceback(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["npz", "npy", "csv", "parquet", "bin"]))
    whole = tmp_path / f"whole.{kind}"
    if not whole.exists():
        np.savez_compressed(tmp_path / "whole.npz", names=np.array(NAMES), values=POINTS)
        np.save(tmp_path / "whole.npy", POINTS)
        written(tmp_path / "whole.csv", "names,values\na,1\nb,2\n")
        parquet.write_table(pa.table({"names": NAMES, "values": POINTS.tolist()}), tmp_path / "whole.parquet")
        written(tmp_path / "whole.bin", pickle.dumps(([np.arange(5, dtype=np.uint8)] * 2, np.array([True])), 2))
    content = bytearray(whole.read_bytes())
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)):
        content[at] = byte
    broken = written(tmp_path / f"broken.{kind}", bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        read_pair_pictures(broken) if kind == "bin" else read_arrays(broken).numbers("values")
        if kind == "npz":
            read_masks(broken)
    except InputError as error:
        assert str(broken) in str(error)


# Lists of pairs


def test_the_list_of_lfw_names_photographs_whatever_their_folder(tmp_path: Path) -> None:
    listed = read_pair_list(written(tmp_path / "pairs.txt", "2\t1\nJane_Roe\t1\t2\nJane_Roe\t1\tJohn_Doe\t3\nJohn_Doe\t3\t4\nJane_Roe\t2\tJohn_Doe\t4\n"))
    assert (listed.left[:2], listed.right[:2]) == (("Jane_Roe_0001", "Jane_Roe_0001"), ("Jane_Roe_0002", "John_Doe_0003"))
    assert listed.same.tolist() == [True, False, True, False] and listed.fold.tolist() == [0, 0, 1, 1]
    assert listed.people["John_Doe_0004"] == "John_Doe"
    names = ["lfw/Jane_Roe/Jane_Roe_0001.jpg", "Jane_Roe_0002", "John_Doe_0003.PNG", "John_Doe/John_Doe_0004.jpg", "unused"]
    left, right = listed.rows(names, "E.npz")
    assert (left.tolist(), right.tolist()) == ([0, 0, 2, 1], [1, 2, 3, 3])
    with pytest.raises(InputError, match=r"pairs.txt, row 4: E.npz has no 'John_Doe_0004'; did you mean 'John_Doe_0003'"):
        listed.rows(names[:3], "E.npz")
    with pytest.raises(InputError, match=r"E.npz, names, row 5: 'Jane_Roe_0001.png' is the photograph of row 0"):
        listed.rows([*names, "Jane_Roe_0001.png"], "E.npz")


def test_two_rows_a_pair_are_calfw_and_cplfw(tmp_path: Path) -> None:
    """CALFW labels a genuine pair with its fold, CPLFW with 1; genuine pairs come first, and each fold takes a tenth of both."""
    genuine = [f"P{at}_{photograph:04}.jpg {1 + at % 10}" for at in range(20) for photograph in (1, 2)]
    impostors = [f"P{(at + side) % 20}_{1 + side:04}.jpg 0" for at in range(20) for side in (0, 1)]
    listed = read_pair_list(written(tmp_path / "pairs_CALFW.txt", "\n".join(genuine + impostors)))
    assert listed.same.tolist() == [True] * 20 + [False] * 20 and (listed.left[21], listed.right[21]) == ("P1_0001", "P2_0002")
    assert listed.fold.tolist() == [at // 2 for at in range(20)] * 2 and listed.people["P3_0001"] == "P3"
    cplfw = read_pair_list(written(tmp_path / "pairs_CPLFW.txt", "A_B_1.jpg 1\nA_B_12.jpg 1\nA_B_1.jpg 0\nC_2.jpg 0\n"))
    assert cplfw.people == {"A_B_1": "A_B", "A_B_12": "A_B", "C_2": "C"}
    contradicted = read_pair_list(written(tmp_path / "pairs.txt", "A_0001.jpg 1\nB_0001.jpg 1\nA_0001.jpg 0\nB_0002.jpg 0\n"))
    assert contradicted.people is None and contradicted.fold is None
    for content, message in (("a_0001.jpg 1\n", "row 1: has no second row"), ("a 1\nb 0\n", "row 2: labelled 0, the first"), ("a 1\nb x\n", "row 2: not `name label`")):
        with pytest.raises(InputError, match=f"pairs.txt, {message}"):
            read_pair_list(written(tmp_path / "pairs.txt", content))


def test_plain_rows_and_tables_are_lists_of_pairs(tmp_path: Path) -> None:
    text = read_pair_list(written(tmp_path / "pairs.txt", "a b 1 0\nc d 0 0\n\na c -1 1\n"))
    table = read_pair_list(written(tmp_path / "pairs.csv", "left,right,same,fold\na,b,1,0\nc,d,False,0\na,c,0,1\n"))
    parquet.write_table(pa.table({"left": list("aca"), "right": list("bdc"), "same": [True, False, False], "fold": [0, 0, 1]}), tmp_path / "pairs.parquet")
    for listed in (text, table, read_pair_list(tmp_path / "pairs.parquet")):
        assert (listed.left, listed.right) == (("a", "c", "a"), ("b", "d", "c"))
        assert (listed.same.tolist(), listed.fold.tolist(), listed.people) == ([True, False, False], [0, 0, 1], None)
    assert text.where(2) == f"{tmp_path / 'pairs.txt'}, row 4" and table.where(2).endswith("line 4")
    assert read_pair_list(written(tmp_path / "pairs.txt", "a b 1\n" * 10 + "c d 0\n" * 10)).fold.tolist() == [*range(10), *range(10)]


def test_whole_numbers_that_pandas_wrote_as_floats_are_labels_and_folds(tmp_path: Path) -> None:
    table = read_pair_list(written(tmp_path / "pairs.csv", "left,right,same,fold\na,b,1.0,0.0\nc,d,0.00,0\na,c,-1.0,12.0\n"))
    parquet.write_table(pa.table({"left": list("aca"), "right": list("bdc"), "same": [1.0, 0, -1], "fold": [0.0, 0, 12]}), tmp_path / "pairs.parquet")
    for listed in (table, read_pair_list(tmp_path / "pairs.parquet")):
        assert (listed.same.tolist(), listed.fold.tolist()) == ([True, False, False], [0, 0, 12])


def test_columns_of_a_list_that_nobody_asks_for_may_hold_anything(tmp_path: Path) -> None:
    unrelated = {"taken": pa.array([None], pa.timestamp("s")), "box": [{"x": 1}]}
    parquet.write_table(pa.table({"left": ["a"], "right": ["b"], "same": [1], **unrelated}), tmp_path / "pairs.parquet")
    table = written(tmp_path / "pairs.csv", "left,right,same,,\na,b,1,,\n")
    for path in (tmp_path / "pairs.parquet", table):
        assert read_pair_list(path).left == ("a",)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("pairs.txt", "", "is empty"),
        ("pairs.csv", "left,right,same\na,b,1.5\n", "line 2: '1.5' is neither 1 nor 0"),
        ("pairs.csv", "left,right,same,fold\na,b,1,0.5\n", "line 2: '0.5' is no whole number"),
        ("pairs.csv", "left;right;same\na;b;1,0\n", "pairs.csv: separated by ';'. commas are read"),
        ("pairs.csv", "left,right,same\na,b\0,1\n", r"pairs.csv, right, line 2: 'b\\x00' ends in a NUL"),
        ("pairs.txt", "a b 1\na b 2\n", "row 2: '2' is neither 1 nor 0"),
        ("pairs.txt", "a b 1\na a 0\n", "row 2: a photograph is paired with itself"),
        ("pairs.txt", "a b 1\na b\n", "row 2: not `name name 1`"),
        ("pairs.txt", "a b 1 x\n", "row 1: 'x' is no whole number"),
        ("pairs.txt", "a b c d e\n", "row 1: not `name name 1`"),
        ("pairs.txt", "1\t2\nA\t1\t2\n", "1 pairs where its first row announces 4"),
        ("pairs.csv", "left,right\na,b\n", "no column 'same'"),
        ("pairs.csv", "left,right,same\na,,1\n", "line 2: a name is empty"),
        ("pairs.csv", "left,right,same\n", "no pairs"),
        ("pairs.txt", b"\xff\xfe", "no UTF-8"),
        ("pairs.txt", "a b 1\nc d 0\nb a 0\n", "row 3: 'b' and 'a' are paired with the other label at .*pairs.txt, row 1"),
        ("pairs.txt", "a b 1 0\nc d 0 0\n\nb a 1 1\n", "row 4: 'b' and 'a' are paired in another fold at .*pairs.txt, row 1"),
        ("pairs.csv", "left,right,same\na,b,1\na,b,0\n", "line 3: 'a' and 'b' are paired with the other label at .*pairs.csv, line 2"),
        ("pairs.txt", "2\t1\nA\t1\t2\nA\t1\tB\t1\nA\t2\t1\nA\t2\tB\t1\n", "row 4: 'A_0002' and 'A_0001' are paired in another fold at .*pairs.txt, row 2"),
        ("pairs.txt", "A_0001.jpg 1\nA_0002.jpg 1\nx/A_0002.jpg 0\nA_0001.jpg 0\n", "row 3: 'A_0002' and 'A_0001' are paired with the other label"),
        ("pairs.txt", "A_0001.jpg 1\nA_0002.jpg 1\nA_0001.jpg 1\nx/A_0001.png 1\n", "row 3: a photograph is paired with itself"),
        ("pairs.txt", "1\t1\nA\t1\t01\nA\t1\tB\t1\n", "row 2: a photograph is paired with itself"),
        ("pairs.csv", "left,right,same\na,b,1\nc,c,1\n", "line 3: a photograph is paired with itself"),
        ("pairs.txt", f"a b 1 {10**20}\n", f"row 1: '{10**20}' is a whole number beyond 64 bits"),
    ],
)
def test_a_list_that_is_none_is_refused_by_file_and_row(tmp_path: Path, file: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_pair_list(written(tmp_path / file, content))
    assert str(tmp_path / file) in str(error.value)


def test_a_list_that_cannot_be_read_is_refused_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    split = cfp(tmp_path)
    files = [written(tmp_path / file, "a b 1\n") for file in ("pairs.txt", "pairs.csv", "pairs.parquet", "pairs.bin")]
    monkeypatch.setattr(Path, "read_bytes", broken)
    monkeypatch.setattr(parquet, "read_table", broken)
    for path, named in (*zip(files, files, strict=True), (split / "FP", tmp_path / "Protocol/image_list_F.txt")):
        with pytest.raises(InputError, match=rf"^{named}: .*Input/output error"):
            read_pair_list(path)


def cfp(root: Path) -> Path:
    """Two people with twenty frontal and ten profile photographs each; ten folds of one pair of each kind."""
    pictures = {
        letter: [f"{person}/{view}/{at:02}" for person in ("001", "002") for at in range(1, end)] for letter, view, end in (("F", "frontal", 21), ("P", "profile", 11))
    }
    for letter, names in pictures.items():
        written(root / f"Protocol/image_list_{letter}.txt", "".join(f"{at} Data/Images/{name}.jpg\n" for at, name in enumerate(names, 1)))
    for fold in range(1, 11):
        for view, same, other in (("FF", f"{2 * fold - 1},{2 * fold}", f"{fold},{20 + fold}"), ("FP", f"{fold},{fold}", f"{fold},{10 + fold}")):
            written(root / f"Protocol/Split/{view}/{fold:02}/same.txt", f"{same}\n")
            written(root / f"Protocol/Split/{view}/{fold:02}/diff.txt", f"{other}\n")
    return root / "Protocol/Split"


def test_pairs_that_are_repeated_in_their_fold_are_counted_and_said(npz, tmp_path: Path) -> None:
    """As 130 of CFP's own frontal-frontal list are; where no fold is stated, in the ten that are cut."""
    listed = read_pair_list(written(tmp_path / "pairs.txt", "a b 1 0\nb a 1 0\na b 1 0\na c 0 0\na c 0 0\nc d 1 1\nb d 0 1\n"))
    assert listed.repeated == 3 and len(listed.left) == 7
    embeddings = npz("E", names=list("abcd"), embeddings=np.random.default_rng(0).normal(size=(4, 3)))
    assert verification(embeddings, tmp_path / "pairs.txt").result.counts["repeated_pairs"] == 3
    assert read_pair_list(written(tmp_path / "pairs.txt", "a b 1\n" * 3)).repeated == 2


def test_the_folders_of_cfp_are_ten_folds(tmp_path: Path) -> None:
    split = cfp(tmp_path)
    frontal, profile = (read_pair_list(split / view) for view in ("FF", "FP"))
    assert (frontal.left[1], frontal.right[1], frontal.same[1]) == ("001_frontal_01", "002_frontal_01", False)
    assert (profile.left[0], profile.right[0], profile.same[0]) == ("001_frontal_01", "001_profile_01", True)
    assert profile.fold.tolist() == np.arange(10).repeat(2).tolist() and profile.people["002_profile_01"] == "002"
    names = [f"x/{person}/profile/{at:02}.png" for person in ("001", "002") for at in range(1, 11)]
    left, right = profile.rows(["Data/Images/001/frontal/01.jpg", *names, *[f"001_frontal_{at:02}" for at in range(2, 11)]], "E.npz")
    assert (left[:2].tolist(), right[:2].tolist()) == ([0, 0], [1, 11])
    assert profile.where(3).endswith("FP/02/diff.txt, row 1")
    before = profile.sha256
    written(split / "FP/07/same.txt", "3,2\n")
    assert read_pair_list(split / "FP").sha256 != before
    written(split / "FP/07/same.txt", "99,2\n")
    with pytest.raises(InputError, match=r"FP/07/same.txt, row 1: the image list has no number 99"):
        read_pair_list(split / "FP")
    (split / "FF/10/diff.txt").unlink()
    with pytest.raises(InputError, match=r"diff.txt is missing"):
        read_pair_list(split / "FF")


# insightface's .bin


PICTURES = [b"\xff\xd8one", b"\x89PNG two", b"3", b"four"]
AS_ARRAYS = [np.frombuffer(picture, np.uint8).copy() for picture in PICTURES]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("pictures", [PICTURES, tuple(PICTURES), AS_ARRAYS, [array[:, None] for array in AS_ARRAYS]], ids=["bytes", "tuple", "arrays", "columns"])
@pytest.mark.parametrize("same", [[True, False], (1, 0), [np.True_, np.False_], np.array([True, False])], ids=["bools", "ints", "numpy's", "array"])
def test_both_containers_are_read_however_they_were_pickled(tmp_path: Path, pictures, same, protocol: int) -> None:
    found = read_pair_pictures(written(tmp_path / "lfw.bin", pickle.dumps((pictures, same), protocol)))
    assert found.pictures == tuple(PICTURES) and found.same.tolist() == [True, False]


def test_a_bin_of_python_2_is_read(tmp_path: Path) -> None:
    """Strings of Python 2 are bytes: (['\\xff\\xd8one', 'two'], [True]) as cPickle wrote it at protocol 2."""
    python2 = b"\x80\x02]q\x00(U\x05\xff\xd8oneq\x01U\x03twoq\x02e]q\x03\x88a\x86q\x04."
    assert read_pair_pictures(written(tmp_path / "lfw.bin", python2)).pictures == (b"\xff\xd8one", b"two")


def test_photographs_of_a_bin_are_named_by_number_in_ten_folds(tmp_path: Path) -> None:
    listed = read_pair_list(written(tmp_path / "lfw.bin", pickle.dumps(([b"x"] * 24, [True] * 6 + [False] * 6))))
    assert (listed.left[:2], listed.right[:2]) == (("0", "2"), ("1", "3"))
    assert listed.fold.tolist() == [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9], "as insightface cuts: in the file's order, whatever kind a pair is of"
    assert read_pair_list(written(tmp_path / "few.bin", pickle.dumps(([b"x"] * 4, [True, False])))).fold is None


class Evil:
    def __init__(self, function, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_pickle_that_asks_for_anything_else_is_refused_and_nothing_is_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    evil = [
        Evil(exec, f"open({str(trace)!r}, 'w')"),
        Evil(open, str(trace), "w"),
        Evil(Path.touch, trace),
        Evil(np.load, str(trace)),
        Evil(bytearray, 10),
        Evil(getattr, b"x", "join"),
        np.array([Path("x")], object),
        {1: 2},
    ]
    for each in evil:
        for content in (each, ([each, b"y"], [True]), ([b"x", b"y"], [each])):
            with pytest.raises(InputError, match=r"evil\.bin"):
                read_pair_pictures(written(tmp_path / "evil.bin", pickle.dumps(content, 2)))
    with pytest.raises(InputError, match=r"it asks for __builtin__\.eval"):
        read_pair_pictures(written(tmp_path / "evil.bin", pickle.dumps(Evil(eval, "1"), 2)))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"\x80\x02c__builtin__\nbytes\n\x8a\x05\x00\x00\x00\x00\x01\x85R.", "asks for bytes"),
        (b"\x80\x02(" + b"X\x00\x00\x01\x00" + b"a" * 65536 + b"q\x000" + b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * 10 + b"l.", "more bytes than it has"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "not latin1"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "outside the file"),
    ],
)
def test_a_pickle_cannot_ask_for_much_from_little(tmp_path: Path, program: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pair_pictures(written(tmp_path / "evil.bin", program))


def test_a_pickle_cannot_change_what_the_next_file_is_read_with(tmp_path: Path) -> None:
    """BUILD with (None, {name: value}) sets attributes of whatever the pickle was given, a function's defaults for one."""
    poison = b"\x80\x02c_codecs\nencode\nN}X\x0c\x00\x00\x00__defaults__X\x06\x00\x00\x00latin1\x85s\x86b."
    with pytest.raises(InputError):
        read_pair_pictures(written(tmp_path / "evil.bin", poison))
    test_both_containers_are_read_however_they_were_pickled(tmp_path, PICTURES, [True, False], 2)
    with pytest.raises(InputError, match="not latin1"):
        read_pair_pictures(written(tmp_path / "evil.bin", b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00a\x85R."))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([b"x"], "holds list"),
        ("text", "holds str"),
        (([b"x", b"y"], [True, False]), "2 pictures for 2 pairs"),
        (([], []), "0 pictures for 0 pairs"),
        (([b"x", "y"], [True]), "picture 1: not the bytes"),
        (([b"x", b""], [True]), "picture 1: not the bytes"),
        (([b"x", np.zeros(3)], [True]), "picture 1: not a list, nor an array of one dimension of u1"),
        (([b"x", np.zeros((2, 2), np.uint8)], [True]), "picture 1: not a list"),
        (([b"x", b"y"], [2]), "pair 0: whether it is one person"),
        (([b"x", b"y"], ["True"]), "pair 0: whether it is one person"),
        (([b"x", b"y"], [1.0]), "pair 0: whether it is one person"),
        ((b"xy", [True]), "pictures: bytes, a list is needed"),
        (([b"x", b"y"], np.array([1.0])), "same: not a list"),
    ],
)
def test_other_containers_are_refused_by_row(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_pair_pictures(written(tmp_path / "x.bin", pickle.dumps(content, 4)))
    assert str(tmp_path / "x.bin") in str(error.value)


def test_people_stand_beside_masks_where_one_is_known(tmp_path: Path) -> None:
    """Else two pictures of nobody knows whom would be counted as two people."""
    for subject, found in ((None, None), ("x", {"1": "? 1", "2": "x"})):
        with MaskWriter(tmp_path / "m.npz", ["background", "skin"]) as masks:
            masks.add("1", np.ones((2, 2), np.uint8))
            masks.add("2", np.ones((2, 2), np.uint8), subject)
        assert read_masks(tmp_path / "m.npz").subjects == found
        assert ("people" in parsing(tmp_path / "m.npz", tmp_path / "m.npz").result.counts) == (found is not None)


@pytest.mark.parametrize("full", ["1.npy", "classes.npy", "names.npy"])
def test_masks_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    opened = zipfile.ZipFile.open

    def disk(archive: zipfile.ZipFile, name: str, mode: str = "r") -> object:
        if name == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(archive, name, mode)  # type: ignore[call-overload]

    monkeypatch.setattr(zipfile.ZipFile, "open", disk)
    with pytest.raises(RunError, match=r"m\.npz: cannot be written \(No space left on device\)"), MaskWriter(tmp_path / "m.npz", ["background", "skin"]) as masks:
        masks.add("1", np.zeros((2, 2), np.uint8))
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    with MaskWriter(tmp_path / "m.npz", ["background", "skin"]) as masks:
        masks.add("1", np.zeros((2, 2), np.uint8))
    assert read_masks(tmp_path / "m.npz").names == ("1",) and [path.name for path in tmp_path.iterdir()] == ["m.npz"]
