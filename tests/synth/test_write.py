import re
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from polyface import datasets, tasks
from polyface.datasets.base import Record
from polyface.errors import InputError, RequestError
from polyface.images.read import decode, decode_mask, open_root
from polyface.synth.draw import draw
from polyface.synth.people import person, photo_of
from polyface.synth.write import LAYOUTS, MOST_YAW_ALIGNED, write, write_once


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jpg"))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("drawn")
    for layout in LAYOUTS:
        assert write(layout, root / layout, 5, 2, 3) == 10
    return {layout: root / layout for layout in LAYOUTS}


@pytest.mark.parametrize(
    ("layout", "shapes"),
    [
        ("utkface", {(200, 200, 3)}),
        ("fairface", {(224, 224, 3)}),
        ("rafdb", {(100, 100, 3)}),
        ("celeba", {(218, 178, 3)}),
        ("celebamask", {(512, 512, 3)}),
        ("300w", {(300, 400, 3), (400, 300, 3), (360, 360, 3)}),
        ("mtfl", {(250, 250, 3), (150, 150, 3)}),
        ("lfw", {(112, 112, 3)}),
        ("folders", {(160, 160, 3), (176, 176, 3), (192, 192, 3)}),
    ],
)
def test_every_layout_holds_all_its_pictures_in_the_right_size(written, layout, shapes):
    found = [cv2.imread(str(path)).shape for path in pictures(written[layout])]
    assert len(found) == 10 and set(found) == shapes


def test_utkface_names_carry_age_gender_race_and_a_date_of_their_own(written):
    names = [re.fullmatch(r"(\d{1,3})_([01])_([0-4])_(\d{17})\.jpg\.chip\.jpg", path.name) for path in pictures(written["utkface"])]
    assert all(names) and len({match[4] for match in names if match}) == 10


def test_fairface_lists_its_two_splits(written):
    for split, count in (("train", 8), ("val", 2)):
        lines = (written["fairface"] / f"fairface_label_{split}.csv").read_text().splitlines()
        assert lines[0] == "file,age,gender,race,service_test" and len(lines) == count + 1
        for line in lines[1:]:
            file, age, gender, race, service = line.split(",")
            assert (written["fairface"] / file).is_file() and file.startswith(f"{split}/")
            assert age in ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
            assert gender in ("Male", "Female") and race in tasks.race.vocabulary and service in ("True", "False")


def test_rafdb_names_and_numbers_are_as_downloaded_and_nobody_shows_contempt(tmp_path):
    write("rafdb", tmp_path, 10, 8, 1)
    lines = (tmp_path / "basic/EmoLabel/list_patition_label.txt").read_text().splitlines()
    assert lines[0].startswith("train_00001.jpg ") and lines[-1].startswith("test_0016.jpg ")
    assert {line.split()[1] for line in lines} == set("1234567")
    assert all((tmp_path / "basic/Image/aligned" / line.split()[0].replace(".jpg", "_aligned.jpg")).is_file() for line in lines)


def test_celeba_has_its_three_lists_and_people_do_not_cross_partitions(written):
    root = written["celeba"]
    lines = (root / "list_attr_celeba.txt").read_text().splitlines()
    assert lines[0] == "10" and tuple(lines[1].split()) == tasks.attributes.vocabulary
    assert all(len(line.split()) == 41 and set(line.split()[1:]) <= {"1", "-1"} for line in lines[2:])
    identity = dict(line.split() for line in (root / "identity_CelebA.txt").read_text().splitlines())
    partition = dict(line.split() for line in (root / "list_eval_partition.txt").read_text().splitlines())
    assert set(identity) == set(partition) == {path.name for path in pictures(root / "img_align_celeba")}
    assert set(partition.values()) == {"0", "1", "2"}
    assert len({(identity[name], partition[name]) for name in identity}) == len(set(identity.values())) == 5


@pytest.mark.parametrize("name", ["utkface", "rafdb", "celeba", "celebamask", "lfw"])
def test_faces_of_aligned_layouts_lie_where_their_readers_say(written, name):
    root, dataset = open_root(written[name]), datasets.named(name)
    records: list[Record] = []
    for split in dataset.splits:
        with suppress(InputError):  # ten pictures, split by their content, may leave a split empty
            records += dataset.records(root, split).records
    seed = (3 << 32) | zlib.crc32(name.encode())
    scene = next(scene for who in range(3) if abs((scene := photo_of(person(seed, who), seed, 0)).yaw) < MOST_YAW_ALIGNED)
    shown = [decode(record.source.read(), record.key).astype(int) for record in records]
    (height, width), step = shown[0].shape[:2], shown[0].shape[1] / 400

    def apart(x: float, y: float) -> float:
        drawn = draw(scene, (width, height), five=records[0].alignment.points + np.array([x, y])).image
        return min(np.abs(picture - drawn).mean() for picture in shown)

    assert apart(0, 0) < min(apart(step, 0), apart(-step, 0), apart(0, step), apart(0, -step))


def test_celebamask_masks_are_palette_pngs_whose_index_is_the_class(written):
    root = written["celebamask"]
    names = [path.stem for path in pictures(root / "images")]
    assert sorted(path.stem for path in (root / "masks").iterdir()) == names
    for name in names:
        data = (root / "masks" / f"{name}.png").read_bytes()
        assert data[24:26] == bytes([8, 3])  # eight bits, palette
        mask = decode_mask(data, name)
        assert mask.shape == (512, 512) and {0, 1, 2}.issubset(np.unique(mask)) and mask.max() <= 18
        colours = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert tuple(colours[mask == 1][0]) == (0, 0, 204)


def test_300w_points_are_one_based(written):
    for split, count in (("trainset", 8), ("testset", 2)):
        files = sorted((written["300w"] / split).glob("*.pts"))
        assert len(files) == count and all(file.with_suffix(".jpg").is_file() for file in files)
    lines = files[0].read_text().splitlines()
    assert lines[:3] == ["version: 1", "n_points:  68", "{"] and lines[-1] == "}" and len(lines) == 72
    seed = (3 << 32) | zlib.crc32(b"300w")
    drawing = draw(photo_of(person(seed, 4), seed, 0), cv2.imread(str(files[0].with_suffix(".jpg"))).shape[1::-1])
    assert np.allclose([[float(value) for value in line.split()] for line in lines[3:71]], drawing.labels.points + 0.5, atol=1e-5)


def test_mtfl_lists_are_written_as_the_download_has_them(written):
    root = written["mtfl"]
    training, testing = ((root / name).read_bytes().decode() for name in ("training.txt", "testing.txt"))
    assert training.count("\r\n") == 8 and testing.count("\r\n") == 2
    assert "/" not in training and "\\" in training and "\\" not in testing
    lines = training.split("\r\n")
    assert not lines[0].startswith(" ") and lines[1].startswith(" ")
    for line in (training + testing).split("\r\n")[:-1]:
        path, *numbers = line.split()
        assert (root / path.replace("\\", "/")).is_file() and len(numbers) == 14
        values = [float(number) for number in numbers[:10]]
        assert values[5] < values[8]  # eyes above the mouth: x first, then y
        assert set(numbers[10:13]) <= {"1", "2"} and numbers[13] in "12345"


def test_lfw_pairs_name_files_that_are_there_and_no_person_is_in_two_folds(tmp_path):
    write("lfw", tmp_path, 12, 3, 1)
    head, *lines = (tmp_path / "pairs.txt").read_text().splitlines()
    folds, count = (int(value) for value in head.split("\t"))
    assert folds == 6 and len(lines) == 2 * folds * count and len(set(lines)) == len(lines)
    people: list[set[str]] = []
    for index, line in enumerate(lines):
        fields = line.split("\t")
        same = index % (2 * count) < count
        assert len(fields) == (3 if same else 4)
        pair = [(fields[0], fields[1]), (fields[0], fields[2])] if same else [(fields[0], fields[1]), (fields[2], fields[3])]
        for name, number in pair:
            assert (tmp_path / "lfw_aligned_112" / name / f"{name}_{int(number):04d}.jpg").is_file()
        if index % (2 * count) == 0:
            people.append(set())
        people[-1] |= {name for name, _ in pair}
    assert sum(len(fold) for fold in people) == len(set().union(*people)) == 12


def test_folders_hold_one_person_each(written):
    folders = sorted(path for path in written["folders"].iterdir())
    assert len(folders) == 5 and all(len(pictures(folder)) == 2 for folder in folders)


def test_writing_twice_gives_the_same_bytes(written, tmp_path):
    for layout in ("utkface", "lfw"):
        write(layout, tmp_path / layout, 5, 2, 3)
        for path in (path for path in (tmp_path / layout).rglob("*") if path.is_file()):
            assert path.read_bytes() == (written[layout] / path.relative_to(tmp_path / layout)).read_bytes()


def test_layouts_show_other_people_unless_asked_to_share_them(written, tmp_path):
    def genders(root: Path) -> list[str]:
        return [line.split()[-4] for line in (root / "training.txt").read_text().splitlines()]

    write("mtfl", tmp_path / "shared", 5, 2, 3, shared_people=True)
    assert genders(tmp_path / "shared")[::2] == ["1" if person(3, index).gender == "male" else "2" for index in range(4)]
    assert all("Drawn_Shared" in path.name for path in (tmp_path / "shared" / "lfw_5590").iterdir())
    folders, lfw = ({path.name for path in root.iterdir()} for root in (written["folders"], written["lfw"] / "lfw_aligned_112"))
    assert not folders & lfw


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("celebb", 5, 2, 1), "no layout 'celebb'"),
        (("celeba", 2, 2, 1), "at least 3 people"),
        (("rafdb", 1, 2, 1), "at least 2 people"),
        (("lfw", 3, 2, 1), "at least 4 people"),
        (("lfw", 8, 1, 1), "2 photos"),
        (("utkface", 0, 2, 1), "at least 1"),
        (("utkface", 1, 1, -1), "at least 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path, arguments, words):
    layout, people, photos, seed = arguments
    with pytest.raises(RequestError, match=words):
        write(layout, tmp_path / "out", people, photos, seed)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(RequestError, match="not an empty folder"):
        write("utkface", tmp_path, 1, 1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_sets_are_drawn_once_and_what_was_cut_off_is_drawn_anew(tmp_path: Path) -> None:
    (tmp_path / ".lfw.partial").mkdir()
    (tmp_path / ".lfw.partial" / "left over").touch()
    (tmp_path / "utkface").mkdir()  # there already, so it stays as it is
    assert write_once([("lfw", "lfw", 4, 2), ("utkface", "utkface", 1, 1)], tmp_path) == tmp_path
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lfw", "utkface"] and not list((tmp_path / "utkface").iterdir())
    assert len(list((tmp_path / "lfw").rglob("*.jpg"))) == 8 and not list(tmp_path.rglob("left over"))
    write_once([("lfw", "lfw", 4, 2)], tmp_path)
    assert len(list((tmp_path / "lfw").rglob("*.jpg"))) == 8
    write_once([("lfw", "lfw", 5, 2), ("utkface", "utkface", 2, 2)], tmp_path)  # other people are asked for
    assert len(list((tmp_path / "lfw").rglob("*.jpg"))) == 10 and not list((tmp_path / "utkface").iterdir())
