"""What training must not see: near-copies of test pictures, strangers' photographs, test people; and who is who in which space."""

import dataclasses
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from polyface import datasets, tasks
from polyface.datasets import apart, crops, pack
from polyface.datasets.base import Alignment, Dataset, Listing, Record, Split
from polyface.errors import RequestError, RunError
from polyface.images import align, read
from polyface.images.read import Root
from polyface.labels import People
from polyface.synth.write import write
from polyface.training import detector, examples
from polyface.training.config import Config, from_table
from polyface.training.examples import Source


def recipe(*sets: str | dict, **more: object) -> Config:
    return from_table({"name": "x", "steps": 1, "data": [entry if isinstance(entry, dict) else {"set": entry} for entry in sets], **more}, "x")


def keys(source: Source) -> set[str]:
    return {example.record.key for example in source.examples.items}


def write_jpeg(path: Path, image: np.ndarray, quality: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])


@pytest.fixture(scope="module")
def helens(tmp_path_factory: pytest.TempPathFactory, find_faces: Callable[..., None]) -> Path:
    """Drawn Helen; a test picture lies in train again, compressed anew."""
    data = tmp_path_factory.mktemp("helens")
    write("300w", data / "helen", 6, 2, 1)
    test = next((data / "helen" / "testset").glob("*.jpg"))
    write_jpeg(data / "helen" / "trainset" / "999_1.jpg", cv2.imread(str(test)), 70)
    shutil.copy(test.with_suffix(".pts"), data / "helen" / "trainset" / "999_1.pts")
    find_faces(data, "helen")
    return data


def test_a_near_copy_of_a_test_picture_leaves_training(helens: Path) -> None:
    listed = {record.key for record in datasets.helen.records(datasets.find_root(helens, "helen"), "train").records}
    assert "trainset/999_1" in listed
    source = examples.training_sources(recipe("helen"), helens)[0]
    assert keys(source) == listed - {"trainset/999_1"}
    assert source.left_out["near-copy of a test picture"] == 1


def test_no_validation_picture_is_a_near_copy_of_a_test_picture_nor_a_training_picture_of_either(helens: Path, tmp_path: Path, find_faces: Callable[..., None]) -> None:
    shutil.copytree(helens / "helen", tmp_path / "helen")
    test = next((helens / "helen" / "testset").glob("*.jpg"))
    validated = [person for person in range(60) if datasets.split_of(f"Person {person}") == "validation"]
    for person in range(60):
        own = np.random.default_rng(person).integers(0, 256, (300, 300, 3), dtype=np.uint8)
        write_jpeg(tmp_path / "pins" / f"pins_Person {person}" / "own.jpg", own, 85)
        write_jpeg(tmp_path / "pins" / f"pins_Person {person}" / "copy.jpg", cv2.imread(str(test)), 85)
        if person == validated[0]:
            blots = cv2.resize(own[:9, :9], (300, 300), interpolation=cv2.INTER_CUBIC)  # soft, so that a compression keeps it
            write_jpeg(tmp_path / "pins" / f"pins_Person {person}" / "own.jpg", blots, 95)
    trained = next(person for person in range(60) if datasets.split_of(f"Person {person}") == "train")
    write_jpeg(tmp_path / "pins" / f"pins_Person {trained}" / "again.jpg", blots, 60)
    find_faces(tmp_path, "helen", "pins")
    config = recipe("helen", "pins")
    validation = examples.validation_sources(config, tmp_path)[-1]
    assert keys(validation) == {f"pins_Person {person}/own.jpg" for person in validated}
    assert validation.left_out["near-copy of a test picture"] == len(validated)
    training = examples.training_sources(config, tmp_path)[-1]
    assert training.left_out["near-copy of a validation picture"] == 1 and all(key.endswith("own.jpg") for key in keys(training))


MINE = """
name = "mine"
title = "Mine"
terms = "private"
table = "faces.csv"
picture = "file"
subject = "patient"
split = "part"
[tasks.age]
column = "age"
"""


PATIENTS = """
import numpy as np
from polyface.datasets.base import Alignment, Dataset, Listing, Record
from polyface.images.read import Source
from polyface.labels import People, Ranges
from polyface.tasks import age, identity

FACE = Alignment(np.array([[30.0, 30.0], [60.0, 30.0], [45.0, 45.0], [33.0, 60.0], [57.0, 60.0]]), "stated")
WHO = {"train": {"a.jpg": "Ann", "b.jpg": "Bob"}, "test": {"c.jpg": "Ann"}}


def list_records(root, split):
    return Listing(tuple(Record(name, Source(root, name), {age.name: 30, identity.name: who}, who, FACE) for name, who in WHO[split].items()))


dataset = Dataset("mine", "Mine", "", "", {age.name: Ranges(), identity.name: People("clinic")}, ("train", "test"), list_records)
"""
READER_THAT_FAILS = """
from polyface.datasets.base import Dataset, Listing, Record
from polyface.images.read import Source
from polyface.labels import Ranges
from polyface.tasks import age


def list_records(root, split):
    return Listing((Record("a.jpg", Source(root, "a.jpg"), {age.name: 30 if split == "train" else 1 / 0}),))


dataset = Dataset("mine", "Mine", "", "", {age.name: Ranges()}, ("train", "test"), list_records)
"""


def own_set(folder: Path, *rows: tuple[str, str, str]) -> str:
    """A manifest of (file, patient, split); the path of its file. Files of the same first letter hold the same picture."""
    (folder / "mine").mkdir(parents=True)
    for file, _, _ in rows:
        write_jpeg(folder / "mine" / file, np.random.default_rng(ord(file[0])).integers(0, 256, (90, 90, 3), dtype=np.uint8), 90)
    (folder / "mine" / "faces.csv").write_text("file,patient,part,age\n" + "".join(f"{file},{patient},{split},30\n" for file, patient, split in rows))
    (folder / "mine.toml").write_text(MINE)
    return str(folder / "mine.toml")


def test_whoever_is_in_two_splits_stays_in_the_later_one_only_and_that_is_said(tmp_path: Path, find_faces: Callable[..., None]) -> None:
    rows = [("a.jpg", "Ann", "train"), ("b.jpg", "Bob", "train"), ("c.jpg", "Cid", "train"), ("d.jpg", "Bob", "validation"), ("e.jpg", "Cid", "validation")]
    name = own_set(tmp_path, *rows, ("f.jpg", "Cid", "test"))
    find_faces(tmp_path, name)
    (training,), (validation,) = examples.training_sources(recipe(name), tmp_path), examples.validation_sources(recipe(name), tmp_path)
    assert (keys(training), keys(validation)) == ({"a.jpg"}, {"d.jpg"})
    assert training.left_out["somebody of another split"] == 2
    assert "mine: 2 pictures are left out of train, they show people of another split; b.jpg first" in training.notes
    assert "mine: 1 pictures are left out of validation, they show people of another split; e.jpg first" in validation.notes


def test_a_set_all_of_whose_people_are_in_a_test_is_refused(tmp_path: Path, find_faces: Callable[..., None]) -> None:
    name = own_set(tmp_path, *[(f"{letter}.jpg", "Ann", split) for letter, split in zip("abc", ("train", "validation", "test"), strict=True)])
    find_faces(tmp_path, name)
    with pytest.raises(RequestError, match="mine: nothing is left to train on: 1 somebody of another split"):
        examples.training_sources(recipe(name), tmp_path)
    assert examples.validation_sources(recipe(name), tmp_path) == ()


def test_of_pictures_that_were_never_aligned_the_same_bytes_are_found_and_the_rest_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("a.jpg", "Ann", "train"), ("a2.jpg", "Bob", "test"), ("b.jpg", "Cid", "train"), ("c.jpg", "Dan", "train"), ("c2.jpg", "Eve", "validation")]
    name = own_set(tmp_path, *rows)
    where = Alignment(align.ARCFACE_112 * 90 / 112, "stated")
    mine = datasets.named(name)

    def list_records(root: Root, split: Split) -> Listing:
        return Listing(tuple(dataclasses.replace(record, alignment=where) for record in mine.list_records(root, split).records))

    monkeypatch.setattr(datasets, "named", lambda name: dataclasses.replace(mine, list_records=list_records))
    (source,) = examples.training_sources(recipe(name), tmp_path)
    assert keys(source) == {"b.jpg"} and source.unchecked == 1
    assert source.left_out["same bytes as a test picture"] == source.left_out["same bytes as a validation picture"] == 1
    said = f"mine: 1 of 1 pictures are compared with those of tests by their bytes only, since `polyface datasets align {mine.called}` never ran"
    assert source.notes == (said,)
    assert examples.training_sources(recipe(name, drawings=True), tmp_path)[0].notes == ()  # who draws knows
    found = crops.examples(datasets.named(name), datasets.find_root(tmp_path, "mine"), "train", {}, training=True)
    monkeypatch.setattr(pack, "_shrink", lambda example, dataset: (example, b"fewer pixels", {}))
    pack.write_pack(found, pack.pack_folder(tmp_path, "mine"))
    (packed,) = examples.training_sources(recipe(name), tmp_path)
    assert keys(packed) == {"b.jpg"} and packed.left_out == source.left_out  # what is compared are the files that were packed


def test_pictures_without_a_face_and_those_that_align_never_opened_are_counted_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, find_faces: Callable[..., None]
) -> None:
    name = own_set(tmp_path, *((f"{letter}.jpg", letter, "train") for letter in "abcde"))
    later = [(tmp_path / "mine" / f"{letter}.jpg", (tmp_path / "mine" / f"{letter}.jpg").read_bytes()) for letter in "cd"]
    for path, _ in later:
        path.unlink()
    choose = crops.choose
    monkeypatch.setattr(crops, "choose", lambda faces, record: None if record.key == "b.jpg" else choose(faces, record))
    find_faces(tmp_path, name)
    for path, content in later:
        path.write_bytes(content)
    (source,) = examples.training_sources(recipe(name), tmp_path)
    assert keys(source) == {"a.jpg", "e.jpg"} and (source.left_out["no face found"], source.left_out["never aligned"]) == (1, 2)
    assert source.notes == (f"mine: 2 pictures are left out, since `polyface datasets align {name}` did not open them: run it again, if they were added later",)
    pack.pack_set(datasets.named(name), datasets.find_root(tmp_path, "mine"), tmp_path)
    assert examples.training_sources(recipe(name), tmp_path)[0].left_out == source.left_out
    find_faces(tmp_path, name)
    shutil.rmtree(pack.pack_folder(tmp_path, "mine"))
    (again,) = examples.training_sources(recipe(name), tmp_path)
    assert len(keys(again)) == 4 and not again.notes and again.left_out["never aligned"] == 0


def test_a_picture_that_was_added_after_align_is_compared_with_aligned_test_pictures_by_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = own_set(tmp_path, ("a.jpg", "Ann", "train"), ("b.jpg", "Bob", "test"), ("b2.jpg", "Cid", "train"), ("c.jpg", "Eve", "train"))
    mine, where = datasets.named(name), Alignment(align.ARCFACE_112 * 90 / 112, "stated")

    def list_records(root: Root, split: Split) -> Listing:
        return Listing(tuple(dataclasses.replace(record, alignment=where) for record in mine.list_records(root, split).records))

    stated = dataclasses.replace(mine, list_records=list_records)
    monkeypatch.setattr(datasets, "named", lambda name: stated)
    contents = {file: (tmp_path / "mine" / file).read_bytes() for file in ("b2.jpg", "c.jpg")}
    for file in contents:
        (tmp_path / "mine" / file).unlink()
    crops.align_set(stated, datasets.find_root(tmp_path, "mine"), tmp_path, SimpleNamespace(name="none", sha256="", detect_many=lambda images: []))
    for file, content in contents.items():
        (tmp_path / "mine" / file).write_bytes(content)
    (source,) = examples.training_sources(recipe(name), tmp_path)
    assert keys(source) == {"a.jpg", "c.jpg"} and source.left_out["same bytes as a test picture"] == 1
    assert source.notes[0].endswith(f"by their bytes only, since `polyface datasets align {name}` did not open them: run it again, if they were added later")


def test_two_files_of_one_name_are_refused_since_what_align_keeps_and_scores_go_by_name(tmp_path: Path) -> None:
    name = own_set(tmp_path, ("a.jpg", "Ann", "train"))
    shutil.copy(name, tmp_path / "again.toml")
    with pytest.raises(RequestError, match=r"mine.toml and .*again.toml are both named 'mine'"):
        examples.training_sources(recipe(name, str(tmp_path / "again.toml")), tmp_path)
    for_detector = detector.from_table({"network": detector.NETWORK, "name": "two", "steps": 1, "data": [{"set": name}, {"set": str(tmp_path / "again.toml")}]}, "two")
    with pytest.raises(RequestError, match=r"mine.toml and .*again.toml are both named 'mine'"):
        detector.DetectorPlan(for_detector, tmp_path)


def test_rows_that_training_goes_without_are_named_and_the_rest_of_many_counted(tmp_path: Path, find_faces: Callable[..., None]) -> None:
    name = own_set(tmp_path, ("a.jpg", "Ann", "train"), *((f"b{number}.jpg", "Bob", "trian") for number in range(12)))
    find_faces(tmp_path, name)
    (source,) = examples.training_sources(recipe(name), tmp_path)
    assert "row 3: no split 'trian'" in source.notes[0] and source.notes[10] == "mine: and 2 more" and source.left_out["refused"] == 12


def test_a_near_copy_of_another_sets_test_picture_leaves_training_too(helens: Path, tmp_path: Path, find_faces: Callable[..., None]) -> None:
    shutil.copytree(helens / "helen", tmp_path / "helen")
    test = next((helens / "helen" / "testset").glob("*.jpg"))
    for person in range(30):  # some of them are train
        write_jpeg(tmp_path / "pins" / f"pins_Person {person}" / "copy.jpg", cv2.imread(str(test)), 85)
        write_jpeg(tmp_path / "pins" / f"pins_Person {person}" / "own.jpg", np.random.default_rng(person).integers(0, 256, (300, 300, 3), dtype=np.uint8), 85)
    find_faces(tmp_path, "helen", "pins")
    for config in (recipe("pins"), recipe("helen", "pins")):
        source = examples.training_sources(config, tmp_path)[-1]
        assert keys(source) and all(key.endswith("own.jpg") for key in keys(source))
        assert source.left_out["near-copy of a test picture"] == len(keys(source))


def test_a_test_set_of_which_nothing_can_be_told_in_training_is_not_listed(helens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million distractors whose faces nobody found take minutes to list."""
    shutil.copytree(helens, tmp_path, dirs_exist_ok=True)
    (tmp_path / "megaface").mkdir()

    def refuse(root: object, split: str) -> Listing:
        raise AssertionError(f"{split} was listed")

    monkeypatch.setattr(datasets, "DATASETS", (datasets.helen, dataclasses.replace(datasets.megaface, list_records=refuse)))
    assert examples.training_sources(recipe("helen"), tmp_path)[0].left_out["near-copy of a test picture"] == 1
    with pytest.raises(AssertionError, match="test was listed"):  # but as strangers its people have names
        examples.training_sources(recipe("helen", strangers=["megaface"]), tmp_path)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory, find_faces: Callable[..., None]) -> Path:
    """LFW, people in folders of whom one is of LFW under another spelling, and MTFL with a photograph of LFW."""
    data = tmp_path_factory.mktemp("strangers")
    write("lfw", data / "lfw", 4, 2, 1)
    write("folders", data / "pins", 20, 2, 2)
    write("mtfl", data / "mtfl", 6, 2, 3)
    trained = next(folder for folder in sorted((data / "pins").iterdir()) if datasets.split_of(folder.name.replace("_", " ")) == "train")
    name = next(f"Drawn_Lfw_{number:04}" for number in range(4) if datasets.split_of(f"drawn LFW {number:04}") == "train")
    trained.rename(data / "pins" / f"pins_drawn LFW {name[-4:]}")
    mtfl = next(iter((data / "mtfl" / "lfw_5590").iterdir()))
    lines = (data / "mtfl" / "training.txt").read_text()
    stranger = next(f"Drawn_Lfw_{number:04}_0001.jpg" for number in range(4) if datasets.split_of_train(f"Drawn Lfw {number:04}") == "train")
    (data / "mtfl" / "training.txt").write_text(lines.replace(mtfl.name, stranger))
    mtfl.rename(mtfl.with_name(stranger))
    find_faces(data, "pins", "mtfl")
    return data


def test_nobody_of_lfw_carries_an_identity_in_training(strangers: Path) -> None:
    plain = examples.training_sources(recipe("pins"), strangers)[0]
    source = examples.training_sources(recipe("pins", strangers=["lfw"]), strangers)[0]
    assert source.left_out["identity of a test person"] == 2 and plain.left_out["identity of a test person"] == 0
    gone = set(plain.people) - set(source.people)
    assert len(gone) == 1 and next(iter(gone)).startswith("drawn LFW")
    assert keys(source) == keys(plain)  # the pictures stay, without a name
    nameless = [example.record for example in source.examples.items if tasks.identity.name not in example.record.labels]
    assert {record.subject for record in nameless} == gone
    assert sorted(source.people.values()) == list(range(len(source.people)))


def test_a_photograph_of_lfw_leaves_training_whatever_set_it_is_in(strangers: Path) -> None:
    plain = examples.training_sources(recipe("mtfl"), strangers)[0]
    source = examples.training_sources(recipe("mtfl", strangers=["lfw"]), strangers)[0]
    gone = keys(plain) - keys(source)
    assert len(gone) == 1 and next(iter(gone)).startswith("lfw_5590/Drawn_Lfw_")
    assert source.left_out["photograph of a test list"] == 1


def test_a_misspelt_stranger_is_refused(strangers: Path) -> None:
    with pytest.raises(RequestError, match="no data set 'lwf'; did you mean 'lfw'"):
        examples.training_sources(recipe("pins", strangers=["lwf"]), strangers)


def test_strangers_of_a_users_own_set_that_is_not_at_hand_are_refused(strangers: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('name = "own"\ntitle = "Own"\nterms = ""\ntable = "faces.csv"\npicture = "file"\n[tasks.age]\ncolumn = "age"\n')
    with pytest.raises(RequestError, match="strangers: own is not at hand"):
        examples.training_sources(recipe("pins", strangers=[str(file)]), strangers)


def test_people_are_numbered_by_rank_within_their_set(strangers: Path) -> None:
    source = examples.training_sources(recipe("pins"), strangers)[0]
    assert source.space == "pins" and list(source.people) == sorted(source.people)
    assert set(source.people) == {str(example.record.labels[tasks.identity.name]) for example in source.examples.items}


def test_sets_that_share_a_space_share_its_people_and_others_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, find_faces: Callable[..., None]) -> None:
    for name, layout, seed in (("pins", "folders", 1), ("celeba", "celeba", 2)):
        write(layout, tmp_path / name, 10, 2, seed)
    find_faces(tmp_path, "pins", "celeba")
    apart = examples.training_sources(recipe("pins", "celeba"), tmp_path)
    assert {source.space for source in apart} == {apart[0].space, apart[1].space} and apart[0].space != apart[1].space
    assert not set(apart[0].people) & set(apart[1].people)
    shared = [dataclasses.replace(dataset, answers={**dataset.answers, tasks.identity.name: People("everyone")}) for dataset in (datasets.pins, datasets.celeba)]
    monkeypatch.setattr(datasets, "DATASETS", tuple(shared))
    together = examples.training_sources(recipe("pins", "celeba"), tmp_path)
    assert [source.space for source in together] == ["everyone"] * 2
    assert together[0].people == together[1].people and set(together[0].people) == set(apart[0].people) | set(apart[1].people)


def test_whoever_is_in_a_test_of_a_set_of_the_same_space_leaves_training(tmp_path: Path) -> None:
    answers = {tasks.identity.name: People("clinic")}
    who = {"one": ("train", "Ann"), "other": ("test", "Ann")}

    def listed(name: str, root: Root, split: str) -> Listing:
        its_split, person = who[name]
        return Listing((Record("a.jpg", read.Source(root, "a.jpg"), {tasks.identity.name: person}, person),) if split == its_split else ())

    sets = {name: Dataset(name, name, "", "", answers, ("train", "test"), partial(listed, name)) for name in who}
    for name in who:
        (tmp_path / name).mkdir()
    reserved = {"test": apart.reserve(tmp_path, list(sets.values()), apart.faces_of(list(sets.values()), tmp_path), "test")}
    records = apart.listed(sets["one"], tmp_path, "train")
    assert apart.unfit("one", "train", records, crops.Faces(), reserved) == {"a.jpg": "somebody of another split"}


def test_whoever_is_in_a_test_leaves_training_of_a_set_that_is_asked_for_some_answers_only(tmp_path: Path) -> None:
    own_set(tmp_path, ("a.jpg", "Ann", "train"), ("b.jpg", "Bob", "train"), ("c.jpg", "Ann", "test"))
    (tmp_path / "mine.py").write_text(PATIENTS)
    training = examples.training_sources(recipe({"set": str(tmp_path / "mine.py"), "tasks": [tasks.age.name]}), tmp_path)[0]
    assert keys(training) == {"b.jpg"} and training.left_out["somebody of another split"] == 1


def test_a_set_whose_reader_fails_for_its_test_trains_nothing_since_nobody_knows_what_to_keep_out(tmp_path: Path) -> None:
    own_set(tmp_path, ("a.jpg", "Ann", "train"))
    (tmp_path / "mine.py").write_text(READER_THAT_FAILS)
    with pytest.raises(RunError, match=r"mine\.py: its list_records fails with ZeroDivisionError"):
        examples.training_sources(recipe(str(tmp_path / "mine.py")), tmp_path)


def test_a_recipe_can_ask_a_set_for_some_of_its_answers(strangers: Path) -> None:
    entry = {"set": "mtfl", "tasks": [tasks.gender.name]}
    source = examples.training_sources(recipe(entry), strangers)[0]
    assert list(source.dataset.answers) == [tasks.gender.name]
    example = source.examples.items[0]
    rows = crops.rows_of(example, source.dataset, tasks.TASKS, (250, 250), np.eye(3)[:2], 128, source.people)
    assert list(rows) == [tasks.gender.name]
    with pytest.raises(RequestError, match="mtfl does not answer race; it answers"):
        examples.training_sources(recipe({"set": "mtfl", "tasks": [tasks.race.name]}), strangers)


@pytest.mark.parametrize("task", ["gender", "landmarks"])
def test_a_set_is_not_drawn_evenly_by_what_it_does_not_say_or_by_points(helens: Path, task: str) -> None:
    with pytest.raises(RequestError, match=f"helen has no labels of {task}"):
        examples.training_sources(recipe({"set": "helen", "even": task}), helens)


def test_validation_is_spread_evenly_and_no_larger_than_asked(helens: Path, tmp_path: Path) -> None:
    write("300w", tmp_path / "helen", 30, 1, 1)
    whole = examples.validation_sources(recipe("helen"), tmp_path)[0]
    train = examples.training_sources(recipe("helen"), tmp_path)[0]
    assert len(whole.examples.items) >= 2 and not keys(whole) & keys(train)
    one = examples.validation_sources(recipe("helen", validation_rows=1), tmp_path)[0]
    assert keys(one) <= keys(whole) and len(keys(one)) == 1


def test_a_set_that_is_not_there_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no pins, pins\.zip or pins\.tar in it"):
        examples.training_sources(recipe("pins"), tmp_path)
