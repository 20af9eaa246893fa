"""Small faces get wider sets, not bolder answers: on drawn people, whom a network of a few lines reads by fine detail, from files to card to answer."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyface import datasets, tasks
from polyface.datasets import crops
from polyface.datasets.base import Alignment, Dataset, Listing, Record
from polyface.errors import RequestError
from polyface.evaluation import small
from polyface.evaluation.evaluate import look
from polyface.images import align, read
from polyface.inference import calibrate as calibration
from polyface.inference import card as cards
from polyface.inference.calibrate_answers import LARGE, Rows, fit_answers, fit_sizes, measure_answers, measure_smaller, rows_of
from polyface.inference.card import AnswerCalibration, AtSize, at_size
from polyface.inference.card_page import markdown
from polyface.labels import Ranges, same_words
from polyface.synth.draw import draw
from polyface.synth.people import person, photo_of
from polyface.tasks.kinds import Task, softmax

CROP = align.Crop()
PEOPLE = {"train": range(200), "validation": range(200, 500), "test": range(500, 800)}
FIVE = align.Crop().template * 1.2 - (15, 15)
"""Eyes 36 pixels apart, in a picture of 124."""


@dataclass(frozen=True)
class ByDetail:
    """Ridge regression from the detail of a crop to years and gender, too sure of itself."""

    weights: np.ndarray
    tasks: tuple[Task, ...] = (tasks.age, tasks.gender, tasks.landmarks)
    crop: align.Crop = CROP
    label: str = "detail@000000000000"

    def run(self, seen: np.ndarray, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
        years, male = (detail(seen) @ self.weights).T
        answers = {
            "age": -(((np.arange(tasks.age.top + 1) - years[:, None]) / 10) ** 2) / 2,
            "gender": np.stack([male, -male], 1) * 3,
            "landmarks": np.full((len(seen), 68, 3), 64.0),
        }
        return {name: answers[name].astype(np.float32) for name in names or ()}


def detail(seen: np.ndarray) -> np.ndarray:
    """How much there is of what a blur would take, and where, of crops [N, S, S, 3]."""
    grey = [cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32) for crop in seen]
    fine = [abs(each - cv2.GaussianBlur(each, None, 1.5)) for each in grey]
    return np.stack([np.append(cv2.resize(each[16:112, 16:112], (24, 24), interpolation=cv2.INTER_AREA).ravel() ** 0.5, 5.0) for each in fine])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, read.Root]:
    folder = tmp_path_factory.mktemp("people")
    records: dict[str, list[Record]] = {}
    for split, numbers in PEOPLE.items():
        for number in numbers:
            drawing = draw(photo_of(person(8, number), 8, 0), 124, five=FIVE)
            cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(drawing.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 0])
            labels = {"age": drawing.labels.age, "gender": drawing.labels.gender, "landmarks": drawing.labels.points}
            source = read.file_source(folder / f"{number}.png")
            records.setdefault(split, []).append(Record(f"{number}.png", source, labels, alignment=Alignment(drawing.labels.five, "stated")))
    answers = {"age": Ranges(), "gender": same_words(tasks.gender.vocabulary), "landmarks": datasets.helen.answers["landmarks"]}
    return Dataset("drawn", "Drawn", "", "", answers, tuple(PEOPLE), lambda root, split: Listing(tuple(records[split]))), read.open_root(folder)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def network(drawn: tuple[Dataset, read.Root]) -> ByDetail:
    dataset, root = drawn
    records = dataset.records(root, "train").records
    features = detail(np.stack([crops.open_crop(record, align.from_points(record.alignment.points, CROP), CROP.size)[0] for record in records]))  # type: ignore[union-attr]
    wanted = np.array([[record.labels["age"], 1 if record.labels["gender"] == "male" else -1] for record in records], float)
    return ByDetail(features.T @ np.linalg.solve(features @ features.T + 300 * np.eye(len(features)), wanted))


@pytest.fixture(scope="module")
def found(drawn: tuple[Dataset, read.Root], network: ByDetail, tmp_path_factory: pytest.TempPathFactory) -> calibration.Calibrated:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "sets_at_hand", lambda asked, folder, sets, made: [drawn])
        return calibration.calibrate({"model.onnx": network}, tmp_path_factory.mktemp("data"), [])


def sized(found: calibration.Calibrated, task: Task) -> AnswerCalibration:
    said = found.calibration[task.name]
    assert isinstance(said, AnswerCalibration)
    return said


def by_eyes(found: calibration.Calibrated, task: Task) -> list[cards.Smaller]:
    parts = [part for part in found.smaller if part.task == task.name]
    assert [part.eyes for part in parts] == list(small.EYES)
    return parts


@pytest.mark.parametrize("task", [tasks.age, tasks.gender], ids=lambda task: task.name)
def test_sets_hold_the_truth_nine_times_in_ten_at_every_size(found: calibration.Calibrated, task: Task) -> None:
    assert all(part.n == 300 and part.coverage is not None and 0.86 <= part.coverage <= 0.97 for part in by_eyes(found, task))
    assert [size.fitted[0].n for size in sized(found, task).sizes] == [300] * len(small.EYES)


@pytest.mark.parametrize("task", [tasks.age, tasks.gender], ids=lambda task: task.name)
def test_a_shrunk_face_never_has_the_smaller_set_on_average(found: calibration.Calibrated, task: Task) -> None:
    sizes = [part.size for part in by_eyes(found, task)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 1.1 * sizes[-1]  # type: ignore[type-var, operator]


def test_years_are_worse_of_a_small_face_and_the_size_of_large_ones_would_be_too_bold(
    found: calibration.Calibrated, drawn: tuple[Dataset, read.Root], network: ByDetail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small, "EYES", (8,))
    errors = {part.eyes: part.value for part in found.smaller if part.metric == "MAE"}
    assert errors[8] > 1.2 * errors[32]
    seen = small.look_small(network, (tasks.age,), *drawn, tmp_path, "test")[8]
    bold = measure_smaller(tasks.age, msgspec.structs.replace(sized(found, tasks.age), sizes=()), drawn[0], seen, 8)
    assert bold is not None and bold.coverage is not None and bold.coverage < 0.8


def test_faces_as_they_are_are_measured_as_they_are_answered(found: calibration.Calibrated, drawn: tuple[Dataset, read.Root], network: ByDetail, tmp_path: Path) -> None:
    """Those of this set are 36 pixels between the eyes, so they have the size of 32 and not that of large faces."""
    said, part = sized(found, tasks.age), sized(found, tasks.age).measured[0]
    of_32 = msgspec.structs.replace(said, temperature=said.sizes[-1].temperature, level=said.sizes[-1].level, sizes=())
    seen = look(network, (tasks.age,), *drawn, tmp_path, "test")
    rows = rows_of(tasks.age, drawn[0], "test", seen)
    assert rows is not None and said.sizes[-1].temperature > said.temperature
    assert measure_answers(tasks.age, of_32, rows, "model.onnx")[0] == part
    larger = measure_answers(tasks.age, said, replace(rows, eyes=rows.eyes * 2), "model.onnx")[0]
    assert larger.size is not None and part.size is not None and larger.size < part.size


def test_what_has_nothing_to_calibrate_is_measured_by_size_too(found: calibration.Calibrated) -> None:
    assert "landmarks" not in found.calibration
    years, gender, points = found.smaller_rows()
    assert list(years) == ["task", "test", "score", "n", "8", "12", "16", "24", "32"]
    assert [row["score"] for row in (years, gender, points)] == ["MAE", "accuracy", "NME"] and years["n"] == "300"
    assert points["8"] == points["32"] and "(" not in str(points["8"])  # of this network, which sees no points, in the pixels of the photograph as it was
    first = by_eyes(found, tasks.age)[0]
    assert years["8"] == f"{first.value:.3g} ({first.coverage:.1%} in {first.size:.3g})"


def test_sizes_come_back_from_the_card_and_are_on_its_page(found: calibration.Calibrated, card: cards.Card, tmp_path: Path) -> None:
    written = cards.with_calibration(card, found.calibration, found.thresholds, found.smaller)
    cards.write_card(tmp_path / "card.json", written)
    again = cards.read_card(tmp_path / "card.json")
    assert again == written and again.smaller == found.smaller
    page = markdown(again)
    assert "## Small faces" in page and f"| age | drawn | MAE | 300 | {found.smaller_rows()[0]['8']} |" in page
    assert cards.with_calibration(again, {}, ()).smaller == found.smaller


def test_sizes_out_of_order_are_refused(found: calibration.Calibrated, card: cards.Card) -> None:
    tree = json.loads(cards.json_of_card(cards.with_calibration(card, found.calibration, ())))
    tree["calibration"]["age"]["sizes"].reverse()
    with pytest.raises(RequestError, match="here: the sizes in the calibration of 'age' are not in order"):
        cards.card_of_json(json.dumps(tree).encode(), "here")


# The choice of a size, and what is fitted


@pytest.mark.parametrize(("eyes", "expected"), [(0.5, 8), (8, 8), (11.99, 8), (12, 12), (23.9, 16), (24, 24), (32, 32), (47.9, 32), (48, 0), (400, 0), (np.inf, 0)])
def test_a_face_has_the_largest_size_that_it_reaches(eyes: float, expected: int) -> None:
    below = [*small.EYES[1:], LARGE]
    sizes = tuple(AtSize(eyes=at, below=end, temperature=40.0 - at, level=0.95 - at / 100) for at, end in zip(small.EYES, below, strict=True))
    said = AnswerCalibration(temperature=1.0, level=0.5, sizes=sizes)
    chosen = at_size(said, eyes)
    assert (chosen.temperature, chosen.level) == ((40.0 - expected, 0.95 - expected / 100) if expected else (1.0, 0.5))
    assert at_size(AnswerCalibration(temperature=2.0), eyes) == AnswerCalibration(temperature=2.0)  # a card from before there were sizes


def rows(number: int, heat: float, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (number, 7))
    truth = (softmax(logits).cumsum(1) < random.random((number, 1))).sum(1)
    records = tuple(Record(f"{at}", read.Source(read.open_root(Path(".")), "x"), {}) for at in range(number))
    return Rows("set", "validation", same_words(tasks.race.vocabulary), logits * heat, truth, records, np.full(number, 9.0))


def test_no_size_is_surer_than_a_larger_one_whatever_chance_would_have_it() -> None:
    said = fit_answers(tasks.race, [rows(2000, 2.0, 0)])
    fitted = fit_sizes(tasks.race, said, {8: [rows(2000, 3.0, 1)], 12: [rows(2000, 1.0, 2)], 24: [], 32: [rows(2000, 2.5, 3)]})
    assert [(size.eyes, size.below) for size in fitted.sizes] == [(8, 12), (12, 32), (32, LARGE)]  # no rows of 24: the smaller size serves those faces
    assert [size.temperature for size in fitted.sizes] == pytest.approx([3.0, 2.5, 2.5], rel=0.06)
    levels = [size.level for size in fitted.sizes]
    assert levels == sorted(levels, reverse=True) and levels[-1] >= said.level  # type: ignore[type-var, operator]
    assert (fitted.temperature, fitted.level, fitted.fitted) == (said.temperature, said.level, said.fitted)  # large faces are answered as ever


@given(st.lists(st.floats(-12, 12), min_size=7, max_size=7), st.floats(0.2, 5), st.floats(1, 5), st.floats(0, 1), st.floats(0, 1))
def test_hotter_and_at_a_higher_level_a_set_holds_all_that_it_held(logits: list[float], temperature: float, hotter: float, first: float, second: float) -> None:
    large = tasks.race.decode(np.array(logits), temperature, min(first, second))
    little = tasks.race.decode(np.array(logits), temperature * hotter, max(first, second) + 1e-9)
    assert little["set"][: len(large["set"])] == large["set"]
    assert max(little["probabilities"].values()) <= max(large["probabilities"].values())
