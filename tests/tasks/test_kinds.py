"""What every kind of question promises about its labels, its outputs and its answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyface import tasks
from polyface.errors import InputError, RequestError
from polyface.images import geometry
from polyface.labels import People, PointMap, Ranges, TraitNames, same_words, words
from polyface.tasks import Angles, Category, Embedding, Points, Regions, Scale, Task, Traits
from polyface.tasks.kinds import Row, median

SIZE = 32
FIVE = PointMap(geometry.five_of_68())
ALL = PointMap(np.eye(68))
RANDOM = np.random.default_rng(0)
FACE = RANDOM.uniform(4, 28, (68, 2))
UTK_RACE = words(tasks.race.vocabulary, {"White": "White", "Asian": ("East Asian", "Southeast Asian")})
FASSEG = words(tasks.parsing.vocabulary, {"background": "background", "hair or brow": ("hair", "l_brow", "r_brow"), "left": ("l_eye", "l_ear")})

LABELS: list[tuple[Task, object, object]] = [
    (tasks.identity, People(), 3),
    (tasks.age, Ranges(), 31),
    (tasks.age, Ranges(sigma=2.0), 31.5),
    (tasks.age, Ranges({"20-29": (20, 29)}), "20-29"),
    (tasks.gender, same_words(tasks.gender.vocabulary), "female"),
    (tasks.race, UTK_RACE, "Asian"),
    (tasks.expression, same_words(tasks.expression.vocabulary), {"happy": 6, "contempt": 2, "sad": 0}),
    (tasks.attributes, TraitNames({"smile": "Smiling", "glasses": "Eyeglasses"}), {"smile": True}),
    (tasks.landmarks, ALL, FACE),
    (tasks.landmarks, FIVE, np.where(np.arange(5)[:, None] == 2, np.nan, FIVE.weights @ FACE)),
    (tasks.parsing, FASSEG, RANDOM.integers(0, 3, (SIZE, SIZE), dtype=np.uint8)),
    (tasks.pose, Ranges(sigma=4.0), {"yaw": 20.0, "pitch": -3.0, "roll": 7.0}),
    (tasks.pose, Ranges({"left": (-45, -15)}), {"yaw": "left"}),
]
NAMES = [f"{task.name}-{index}" for index, (task, _, _) in enumerate(LABELS)]


def same(first: Row, second: Row) -> bool:
    return first.keys() == second.keys() and all(first[name].dtype == second[name].dtype and np.array_equal(first[name], second[name]) for name in first)


def close(first: Row, second: Row) -> bool:
    """Equal up to the rounding of size - (size - x)."""
    return first.keys() == second.keys() and all(np.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_every_task_has_a_label_here() -> None:
    assert {task.name for task, _, _ in LABELS} == {task.name for task in tasks.TASKS}
    assert {type(task) for task, _, _ in LABELS} == {Category, Scale, Traits, Points, Regions, Angles, Embedding}


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_an_unknown_row_says_nothing_in_any_company(task: Task) -> None:
    others = [task.encode(meaning, label) for other, meaning, label in LABELS if other is task]
    rows = task.stack([task.unknown(SIZE), *others, task.unknown(SIZE)])
    assert task.labelled(rows).tolist() == [False, *[True] * len(others), False]


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_an_unknown_row_stays_unknown_in_a_crop_and_in_a_mirror(task: Task) -> None:
    row = task.mirror(task.to_crop(task.unknown(SIZE), geometry.about((16, 16), 1.3, 20, (3, 4)), SIZE), SIZE)
    assert not task.labelled(task.stack([row])).any()


@pytest.mark.parametrize(("task", "meaning", "label"), LABELS, ids=NAMES)
def test_rows_have_the_arrays_of_the_unknown_row(task: Task, meaning: object, label: object) -> None:
    row, unknown = task.encode(meaning, label), task.unknown(SIZE)
    assert row.keys() == unknown.keys()
    for name in row:
        assert row[name].dtype == unknown[name].dtype and row[name].ndim == unknown[name].ndim, name


@pytest.mark.parametrize(("task", "meaning", "label"), LABELS, ids=NAMES)
def test_a_row_mirrored_twice_is_the_row(task: Task, meaning: object, label: object) -> None:
    row = task.encode(meaning, label)
    assert close(task.mirror(task.mirror(row, SIZE), SIZE), row)
    assert same(task.encode(meaning, label), row)  # and nothing was changed in place


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_an_output_mirrored_twice_is_the_output(task: Task) -> None:
    output = np.random.default_rng(1).normal(size=(2, *task.shape(SIZE))).astype(np.float32)
    before = output.copy()
    once = task.mirror_output(output, SIZE)
    assert once.shape == output.shape and np.allclose(task.mirror_output(once, SIZE), output, atol=1e-5) and np.array_equal(output, before)


def test_stacked_rows_are_padded_with_what_says_nothing() -> None:
    votes = tasks.expression.stack([tasks.expression.encode(same_words(tasks.expression.vocabulary), label) for label in ("happy", {"happy": 3, "sad": 1})])
    assert votes["share"].tolist() == [[1, 0], [0.75, 0.25]] and votes["sets"].shape == (2, 2, 8)
    assert votes["sets"][0, 1].all() and np.allclose(votes["share"].sum(1), 1)
    masks = tasks.parsing.stack([tasks.parsing.encode(FASSEG, np.zeros((SIZE, SIZE), np.uint8)), tasks.parsing.unknown(SIZE)])
    assert masks["table"].shape == (2, 3, 19) and not masks["table"][1, 1:].any()
    assert (masks["table"].any(1) == [FASSEG.scope, np.ones(19, bool)]).all()  # padding adds nothing to U


def test_people_who_voted_have_shares_and_a_word_is_one_share() -> None:
    row = tasks.expression.encode(same_words(tasks.expression.vocabulary), {"happy": 6, "contempt": 2})
    assert row["share"].tolist() == [0.75, 0.25] and row["sets"].sum(1).tolist() == [1, 1]
    assert tasks.gender.encode(same_words(tasks.gender.vocabulary), "male")["share"].tolist() == [1]


GENDERS = same_words(tasks.gender.vocabulary)


@pytest.mark.parametrize(
    ("task", "meaning", "label"),
    [
        (tasks.gender, GENDERS, "mail"), (tasks.gender, GENDERS, {}), (tasks.gender, GENDERS, {"male": 0}), (tasks.gender, GENDERS, {"male": -1, "female": 2}),
        (tasks.gender, GENDERS, {"male": float("nan")}), (tasks.gender, GENDERS, {"male": "many"}), (tasks.gender, GENDERS, {"male": None}),
        (tasks.gender, GENDERS, ["male"]), (tasks.gender, GENDERS, 0), (tasks.gender, GENDERS, {"boy": 1}),
        (tasks.age, Ranges(), 240), (tasks.age, Ranges(), -1), (tasks.age, Ranges(), "03-Sep"), (tasks.age, Ranges(), (1, 2, 3)), (tasks.age, Ranges(), (30, 20)),
        (tasks.age, Ranges(), (100, 120)), (tasks.age, Ranges(), float("nan")),
        (tasks.attributes, TraitNames({"smile": "Smiling"}), {"smiles": True}), (tasks.attributes, TraitNames({"smile": "Smiling"}), "smile"),
        (tasks.attributes, TraitNames({"smile": "Smiling"}), {"smile": -1}), (tasks.attributes, TraitNames({"smile": "Smiling"}), {"smile": "0"}),
        (tasks.pose, Ranges(), {"yaw": 5000}),
        (tasks.landmarks, FIVE, np.zeros((4, 2))), (tasks.landmarks, ALL, np.zeros((68, 3))), (tasks.landmarks, FIVE, []),
        (tasks.parsing, FASSEG, np.full((4, 4), 3, np.uint8)), (tasks.parsing, FASSEG, np.zeros((4, 4), np.int64)),
        (tasks.parsing, FASSEG, np.zeros((4, 4, 3), np.uint8)),
        (tasks.pose, Ranges(), {"jaw": 3}), (tasks.pose, Ranges(), 3), (tasks.pose, Ranges(), {"yaw": "left"}), (tasks.pose, Ranges(), {"yaw": (1, 2, 3)}),
    ],
)  # fmt: skip
def test_a_bad_label_is_refused_in_one_line(task: Task, meaning: object, label: object) -> None:
    with pytest.raises(InputError) as caught:
        task.encode(meaning, label)
    assert len(str(caught.value)) > 0 and len(str(caught.value).splitlines()) == 1


def test_refusals_name_the_nearest_known_word() -> None:
    with pytest.raises(InputError, match="did you mean 'male'"):
        tasks.gender.encode(GENDERS, "mail")
    with pytest.raises(InputError, match="did you mean 'smile'"):
        tasks.attributes.encode(TraitNames({"smile": "Smiling"}), {"smiles": True})
    with pytest.raises(RequestError, match="no task 'ages'; did you mean 'age'"):
        tasks.named("ages")


# Ranges


def test_ages_are_numbers_ranges_or_words_and_shares_only_about_numbers() -> None:
    row = tasks.age.encode(Ranges({"60+": (60, 116)}, sigma=2.0), "60+")
    assert [float(row[name]) for name in ("lo", "hi", "sigma")] == [60, 116, 0]
    row = tasks.age.encode(Ranges(sigma=2.0), 30)
    assert [float(row[name]) for name in ("lo", "hi", "sigma")] == [30, 30, 2]
    assert not tasks.age.labelled(tasks.age.stack([tasks.age.encode(Ranges(), (0, 116))])).any()  # "some age" says nothing


def test_angles_beyond_the_limit_are_at_the_limit_and_unnamed_axes_unknown() -> None:
    row = tasks.pose.encode(Ranges(), {"yaw": 150, "roll": (-120, 20)})
    assert row["lo"].tolist() == [99, -99, -99] and row["hi"].tolist() == [99, 99, 20]


def test_a_range_wholly_beyond_the_limit_is_refused() -> None:
    for value in ((100, 120), (-130, -99)):
        with pytest.raises(InputError, match=r"roll: \(-?\d+, -?\d+\) lies beyond 99 degrees"):
            tasks.pose.encode(Ranges(), {"roll": value})


def test_a_warp_turns_roll_by_as_much_and_nothing_else() -> None:
    row = tasks.pose.encode(Ranges(sigma=4.0), {"yaw": 20, "pitch": -5, "roll": 7})
    turned = tasks.pose.to_crop(row, geometry.about((9, 9), 2.0, degrees=-12), SIZE)
    assert np.allclose(turned["lo"], [20, -5, -5], atol=1e-4) and np.allclose(turned["hi"], turned["lo"]) and (turned["sigma"] == 4).all()
    unknown = tasks.pose.to_crop(tasks.pose.encode(Ranges(), {"yaw": 20}), geometry.about((9, 9), degrees=30), SIZE)
    assert unknown["lo"][2] == -99 and unknown["hi"][2] == 99


@pytest.mark.parametrize(
    ("roll", "rotation", "wanted"), [(120, -115, (5, 5)), (-179, -178, (3, 3)), (120, 0, (99, 99)), ((-99, 20), 30, (-99, 50)), ((-20, 99), 30, (10, 99))]
)
def test_a_head_that_lies_on_its_side_is_upright_in_its_crop_and_an_open_range_stays_open(roll: object, rotation: float, wanted: tuple[float, float]) -> None:
    turned = tasks.pose.to_crop(tasks.pose.encode(Ranges(), {"roll": roll}), geometry.about((9, 9), degrees=rotation), SIZE)
    assert np.allclose([turned["lo"][2], turned["hi"][2]], wanted, atol=1e-4)


# Mirrors


def as_set(row: Row) -> list[tuple[float, ...]]:
    """Labelled points of a row, whatever their order: where each is, and of which of our points it is the mean."""
    return sorted((*np.round(xy, 3).tolist(), *np.round(mean, 3).tolist()) for xy, mean, seen in zip(row["xy"], row["map"], row["seen"], strict=True) if seen)


@pytest.mark.parametrize(("meaning", "order"), [(ALL, geometry.MIRRORED_68), (FIVE, [1, 0, 2, 4, 3])])
def test_mirrored_points_are_the_points_of_the_mirrored_picture(meaning: PointMap, order: list[int]) -> None:
    points = meaning.weights @ FACE
    of_mirrored_picture = (points * [-1, 1] + [SIZE, 0])[order]
    assert as_set(tasks.landmarks.mirror(tasks.landmarks.encode(meaning, points), SIZE)) == as_set(tasks.landmarks.encode(meaning, of_mirrored_picture))


def test_mirrored_regions_are_the_regions_of_the_mirrored_picture() -> None:
    meaning = same_words(tasks.parsing.vocabulary)
    mask = RANDOM.integers(0, 19, (SIZE, SIZE), dtype=np.uint8)
    swap = {"l_eye": "r_eye", "l_brow": "r_brow", "l_ear": "r_ear"}
    swap |= {right: left for left, right in swap.items()}
    names = tasks.parsing.vocabulary
    of_mirrored_picture = np.array([names.index(swap.get(name, name)) for name in names], np.uint8)[mask][:, ::-1]

    def possible(row: Row) -> np.ndarray:
        return row["table"][row["words"]]

    assert np.array_equal(possible(tasks.parsing.mirror(tasks.parsing.encode(meaning, mask), SIZE)), possible(tasks.parsing.encode(meaning, of_mirrored_picture)))


def test_mirrored_angles_have_the_other_yaw_and_roll() -> None:
    row = tasks.pose.encode(Ranges({"left": (-45, -15)}), {"yaw": "left", "pitch": 10, "roll": -8})
    assert same(tasks.pose.mirror(row, SIZE), tasks.pose.encode(Ranges(), {"yaw": (15, 45), "pitch": 10, "roll": 8}))


def test_mirrored_outputs_answer_the_mirrored_picture() -> None:
    output = np.zeros((1, 68, 3), np.float32)
    output[0, :, :2], output[0, :, 2] = FACE, np.arange(68)
    mirrored = tasks.landmarks.mirror_output(output, SIZE)[0]
    assert np.allclose(mirrored[:, :2], (FACE * [-1, 1] + [SIZE, 0])[geometry.MIRRORED_68], atol=1e-5)
    assert np.array_equal(mirrored[:, 2], geometry.MIRRORED_68)  # a spread goes with its point
    regions = np.zeros((1, 19, 4, 4), np.float32)
    regions[0, tasks.parsing.vocabulary.index("l_eye"), 1, 0] = 1
    assert tasks.parsing.mirror_output(regions, 8)[0, tasks.parsing.vocabulary.index("r_eye"), 1, 3] == 1
    angles = np.zeros((1, 3, tasks.pose.bins), np.float32)
    angles[0, :, 40] = 50
    assert np.allclose(tasks.pose.decode(tasks.pose.mirror_output(angles, SIZE)[0]), tasks.pose.decode(angles[0]) * [-1, 1, -1])


# Into the crop and back


MATRICES = st.builds(
    lambda scale, degrees, x, y: geometry.about((16, 16), scale, degrees, (x, y)), st.floats(0.7, 1.4), st.floats(-40, 40), st.floats(-3, 3), st.floats(-3, 3)
)


@settings(max_examples=30)
@given(MATRICES)
def test_points_go_into_the_crop_and_come_back(matrix: np.ndarray) -> None:
    row = tasks.landmarks.to_crop(tasks.landmarks.encode(ALL, FACE), matrix, SIZE)
    expected = geometry.apply(matrix, FACE)
    assert np.allclose(row["xy"], expected, atol=1e-4)
    assert np.array_equal(row["seen"], ((expected >= 0) & (expected <= SIZE)).all(1))
    answer = tasks.landmarks.decode(np.concatenate([row["xy"], np.ones((68, 1))], 1))
    assert np.allclose(geometry.apply(geometry.invert(matrix), answer), FACE, atol=1e-4)


@settings(max_examples=30)
@given(MATRICES, st.integers(10, 20), st.integers(10, 20))
def test_a_patch_of_a_mask_lands_where_its_points_land_and_outside_is_unlabelled(matrix: np.ndarray, x: int, y: int) -> None:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[y : y + 3, x : x + 3] = 2
    row = tasks.parsing.to_crop(tasks.parsing.encode(FASSEG, mask), geometry.compose(np.array([[1.0, 0, 16], [0, 1, 16]]), matrix), 64)
    at = np.floor(geometry.apply(matrix, np.array([x + 1.5, y + 1.5])) + 16).astype(int)
    assert row["words"].shape == (64, 64) and row["words"][at[1], at[0]] == 2 and row["words"][0, 0] == 255


@settings(max_examples=30)
@given(st.tuples(*[st.floats(-50, 50)] * 3), st.floats(-40, 40))
def test_angles_go_into_the_crop_and_come_back(angles: tuple[float, float, float], degrees: float) -> None:
    row = tasks.pose.to_crop(tasks.pose.encode(Ranges(), dict(zip(tasks.pose.axes, angles, strict=True))), geometry.about((5, 5), 2, degrees), SIZE)
    logits = -0.5 * ((tasks.pose.centres - row["lo"][:, None]) / 4) ** 2
    answer = tasks.pose.decode(logits) - [0, 0, degrees]
    assert np.allclose(answer, angles, atol=0.2)


def test_regions_are_decoded_where_they_are() -> None:
    output = np.zeros((19, 16, 16), np.float32)
    output[0] = 1
    output[13, 4:8, 10:12] = 9
    answer = tasks.parsing.decode(output)
    assert answer.shape == (32, 32) and answer.dtype == np.uint8
    y, x = np.nonzero(answer == 13)
    assert (y.mean() + 0.5, x.mean() + 0.5) == pytest.approx((12, 22))


@pytest.mark.parametrize("years", [0, 1, 30, 116])
def test_a_sure_age_is_that_age(years: int) -> None:
    logits = np.where(np.arange(117) == years, 50.0, 0.0)
    assert tasks.age.decode(logits) == {"years": pytest.approx(years, abs=0.05)}


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=30))
def test_half_of_the_mass_lies_below_the_median(raw: list[float]) -> None:
    shares = np.array(raw) / np.sum(raw)
    middle = float(median(shares[None])[0])
    below = np.clip(middle + 0.5 - np.arange(len(shares)), 0, 1) @ shares
    assert below == pytest.approx(0.5, abs=1e-6)


def test_answers_in_words_have_the_probabilities_of_all() -> None:
    answer = tasks.gender.decode(np.array([0.0, np.log(3)]))
    assert answer == {"answer": "female", "probabilities": {"male": 0.25, "female": 0.75}}
    traits = tasks.attributes.decode(np.full(40, -100.0))
    assert list(traits) == list(tasks.attributes.vocabulary) and set(traits.values()) == {0.0}
