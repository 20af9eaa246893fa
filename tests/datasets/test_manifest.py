import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from polyface import tasks
from polyface.datasets import contract, manifest, named, read_manifest, split_of, split_of_train
from polyface.errors import InputError, RequestError

TOP = """
name = "clinic"
title = "Faces of the clinic"
terms = "private"
table = "faces.csv"
picture = "file"
"""
GENDER = """
[tasks.gender]
column = "sex"
words = { M = "male", F = "female" }
"""
WHOLE = (
    TOP
    + """
subject = "patient"
groups = ["site"]
"""
    + GENDER
    + """
[tasks.race]
column = "origin"
words = { Asian = ["East Asian", "Southeast Asian"], Black = "Black" }
[tasks.expression]
column = "mood"
words = "same"
[tasks.age]
column = "age"
ranges = { "20-29" = [20, 29] }
sigma = 2.0
[tasks.attributes]
traits = { glasses = "Eyeglasses", smile = "Smiling" }
[tasks.landmarks]
columns = ["ex", "ey", "nx", "ny"]
means = [[36, 37, 38, 39, 40, 41], [30]]
first_pixel = 1
[tasks.parsing]
column = "mask"
words = { background = "background", hairy = ["hair", "l_brow", "r_brow"] }
[tasks.pose]
columns = { yaw = "turn" }
ranges = { left = [-99, -15] }
[tasks.identity]
column = "patient"
"""
)
COLUMNS = "file,patient,site,sex,origin,mood,age,glasses,smile,ex,ey,nx,ny,mask,turn"
ROW = "{0}.jpg,p{0},north,F,Asian,happy,31,yes,0,4,5,6,7,{0}.png,-20.5"


def declare(tiny, text):
    path = tiny.folder / "clinic.toml"
    path.write_text(text)
    return read_manifest(path)


def clinic(tiny, rows, header=COLUMNS, count=1):
    files = {f"{i}.jpg": tiny.noise(i) for i in range(count)} | {f"{i}.png": tiny.mask(i, top=1) for i in range(count)}
    return tiny.root({**files, "faces.csv": "\n".join([header, *rows, ""])})


def listed(dataset, root):
    listings = [dataset.list_records(root, split) for split in dataset.splits]
    return [record for listing in listings for record in listing.records], [str(problem) for listing in listings for problem in listing.problems]


def test_every_task_has_its_columns(tiny):
    dataset = declare(tiny, WHOLE)
    (record,), problems = listed(dataset, clinic(tiny, [ROW.format(0)]))
    assert not problems and set(record.labels) == {task.name for task in tasks.TASKS}
    assert record.subject == "p0" == record.labels["identity"] and record.groups == {"site": "north"}
    assert record.labels["age"] == 31 and record.labels["gender"] == "F" and record.labels["pose"] == {"yaw": -20.5}
    assert record.labels["attributes"] == {"glasses": True, "smile": False}
    np.testing.assert_array_equal(record.labels["landmarks"], [[3.5, 4.5], [5.5, 6.5]])
    assert record.labels["parsing"]().shape == (16, 16)
    assert record.alignment is None


def test_words_mean_what_the_manifest_says(tiny):
    answers = declare(tiny, WHOLE).answers
    assert answers["race"].table.sum(1).tolist() == [2, 1] and answers["parsing"].table.sum(1).tolist() == [1, 3]
    assert answers["age"].range_of("20-29") == (20, 29) and answers["age"].sigma == 2
    np.testing.assert_allclose(answers["landmarks"].weights.sum(1), 1)
    assert answers["landmarks"].weights[0, 36] == pytest.approx(1 / 6)


def test_a_set_of_a_manifest_keeps_the_contract_and_is_named_by_its_path(tiny):
    root = clinic(tiny, [ROW.format(i) for i in range(80)], count=80)
    (tiny.folder / "clinic.toml").write_text(WHOLE)
    dataset = named(str(tiny.folder / "clinic.toml"))
    assert dataset.name == "clinic"
    assert contract.check(dataset, root) == []
    assert len(listed(dataset, root)[0]) == 80


def test_the_example_in_the_manual_is_read(tiny):
    example = manifest.__doc__.split("\n\n", 1)[1].rpartition("\n\nAn empty cell")[0]
    dataset = declare(tiny, example)
    assert set(dataset.answers) == {task.name for task in tasks.TASKS}
    assert dataset.splits == ("test",)


def test_an_empty_cell_is_a_question_nobody_answered(tiny):
    dataset = declare(tiny, WHOLE)
    (record,), problems = listed(dataset, clinic(tiny, ["0.jpg,,,,,,20-29,,1,,,6,7,,"]))
    assert not problems and record.subject is None and record.groups == {}
    assert set(record.labels) == {"age", "attributes", "landmarks"}
    assert record.labels["age"] == "20-29" and record.labels["attributes"] == {"smile": True}
    assert np.isnan(record.labels["landmarks"][0]).all()


def test_cells_that_say_unknown_are_as_good_as_empty_in_their_own_question(tiny):
    attributes = '[tasks.attributes]\ntraits = { smile = "Smiling" }\n'
    dataset = declare(tiny, TOP + GENDER + 'unknown = ["NA", "?"]\n[tasks.age]\ncolumn = "age"\nunknown = ["-1"]\n' + attributes)
    records, problems = listed(dataset, clinic(tiny, ["0.jpg,NA,-1,-1", "1.jpg,F,31,1", "2.jpg,-1,3,"], "file,sex,age,smile", count=3))
    assert sorted((record.key, record.labels) for record in records) == [
        ("0.jpg", {"attributes": {"smile": False}}),
        ("1.jpg", {"gender": "F", "age": 31, "attributes": {"smile": True}}),
    ]
    assert len(problems) == 1 and "row 4" in problems[0] and "'-1'" in problems[0]


def test_columns_of_votes_are_the_shares_of_those_who_were_asked(tiny):
    dataset = declare(tiny, TOP + '[tasks.expression]\nvotes = { happy_votes = "happy", upset = ["sad", "fear"] }\n')
    rows = ["0.jpg,3,1", "1.jpg,,2", "2.jpg,0,0", "3.jpg,-1,2", "4.jpg,many,2"]
    records, problems = listed(dataset, clinic(tiny, rows, "file,happy_votes,upset", count=5))
    labels = {record.key: record.labels for record in records}
    assert labels == {"0.jpg": {"expression": {"happy_votes": 3, "upset": 1}}, "1.jpg": {"expression": {"upset": 2}}, "2.jpg": {}}
    row = tasks.expression.encode(dataset.answers["expression"], labels["0.jpg"]["expression"])
    assert row["share"].tolist() == [0.75, 0.25] and row["sets"].sum(1).tolist() == [1, 2]
    assert len(problems) == 2 and all(f"row {number}" in problem for number, problem in zip((5, 6), sorted(problems), strict=True))


def test_parquet_and_csv_list_the_same(tiny):
    text = TOP + GENDER + '[tasks.age]\ncolumn = "age"\n'
    rows = [("0.jpg", "M", 31), ("1.jpg", None, float("nan"))]  # both are empty
    table = pa.table({"file": [row[0] for row in rows], "sex": [row[1] for row in rows], "age": [row[2] for row in rows]})
    packed = io.BytesIO()
    parquet.write_table(table, packed)
    pictures = {f"{i}.jpg": tiny.noise(i) for i in range(2)}
    root = tiny.root({**pictures, "faces.csv": "file,sex,age\n0.jpg,M,31\n1.jpg,,\n", "faces.parquet": packed.getvalue(), "FACES.PARQUET": packed.getvalue()})
    found = [listed(declare(tiny, text.replace("faces.csv", table)), root) for table in ("faces.csv", "faces.parquet", "FACES.PARQUET")]
    assert all(not problems for _, problems in found)
    labels = [{record.key: dict(record.labels) for record in records} for records, _ in found]
    assert labels == [{"0.jpg": {"gender": "M", "age": 31}, "1.jpg": {}}] * 3


def test_a_broken_parquet_is_refused_by_name(tiny):
    dataset = declare(tiny, (TOP + GENDER).replace("faces.csv", "faces.parquet"))
    with pytest.raises(InputError, match=r"faces.parquet: cannot be read as Parquet"):
        dataset.records(tiny.root({"faces.parquet": b"PAR1 no"}), "train")


@pytest.mark.parametrize(
    ("kind", "value", "called"),
    [
        (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), {"bytes": b"\xff\xd8" * 999, "path": "0.jpg"}, "struct"),  # as HuggingFace stores pictures
        (pa.binary(), b"\xff\xd8", "binary"),
        (pa.list_(pa.string()), ["0.jpg"], "list"),
    ],
)
def test_a_column_of_parquet_that_is_neither_text_nor_numbers_is_refused_by_name_in_a_short_line(kind, value, called, tiny):
    packed = io.BytesIO()
    parquet.write_table(pa.table({"file": pa.array([value], kind), "sex": ["M"], "other": pa.array([value], kind)}), packed)
    root = tiny.root({"faces.parquet": packed.getvalue()})
    with pytest.raises(InputError) as refused:
        declare(tiny, (TOP + GENDER).replace("faces.csv", "faces.parquet")).records(root, "train")
    assert str(refused.value) == f"{root.label}: faces.parquet: the column 'file' holds {called}, neither text nor numbers"


def test_columns_of_parquet_that_are_text_numbers_or_answers_are_read_whatever_keeps_them(tiny):
    packed = io.BytesIO()
    columns = {"file": pa.array(["0.jpg"], pa.large_string()), "sex": pa.array(["M"]).dictionary_encode(), "age": pa.array([31], pa.float32())}
    others = {"site": pa.array([None], pa.null()), "glasses": pa.array([True]), "images": pa.array([[1]], pa.list_(pa.int8()))}  # the last is asked for by nobody
    parquet.write_table(pa.table(columns | others), packed)
    text = TOP + 'groups = ["site"]\n' + GENDER + '[tasks.age]\ncolumn = "age"\n[tasks.attributes]\ntraits = { glasses = "Eyeglasses" }\n'
    records, problems = listed(declare(tiny, text.replace("faces.csv", "faces.parquet")), tiny.root({"0.jpg": tiny.noise(0), "faces.parquet": packed.getvalue()}))
    assert not problems and [dict(record.labels) for record in records] == [{"gender": "M", "age": 31, "attributes": {"glasses": True}}]


def test_a_wrong_quote_refuses_its_row_of_the_table_and_the_rest_goes_on(tiny):
    dataset = declare(tiny, TOP + 'splits = ["test"]\n' + GENDER)
    records, problems = listed(dataset, small(tiny, '"6" x.jpg,M,31,', "1.jpg,M,31,", count=2))
    assert problems == ["faces.csv, row 2: ',' expected after '\"'"] and [record.key for record in records] == ["1.jpg"]


def test_a_column_that_is_in_a_table_twice_is_refused_where_the_manifest_asks_for_it(tiny):
    packed = io.BytesIO()
    parquet.write_table(pa.Table.from_arrays([pa.array(["0.jpg"]), pa.array(["M"]), pa.array(["F"])], names=["file", "sex", "sex"]), packed)
    root = tiny.root({"0.jpg": tiny.noise(0), "faces.csv": "file,sex,sex\n0.jpg,M,F\n", "faces.parquet": packed.getvalue()})
    for table in ("faces.csv", "faces.parquet"):
        with pytest.raises(InputError, match=f"{table}: the column 'sex' is there twice"):
            declare(tiny, (TOP + GENDER).replace("faces.csv", table)).records(root, "train")
        other = (TOP + GENDER).replace("faces.csv", table).replace('column = "sex"', 'column = "file"').replace("M =", '"0.jpg" =')
        assert len(listed(declare(tiny, other), root)[0]) == 1


SMALL = "file,sex,age,part"


def small(tiny, *rows, count=1):
    return clinic(tiny, rows, header=SMALL, count=count)


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("0.jpg,X,31,", "faces.csv, row 2: gender: no word 'X' here; there are M, F"),
        ("0.jpg,M,240,", "faces.csv, row 2: age: 240.0 years is outside 0 to 116"),
        ("0.jpg,M,03-Sep,", "faces.csv, row 2: age: '03-Sep' is neither a number nor a word of the manifest"),
        (",M,31,", "faces.csv, row 2: no picture in column 'file'"),
    ],
)
def test_a_bad_cell_refuses_its_row_and_the_rest_goes_on(row, line, tiny):
    dataset = declare(tiny, TOP + 'splits = ["test"]\n' + GENDER + '[tasks.age]\ncolumn = "age"\n')
    records, problems = listed(dataset, small(tiny, row, "1.jpg,M,31,", count=2))
    assert problems == [line] and [record.key for record in records] == ["1.jpg"]


def test_decimal_commas_refuse_their_row_and_give_no_shifted_points(tiny):
    points = '[tasks.landmarks]\ncolumns = ["x", "y", "x2", "y2"]\nmeans = [[36], [30]]\n'
    dataset = declare(tiny, TOP + 'splits = ["test"]\n' + points)
    root = clinic(tiny, ["0.jpg,10,5,2,5,3,5,4,5,hello", "1.jpg,10.5,2.5,3.5,4.5,hello,"], header="file,x,y,x2,y2,note", count=2)
    records, problems = listed(dataset, root)
    assert problems == ["faces.csv, row 2: 10 fields where the header has 6"]
    assert [record.labels["landmarks"].tolist() for record in records] == [[[11, 3], [4, 5]]]


def test_a_mask_that_is_not_there_refuses_its_row(tiny):
    dataset = declare(tiny, TOP + 'splits = ["test"]\n[tasks.parsing]\ncolumn = "sex"\nwords = "same"\n')
    assert listed(dataset, small(tiny, "0.jpg,none.png,1,"))[1] == ["faces.csv, row 2: parsing: no mask none.png"]


def test_absent_pictures_are_counted_once(tiny):
    dataset = declare(tiny, TOP + GENDER)
    root = small(tiny, "0.jpg,M,1,", "gone.jpg,M,1,")
    assert [dataset.list_records(root, split).absent for split in dataset.splits] == [("gone.jpg",), (), ()]


def test_a_missing_column_or_table_is_named(tiny):
    dataset = declare(tiny, TOP + GENDER)
    with pytest.raises(InputError, match=r"faces.csv: no column 'sex'; did you mean 'sexe'\?"):
        dataset.records(tiny.root({"faces.csv": "file,sexe\n"}), "train")
    with pytest.raises(InputError, match=r"faces.csv is missing"):
        dataset.records(tiny.root({"other.csv": ""}), "train")


def test_without_a_column_of_splits_people_or_pictures_are_cut_in_tenths(tiny):
    rows = [f"{i}.jpg,M,p{i % 30}," for i in range(60)]
    by_picture, by_person = declare(tiny, TOP + GENDER), declare(tiny, TOP + 'subject = "age"\n' + GENDER)
    root = small(tiny, *rows, count=60)
    for split in by_picture.splits:
        assert all(split_of(record.source.read()) == split for record in by_picture.list_records(root, split).records)
        assert all(split_of(record.subject) == split for record in by_person.list_records(root, split).records)
    assert len(listed(by_person, root)[0]) == 60


def test_whoever_is_asked_for_is_in_one_split_though_no_column_of_subjects_is_named(tiny):
    dataset = declare(tiny, TOP + '[tasks.identity]\ncolumn = "age"\nunknown = ["-"]\n')
    root = small(tiny, *(f"{i}.jpg,M,p{i % 20}," for i in range(60)), "60.jpg,M,-,", count=61)
    records = {split: dataset.list_records(root, split).records for split in dataset.splits}
    people = {split: {record.subject for record in found if record.subject} for split, found in records.items()}
    assert sum(map(len, people.values())) == len(set.union(*people.values())) == 20
    assert [record.subject for found in records.values() for record in found if record.key == "60.jpg"] == [None]


def test_a_tenth_of_train_is_validation_where_no_row_says_so(tiny):
    dataset = declare(tiny, TOP + 'split = "part"\n' + GENDER)
    root = small(tiny, *(f"{i}.jpg,M,1,{'test' if i < 3 else 'train'}" for i in range(60)), count=60)
    assert len(dataset.records(root, "test").records) == 3
    validation = dataset.records(root, "validation").records
    assert validation and all(split_of_train(record.source.read()) == "validation" for record in validation)
    assert len(listed(dataset, root)[0]) == 60


def test_stated_validation_is_kept_and_other_words_are_refused(tiny):
    dataset = declare(tiny, TOP + 'split = "part"\n' + GENDER)
    root = small(tiny, *(f"{i}.jpg,M,1,train" for i in range(30)), "30.jpg,M,1,validation", "31.jpg,M,1,val", count=32)
    assert [record.key for record in dataset.records(root, "validation").records] == ["30.jpg"]
    assert len(dataset.records(root, "train").records) == 30
    assert "faces.csv, row 33: no split 'val'" in listed(dataset, root)[1][0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name = ", "cannot be read"),
        (TOP, r"no \[tasks.NAME\] says what the set answers"),
        (TOP.replace("picture", "pictur") + GENDER, "unknown key 'pictur'; did you mean 'picture'?"),
        (TOP.replace('terms = "private"', "") + GENDER, "missing required field 'terms'"),
        (TOP + 'splits = ["train", "test"]' + GENDER, "two splits need a column"),
        (TOP + 'splits = ["dev"]' + GENDER, "splits"),
        (TOP + "splits = []" + GENDER, "splits are some of train, validation, test, each once"),
        (TOP + 'splits = ["test", "test"]' + GENDER, "splits are some of train, validation, test, each once"),
        (TOP + GENDER.replace("gender", "gendr"), "no task 'gendr'; did you mean 'gender'?; a new one is a file"),
        (TOP + GENDER.replace("column", "colum"), r"\[tasks.gender\]: unknown key 'colum'; did you mean 'column'?"),
        (TOP + GENDER.replace('"male"', '"man"'), r"\[tasks.gender\]: the word 'M' means 'man', which is not in the vocabulary"),
        (TOP + GENDER.replace('"male"', "[]"), "the word 'M' leaves no answer possible"),
        (TOP + '[tasks.gender]\ncolumn = "sex"\nwords = "ours"', "words"),
        (TOP + '[tasks.age]\ncolumn = "age"\nranges = { old = [90, 60] }', "means 90 to 60, which is no range"),
        (TOP + '[tasks.age]\ncolumn = "age"\nranges = { old = [60, 240] }', "the word 'old' means 60 to 240, which is outside 0 to 116"),
        (TOP + '[tasks.age]\ncolumn = "age"\nsigma = -1', "sigma -1 is negative"),
        (TOP + '[tasks.attributes]\ntraits = { a = "Smilin" }', "no attribute 'Smilin'; did you mean 'Smiling'?"),
        (TOP + '[tasks.landmarks]\ncolumns = ["x"]', "an even number"),
        (TOP + '[tasks.landmarks]\ncolumns = ["x", "y"]', "1 points, neither 5 nor 68"),
        (TOP + '[tasks.landmarks]\ncolumns = ["x", "y"]\nmeans = [[68]]', "numbers from 0 to 67"),
        (TOP + f"[tasks.landmarks]\ncolumns = {['x', 'y'] * 98}\nmeans = {[[3]] * 98}", "98 points, of which a row holds at most 68"),
        (TOP + '[tasks.landmarks]\ncolumns = ["x", "y"]\nmeans = [[3]]\nfirst_pixel = 2', "first_pixel 2 is none of"),
        (TOP + '[tasks.pose]\ncolumns = { jaw = "a" }', "no axis 'jaw'; did you mean 'yaw'?"),
        (TOP + "[tasks]\nage = 3", r"\[tasks.age\]"),
        (TOP + "[tasks]\ngender = 3", r"\[tasks.gender\]"),
    ],
)
def test_a_wrong_manifest_is_refused_in_one_line(text, line, tiny):
    with pytest.raises(RequestError, match=line.replace("?", r"\?")) as refused:
        declare(tiny, text)
    assert str(refused.value).startswith(str(tiny.folder / "clinic.toml"))


def test_a_manifest_with_a_byte_order_mark_is_read(tiny):
    (tiny.folder / "clinic.toml").write_text(TOP + GENDER, "utf-8-sig")
    assert read_manifest(tiny.folder / "clinic.toml").name == "clinic"


def test_files_that_are_there_under_another_spelling_are_named_where_they_are_missed(tiny):
    files = {"a/0.jpg": tiny.noise(0), "a/1.png": tiny.mask(1), "a/2.jpg": tiny.noise(2)}
    dataset = declare(tiny, f'{TOP}splits = ["test"]\n[tasks.parsing]\ncolumn = "mask"\nwords = "same"\n')
    root = tiny.root({**files, "faces.csv": "file,mask\na\\0.jpg,\na/2.jpg,a\\1.png\n"})
    assert listed(dataset, root)[1] == ["faces.csv, row 3: parsing: no mask a\\1.png; a/1.png is there: folders end in /, not in \\"]
    with pytest.raises(InputError) as refused:
        dataset.records(root, "test")
    said = "a\\0.jpg first; a/0.jpg is there: folders end in /, not in \\"
    assert f"1 files are listed but absent, {said}; 1 rows were refused" in str(refused.value)
    assert contract.notes(dataset, root, [dataset.list_records(root, "test")])[0] == f"clinic: 1 files are listed but not there, {said}"


def test_a_manifest_that_is_not_there_is_a_wrong_request(tmp_path):
    with pytest.raises(RequestError, match=r"none.toml: cannot be read \(No such file"):
        read_manifest(tmp_path / "none.toml")


def test_words_of_a_manifest_that_no_row_uses_are_noted(tiny):
    dataset = declare(tiny, TOP + GENDER + '[tasks.age]\ncolumn = "age"\nranges = { "20-29" = [20, 29], old = [65, 116] }\n')
    rows = [f"{i}.jpg,M,{'old' if i % 2 else 31}" for i in range(12)]  # of some split or other
    listings = contract.listed(dataset, root := clinic(tiny, rows, "file,sex,age", count=12))
    assert contract.notes(dataset, root, listings) == ["clinic: no row says 'F' of gender", "clinic: no row says '20-29' of age"]


def test_points_outside_their_picture_and_halves_of_points_are_refused_by_row(tiny):
    points = '[tasks.landmarks]\ncolumns = ["ex", "ey", "nx", "ny"]\nmeans = [[36], [30]]\n'
    dataset = declare(tiny, f'{TOP}splits = ["test"]\n{points}')
    records, problems = listed(dataset, clinic(tiny, ["0.jpg,4,5,600,7", "1.jpg,4,,6,7", "2.jpg,,,6,7"], "file,ex,ey,nx,ny", 3))
    assert [record.key for record in records] == ["2.jpg"]
    assert problems == [
        "faces.csv, row 2: landmarks: point 2 at (600.5, 7.5) is outside the picture 0.jpg of 16 x 16",
        "faces.csv, row 3: landmarks: point 1 has one coordinate, and not the other",
    ]


@pytest.mark.parametrize(("count", "aligned"), [(5, True), (68, True)])
def test_five_or_sixty_eight_labelled_points_align_the_face(count, aligned, tiny):
    columns = [f"{axis}{i}" for i in range(count) for axis in "xy"]
    dataset = declare(tiny, f'{TOP}splits = ["test"]\n[tasks.landmarks]\ncolumns = {columns}\n')
    values = [str(value / 10) for value in range(2 * count)]  # in the picture
    root = tiny.root({"0.jpg": tiny.noise(0), "faces.csv": ",".join(["file", *columns]) + "\n" + ",".join(["0.jpg", *values]) + "\n"})
    (record,), _ = listed(dataset, root)
    assert record.alignment.how == "labelled" and record.alignment.points.shape == (5, 2)
    nose = record.labels["landmarks"][2 if count == 5 else 30]
    np.testing.assert_array_equal(record.alignment.points[2], nose)


def test_sixty_eight_points_that_are_not_in_ibugs_order_do_not_align_the_face(tiny):
    columns, means = [f"{axis}{i}" for i in range(68) for axis in "xy"], [[i] for i in reversed(range(68))]
    dataset = declare(tiny, f'{TOP}splits = ["test"]\n[tasks.landmarks]\ncolumns = {columns}\nmeans = {means}\n')
    root = tiny.root({"0.jpg": tiny.noise(0), "faces.csv": ",".join(["file", *columns]) + "\n" + ",".join(["0.jpg", *(str(i / 10) for i in range(136))]) + "\n"})
    assert listed(dataset, root)[0][0].alignment is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    cells=st.lists(
        st.one_of(st.sampled_from(["", "M", "20-29", "31", "left", "-1", "1e9", "nan"]), st.text(st.characters(codec="utf-8"), max_size=5)), min_size=14, max_size=14
    )
)
def test_any_row_gives_a_record_or_one_line(cells, tiny):
    dataset = declare(tiny, WHOLE)
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    records, problems = listed(dataset, clinic(tiny, [",".join(["0.jpg", *quoted])]))
    assert len(records) + len(set(problems)) == 1
