from pathlib import Path

import pytest

from polyface.datasets import DATASETS, find_root, lfw, named
from polyface.errors import RequestError, RunError

MINE = """
from dataclasses import dataclass
from polyface import tasks
from polyface.datasets import Dataset, Listing, Record
from polyface.images.read import Source
from polyface.labels import Ranges

@dataclass
class Row:
    file: "str"

def list_records(root, split):
    return Listing(tuple(Record(row.file, Source(root, row.file), {tasks.age.name: 3}) for row in [Row("a.jpg")]))

dataset = Dataset("mine", "Mine", "private", "", {tasks.age.name: Ranges()}, ("test",), list_records)
"""


def test_names_of_listed_sets_are_unique_and_found():
    assert len({dataset.name for dataset in DATASETS}) == len(DATASETS) > 10
    assert all(named(dataset.name) is dataset for dataset in DATASETS)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(RequestError, match=r"no data set 'utkfaces'; did you mean 'utkface'\?"):
        named("utkfaces")


def test_a_users_own_file_is_loaded_by_its_path(tiny):
    (tiny.folder / "mine.py").write_text(MINE)
    dataset = named(str(tiny.folder / "mine.py"))
    assert [record.key for record in dataset.records(tiny.root({"a.jpg": tiny.noise(1)}), "test").records] == ["a.jpg"]
    assert dataset.called == str(tiny.folder / "mine.py") and lfw.called == "lfw"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("dataset = 3", "defines no `dataset"),
        ("x = 1", "defines no `dataset"),
        ("import nonesuch", "cannot be loaded .ModuleNotFoundError"),
        ("x = (", "cannot be loaded .SyntaxError"),
    ],
)
def test_a_file_that_defines_no_set_is_refused_in_one_line(content, line, tmp_path):
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(RequestError, match=f"mine.py: {line}"):
        named(str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    ("name", "line"), [("utkface", "that of a listed set"), ("../mine", "that of no folder"), ("", "that of no folder"), ("..", "that of no folder")]
)
def test_a_set_of_ones_own_has_a_name_of_its_own_which_is_that_of_a_folder(name, line, tmp_path):
    (tmp_path / "mine.py").write_text(MINE.replace('"mine"', repr(name)))
    with pytest.raises(RequestError, match=f"mine.py: the name '{name}' is {line}"):
        named(str(tmp_path / "mine.py"))


def test_a_reader_of_ones_own_that_fails_is_one_line_that_names_its_file(tiny):
    (tiny.folder / "mine.py").write_text(MINE.replace('[Row("a.jpg")]', "[Row(1 / 0)]"))
    with pytest.raises(RunError, match=r"mine.py: its list_records fails with ZeroDivisionError: division by zero"):
        named(str(tiny.folder / "mine.py")).records(tiny.root({"a.jpg": tiny.noise(1)}), "test")


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(RequestError, match=r"nowhere.py: no such file"):
        named("nowhere.py")


@pytest.mark.parametrize("form", ["lfw", "lfw.zip", "lfw.tar"])
def test_a_root_is_a_folder_a_zip_or_a_tar(form, tiny):
    files = tiny.layouts["lfw"]()
    prefix = "" if form == "lfw" else "lfw/"
    tiny.write({prefix + name: content for name, content in files.items()}, tiny.folder / form)
    root = find_root(tiny.folder, "lfw")
    assert len(lfw.records(root, "test").records) == 8 and len(lfw.pairs(root).same) == 4


def test_celeba_in_the_wild_comes_in_celebas_download(tiny):
    tiny.write(tiny.layouts["celeba"](), tiny.folder / "celeba")
    assert find_root(tiny.folder, "celeba_wild").label == find_root(tiny.folder, "celeba").label


def test_the_folder_of_the_sets_may_come_from_the_environment(tiny, monkeypatch):
    tiny.write(tiny.layouts["lfw"](), tiny.folder / "lfw")
    monkeypatch.setenv("POLYFACE_DATA", str(tiny.folder))
    assert find_root(None, "lfw").label == find_root(tiny.folder, "lfw").label
    monkeypatch.delenv("POLYFACE_DATA")
    with pytest.raises(RequestError, match="--data DIR, or set POLYFACE_DATA"):
        find_root(None, "lfw")


def test_a_set_that_is_not_there_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(RequestError, match=r"no lfw, lfw.zip or lfw.tar in it"):
        find_root(Path(tmp_path), "lfw")
