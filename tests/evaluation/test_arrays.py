"""Tables and archives as people leave them: what is asked for is read as it was meant or refused by file and row, and what is not asked for may hold anything."""

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyface.errors import InputError
from polyface.evaluation import score
from polyface.evaluation.arrays import matched, read_arrays
from polyface.evaluation.masks import read_masks

NAMES = ["a", "b", "c"]


def table(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def columns(path: Path, **arrays: object) -> Path:
    """columns(path, array=values, ...): a Parquet of them."""
    parquet.write_table(pa.table(arrays), path)
    return path


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(12)), st.sampled_from([0, 1]), st.sampled_from(["{}", "{:02}"]))
def test_numbered_columns_are_in_the_order_of_their_numbers(tmp_path: Path, order: list[int], first: int, form: str) -> None:
    values = np.arange(36.0).reshape(3, 12)
    numbered = {f"{array}.{form.format(at + first)}": values[:, at] for array in ("embeddings", "values") for at in order}
    found = read_arrays(columns(tmp_path / "x.parquet", names=NAMES, **numbered))
    np.testing.assert_array_equal(found.numbers("embeddings"), values)
    np.testing.assert_array_equal(found.numbers("values"), values)
    assert found.classes == tuple(form.format(at + first) for at in range(12))


def test_points_of_columns_that_were_sorted_as_text_are_those_that_were_meant(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((3, 12)) * 100
    rows = [[name, *map(str, row[sorted(range(12), key=str)])] for name, row in zip(NAMES, points, strict=True)]
    header = ["names", *(f"values.{at}" for at in sorted(range(12), key=str))]
    said = table(tmp_path / "x.csv", "\n".join(",".join(row) for row in (header, *rows)))
    np.savez(tmp_path / "x.npz", names=NAMES, values=points, boxes=[[0, 0, 100, 100]] * 3)
    assert score.landmarks(said, tmp_path / "x.npz", ["box"]).result.scores["nme_box"].value == 0


@pytest.mark.parametrize(("ends", "wrong", "due"), [("0,1,3", "3", "2"), ("2,3,4", "2", "1"), ("1,2,02", "02", "3"), ("0,0,1", None, None), ("0,1,01", "01", "2")])
def test_columns_whose_numbers_are_not_each_there_once_are_refused_by_name(tmp_path: Path, ends: str, wrong: str | None, due: str | None) -> None:
    found = read_arrays(table(tmp_path / "x.csv", "names," + ",".join(f"embeddings.{end}" for end in ends.split(",")) + "\na,1,2,3\n"))
    message = f"x.csv: column 'embeddings.{wrong}' where 'embeddings.{due}' is due; 3 numbered columns are 0 to 2, or 1 to 3, each once"
    with pytest.raises(InputError, match=message if wrong else "the column 'embeddings.0' is there twice"):
        found.numbers("embeddings")


def test_named_columns_stay_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = read_arrays(table(tmp_path / "x.csv", "names,values.yaw,values.10,values.2\na,1,2,3\n"))
    assert found.classes == ("yaw", "10", "2") and found.numbers("values").tolist() == [[1, 2, 3]]


UNRELATED = {
    "words_with_a_null": ["x", None, "z"],
    "numbers_with_a_null": [1, None, 3],
    "dates": [datetime.datetime(2026, 1, 1)] * 3,
    "structs": [{"x": 1}] * 3,
    "ragged": [[1], [1, 2], []],
    "empty": [None, None, None],
    "Unnamed: 0": [0, 1, 2],
    "Unnamed: 0.1": [0, 1, 2],
}


@pytest.mark.parametrize("unrelated", UNRELATED)
def test_a_column_that_nobody_asks_for_may_hold_anything(tmp_path: Path, unrelated: str) -> None:
    path = columns(tmp_path / "x.parquet", names=NAMES, values=[3, 1, 2], **UNRELATED)
    found, _ = matched(read_arrays(path), read_arrays(path))
    assert found.numbers("values").tolist() == [3, 1, 2] and found.has(unrelated.partition(".")[0])
    if unrelated != "Unnamed: 0.1":
        with pytest.raises(InputError, match=r"x\.parquet"):
            found.numbers(unrelated)


def test_a_csv_that_pandas_saved_twice_is_read(tmp_path: Path) -> None:
    found = read_arrays(table(tmp_path / "x.csv", "Unnamed: 0.1,Unnamed: 0,names,values,,\n0,0,a,1.5,,\n1,1,b,2.5,,\n"))
    assert found.numbers("values").tolist() == [1.5, 2.5]
    with pytest.raises(InputError, match=r"'Unnamed: 0' is a column, and 'Unnamed: 0\.1' a part of it"):
        found.array("Unnamed: 0")
    with pytest.raises(InputError, match="the column '' is there twice"):
        found.array("")


def test_a_member_that_nobody_asks_for_may_hold_anything(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", names=NAMES, values=[1, 2, 3], paths=np.array(NAMES, object), bytes=np.array([b"a", b"\xff", b"c"]))
    found = read_arrays(tmp_path / "x.npz")
    assert found.numbers("values").tolist() == [1, 2, 3]
    with pytest.raises(InputError, match=r"x\.npz: cannot be read \(paths\.npy: holds Python objects, which are not unpickled"):
        found.words("paths")
    with pytest.raises(InputError, match=r"x\.npz, bytes, row 1: b'\\xff' is no UTF-8 text"):
        found.words("bytes")


def test_true_and_false_are_numbers_in_a_csv_as_in_other_files(tmp_path: Path) -> None:
    found = read_arrays(table(tmp_path / "x.csv", "names,missed,values.p,values.q,mixed\na,True,TRUE,1,yes\nb,False,false,,2\nc,false,0,1.0,true\n"))
    assert found.numbers("missed").tolist() == [1, 0, 0]
    np.testing.assert_array_equal(found.numbers("values", unlabelled=True), [[1, 1], [0, np.nan], [0, 1]])
    with pytest.raises(InputError, match=r"values, line 3 \(b\): '' is neither true nor false, as 'TRUE' \(a\) is"):
        found.numbers("values")
    with pytest.raises(InputError, match=r"mixed, line 2 \(a\): 'yes' is no number"):
        found.numbers("mixed")
    mixed = read_arrays(table(tmp_path / "y.csv", "names,values\na,12\nb,True\n"))
    with pytest.raises(InputError, match=r"values, line 2 \(a\): '12' is neither true nor false, as 'True' \(b\) is"):
        mixed.numbers("values")


@pytest.mark.parametrize("array", ["names", "classes", "subjects"])
def test_bytes_that_are_no_words_are_refused_by_row_since_two_of_them_would_be_one(tmp_path: Path, array: str) -> None:
    np.savez(tmp_path / "x.npz", **{"names": NAMES, "values": [1, 2, 3], array: np.array([b"a", b"\xfe", b"\xff"])})
    with pytest.raises(InputError, match=rf"x\.npz, {array}, row 1: b'\\xfe' is no UTF-8 text"):
        read_arrays(tmp_path / "x.npz").words(array)
    np.savez(tmp_path / "m.npz", names=np.array([b"a", b"\xff"]), a=np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match=r"m\.npz: cannot be read \(row 1: b'\\xff' is no UTF-8 text\)"):
        read_masks(tmp_path / "m.npz")


def test_words_that_python_alone_takes_for_numbers_are_refused_by_row(tmp_path: Path) -> None:
    found = read_arrays(table(tmp_path / "x.csv", "names,values,others\na,1,1\nb,4_3,4\0\n"))
    with pytest.raises(InputError, match=r"x\.csv, values, line 3 \(b\): '4_3' is no number"):
        found.numbers("values")
    with pytest.raises(InputError, match=r"x\.csv, others, line 3: '4\\x00' ends in a NUL"):
        found.numbers("others")
    with pytest.raises(InputError, match=r"x\.parquet, names, row 1: 'a\\x00' ends in a NUL"):
        read_arrays(columns(tmp_path / "x.parquet", names=["a", "a\0"], values=[1, 2]))


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_table_that_is_not_separated_by_commas_is_told_so(tmp_path: Path, mark: str) -> None:
    path = table(tmp_path / "x.csv", f"names{mark}values\na{mark}1,5\n")
    with pytest.raises(InputError) as error:
        read_arrays(path)
    assert str(error.value) == f"{path}: separated by {mark!r}? commas are read"


def test_a_table_without_rows_is_refused_in_plain_words(tmp_path: Path) -> None:
    path = columns(tmp_path / "x.parquet", names=pa.array([], pa.string()), values=pa.array([], pa.list_(pa.float32())), classes=pa.array([], pa.list_(pa.int8())))
    with pytest.raises(InputError) as error:
        read_arrays(path)
    assert str(error.value) == f"{path}: no rows"


def test_an_empty_subject_is_refused_with_what_to_write(tmp_path: Path) -> None:
    found = read_arrays(table(tmp_path / "x.csv", "names,subjects,groups\na,p,g\nb,,\n"))
    way = "is empty; where nobody knows the person, write a name that no other row has"
    with pytest.raises(InputError, match=rf"x\.csv, subjects, line 3 \(b\): {way}$"):
        found.words("subjects")
    with pytest.raises(InputError, match=r"x\.csv, groups, line 3 \(b\): is empty$"):
        found.words("groups")
    with pytest.raises(InputError, match=rf"x\.parquet, subjects, row 1: {way}$"):
        read_arrays(columns(tmp_path / "x.parquet", names=["a", "b"], subjects=["p", None])).words("subjects")
