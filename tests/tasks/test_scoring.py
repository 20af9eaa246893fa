"""Scores of answers: perfect ones are perfect, constant ones score what is printed beside every score, and words count, not our finer vocabulary."""

import dataclasses

import numpy as np
import pytest

from polyface import tasks
from polyface.errors import InputError, RequestError
from polyface.images import align, geometry
from polyface.labels import People, PointMap, Ranges, TraitNames, same_words, words
from polyface.tasks import scoring
from polyface.tasks.scoring import Score

ALONE = np.arange(1000)
ONE_PERSON = np.zeros(1000, int)  # of whom no interval is known, which saves its time
AT = geometry.about((64, 60), scale=0.5, degrees=20, shift=(7, -3))  # some way from picture to crop
UTK = words(
    tasks.race.vocabulary,
    {"White": "White", "Black": "Black", "Asian": ("East Asian", "Southeast Asian"), "Indian": "Indian", "Others": ("Latino_Hispanic", "Middle Eastern")},
)
SEVEN = words(tasks.expression.vocabulary, {word: word for word in tasks.expression.vocabulary if word != "contempt"})
GROUPS = Ranges({"child": (0, 12), "grown": (13, 59), "old": (60, 116)})
YAWS = Ranges({"frontal": (-15, 15), "left": (-120, -15), "right": (15, 120)})  # in no order, and beyond the limit of 99


def sure(size: int, at: int) -> np.ndarray:
    return np.where(np.arange(size) == at, 20.0, 0.0).astype(np.float32)


def logs(*shares: float) -> np.ndarray:
    return np.log(np.array(shares, np.float32) + 1e-9)


def by_metric(scores: list[Score]) -> dict[str, Score]:
    return {score.metric: score for score in scores}


# Classes


def test_right_words_score_one_and_the_constant_answer_scores_what_is_printed_beside() -> None:
    truth = np.array([0, 2, 2, 2, 4, 1, 2, 3, 0, 2])
    answers = {0: 0, 1: 1, 2: 4, 3: 5, 4: 6}  # a class of ours inside each word
    perfect = by_metric(scoring.category_scores(tasks.race, UTK, np.stack([sure(7, answers[word]) for word in truth]), truth, ALONE[:10]))
    assert [score.value for score in perfect.values()] == [1.0, 1.0, 1.0]
    constants = [by_metric(scoring.category_scores(tasks.race, UTK, np.tile(sure(7, answers[word]), (10, 1)), truth, ONE_PERSON[:10])) for word in range(5)]
    for metric in ("accuracy", "balanced accuracy", "macro-F1"):
        assert max(each[metric].value for each in constants) == pytest.approx(perfect[metric].constant)
    assert perfect["accuracy"].constant == 0.5
    assert perfect["accuracy"].chance == 0.2
    assert perfect["balanced accuracy"].parts["Asian"] == scoring.Part(1.0, 5)


def test_a_coarse_word_gathers_the_probability_of_all_it_leaves_possible() -> None:
    shares = logs(0.4, 0, 0, 0.3, 0.3, 0, 0)  # White 0.4; East Asian and Southeast Asian 0.3 each
    assert scoring.category_scores(tasks.race, UTK, shares[None], np.array([2]), ALONE[:1])[0].value == 1
    assert scoring.category_scores(tasks.race, same_words(tasks.race.vocabulary), shares[None], np.array([3]), ALONE[:1])[0].value == 0


def test_a_word_that_holds_others_is_no_answer_beside_them() -> None:
    said = words(tasks.gender.vocabulary, {"girl or boy": tasks.gender.vocabulary, **{answer: answer for answer in tasks.gender.vocabulary}})
    assert said.finest.tolist() == [False, True, True]
    accuracy = scoring.category_scores(tasks.gender, said, np.array([[3.0, 0], [3, 0], [0, 3], [0, 3]]), np.array([1, 2, 2, 0]), ALONE[:4])[0]
    assert (accuracy.value, accuracy.n, accuracy.chance, accuracy.note) == (2 / 3, 3, 0.5, "1 rows whose word holds another are left out")
    same = words(tasks.race.vocabulary, {"a": ("White", "Black"), "b": ("Black", "White"), "c": ("Black", "Indian")})
    assert same.finest.all()  # words for the same, and words that overlap, hold no other


def test_an_answer_that_the_set_has_no_word_for_is_not_held_against_the_network() -> None:
    shares = logs(0.1, 0, 0.2, 0, 0, 0, 0, 0.7)  # contempt, then sad
    accuracy = scoring.category_scores(tasks.expression, SEVEN, shares[None], np.array([SEVEN.names.index("sad")]), ALONE[:1])[0]
    assert (accuracy.value, accuracy.chance) == (1.0, 1 / 7)


def test_votes_count_by_their_majority_and_a_tie_is_no_label() -> None:
    def truth(votes: object) -> int:
        return int(scoring.truth_of(tasks.expression, SEVEN, votes, (1, 1)))

    assert truth({"happy": 3, "sad": 7}) == SEVEN.names.index("sad") == truth("sad")
    assert truth({"happy": 5, "sad": 5}) == -1
    scores = scoring.category_scores(tasks.expression, SEVEN, np.zeros((2, 8)), np.array([-1, 0]), ALONE[:2])
    assert {score.n for score in scores} == {1}


def test_rows_of_one_person_are_drawn_together() -> None:
    truth, logits = np.array([0, 1] * 20), np.tile(sure(2, 0), (40, 1))
    alone = scoring.category_scores(tasks.gender, same_words(tasks.gender.vocabulary), logits, truth, ALONE[:40])[0]
    halves = scoring.category_scores(tasks.gender, same_words(tasks.gender.vocabulary), logits, truth, truth)[0]
    assert halves.high - halves.low > 2 * (alone.high - alone.low) > 0
    one = scoring.category_scores(tasks.gender, same_words(tasks.gender.vocabulary), logits, truth, np.zeros(40, int))[0]
    assert np.isnan(one.low)


# Numbers


def test_right_ages_score_no_error_and_the_constants_are_the_best_there_are() -> None:
    years = np.array([3, 20, 22, 24, 31, 38, 80, 116])
    truth = np.stack([years, years], -1).astype(float)
    perfect = by_metric(scoring.scale_scores(tasks.age, Ranges(), np.stack([sure(117, year) for year in years]), truth, ALONE[:8]))
    assert perfect["MAE"].value == pytest.approx(0, abs=1e-6)
    assert perfect["CS(5)"].value == 1
    constants = [by_metric(scoring.scale_scores(tasks.age, Ranges(), np.tile(sure(117, year), (8, 1)), truth, ONE_PERSON[:8])) for year in range(117)]
    assert min(each["MAE"].value for each in constants) == pytest.approx(perfect["MAE"].constant)
    assert max(each["CS(5)"].value for each in constants) == perfect["CS(5)"].constant == 3 / 8
    assert perfect["MAE"].chance == pytest.approx(np.mean([each["MAE"].value for each in constants]))


def test_groups_of_years_are_scored_by_the_mass_in_each() -> None:
    wide = np.full(117, -20.0)
    wide[[5, 20, 40]] = np.log([0.4, 0.3, 0.3])  # the likeliest year is a child's, the likeliest group is not
    truth = np.array([[13, 59], [0, 12], [30, 40], [20, 20]], float)  # two words, a range that is none, a number
    scores = by_metric(scoring.scale_scores(tasks.age, GROUPS, np.tile(wide, (4, 1)), truth, ALONE[:4]))
    assert (scores["group accuracy"].value, scores["group accuracy"].n, scores["group accuracy"].constant) == (0.5, 2, 0.5)
    assert scores["MAE"].n == 1


# Traits


def test_traits_are_scored_on_those_that_the_set_names() -> None:
    smiling, glasses = tasks.attributes.vocabulary.index("Smiling"), tasks.attributes.vocabulary.index("Eyeglasses")
    truth = np.full((6, 40), -1, np.int8)
    truth[:, smiling] = [1, 1, 1, 1, 0, 0]
    truth[:, glasses] = [1, 0, 0, 0, 0, -1]
    right = by_metric(scoring.trait_scores(tasks.attributes, np.where(truth == 1, 9.0, -9.0), truth, ALONE[:6]))
    assert (right["mean accuracy"].value, right["mean balanced accuracy"].value) == (1, 1)
    assert right["mean accuracy"].parts == {"Eyeglasses": scoring.Part(1.0, 1), "Smiling": scoring.Part(1.0, 4)}
    constant = np.full((6, 40), -9.0)
    constant[:, smiling] = 9
    blind = by_metric(scoring.trait_scores(tasks.attributes, constant, truth, ALONE[:6]))
    for metric, expected in (("mean accuracy", (4 / 6 + 4 / 5) / 2), ("mean balanced accuracy", 0.5)):
        assert blind[metric].value == pytest.approx(expected) == pytest.approx(right[metric].constant)


# Points


def faces(count: int) -> tuple[np.ndarray, np.ndarray]:
    """68 points [N, 68, 2] in pictures, and the matrices to crops."""
    random = np.random.default_rng(0)
    matrices = np.stack([geometry.about((0, 0), *random.uniform((0.3, -30), (0.6, 30)), tuple(random.uniform(0, 30, 2))) for _ in range(count)])
    crop = random.uniform(20, 110, (68, 2)) + random.normal(0, 3, (count, 68, 2))
    return np.stack([geometry.apply(geometry.invert(matrix), points) for matrix, points in zip(matrices, crop, strict=True)]), matrices


def in_crop(points: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    return np.stack([geometry.apply(matrix, each) for matrix, each in zip(matrices, points, strict=True)])


ALL_68, FIVE = PointMap(np.eye(68)), PointMap(geometry.five_of_68())


@pytest.mark.parametrize("meaning", [ALL_68, FIVE], ids=["68 points", "five of 68"])
def test_right_points_have_no_error_and_the_mean_face_has_what_is_printed_beside(meaning: PointMap) -> None:
    points, matrices = faces(9)
    truth = np.stack([meaning.weights @ each for each in points])
    right = by_metric(scoring.point_scores(tasks.landmarks, meaning, in_crop(points, matrices), truth, matrices, ALONE[:9]))
    mean = np.tile(in_crop(points, matrices).mean(0), (9, 1, 1))
    blind = by_metric(scoring.point_scores(tasks.landmarks, meaning, mean, truth, matrices, ALONE[:9]))
    alpha = "8%" if meaning is ALL_68 else "10%"
    assert list(right) == ["NME", "median NME", f"FR@{alpha}", f"AUC@{alpha}"]
    assert [score.value for score in right.values()] == pytest.approx([0, 0, 0, 1], abs=1e-9)
    assert [score.value for score in blind.values()] == pytest.approx([score.constant for score in right.values()])
    assert blind["NME"].value > 0.01


def test_five_points_without_eyes_are_scored_over_their_box() -> None:
    points, matrices = faces(2)
    meaning = PointMap(np.eye(68)[[8, 30, 33, 51, 57]])
    scores = scoring.point_scores(tasks.landmarks, meaning, in_crop(points, matrices), np.stack([meaning.weights @ each for each in points]), matrices, ALONE[:2])
    assert "5 points over the side of the points' box" in scores[0].note


@pytest.mark.parametrize(
    ("first", "over"), [({"left": range(36, 42), "right": range(42, 48)}, "distance of the eyes"), ({"bridge": (27,), "chin": (8,)}, "side of the points' box")]
)
def test_derived_points_are_scored_over_the_distance_of_the_eyes_where_eyes_are_among_them(first: dict, over: str) -> None:
    made = {**first, "nose": (30,), "lip": (51,), "lower": (57,)}
    task = tasks.derive(tasks.landmarks, "some", made)
    meaning, tell = tasks.retell(task, tasks.landmarks, made, ALL_68)
    points, matrices = faces(2)
    truth = np.stack([np.asarray(tell(each)) for each in points])
    scores = scoring.point_scores(task, meaning, in_crop(truth, matrices), truth, matrices, ALONE[:2])  # type: ignore[arg-type]
    assert f"5 points over the {over}" in scores[0].note and scores[0].value == pytest.approx(0, abs=1e-9)


def test_an_error_is_a_share_of_the_eye_distance_in_the_picture() -> None:
    points, matrices = faces(1)
    size = np.linalg.norm(points[0, 36] - points[0, 45])
    moved = points + np.array([0.05 * size, 0])
    scores = by_metric(scoring.point_scores(tasks.landmarks, ALL_68, in_crop(moved, matrices), points, matrices, ALONE[:1]))
    assert scores["NME"].value == pytest.approx(0.05)
    assert scores["AUC@8%"].value == pytest.approx(1 - 0.05 / 0.08)


def test_a_face_that_was_not_found_fails_and_is_no_part_of_the_error_of_found_ones() -> None:
    points, matrices = faces(3)
    scores = by_metric(scoring.point_scores(tasks.landmarks, ALL_68, in_crop(points, matrices), points, matrices, ALONE[:4]))
    assert (scores["NME"].n, scores["NME"].value) == (3, pytest.approx(0, abs=1e-9))
    assert (scores["FR@8%"].n, scores["FR@8%"].value, scores["AUC@8%"].value) == (4, 0.25, pytest.approx(0.75))
    assert scores["NME, a miss as 100%"].value == pytest.approx(0.25)
    assert "1 of 4 faces not found" in scores["NME"].note


def test_points_without_a_label_are_left_out_and_faces_without_a_size_are_counted() -> None:
    points, matrices = faces(3)
    truth = points.copy()
    truth[0, 5] = np.nan
    truth[1, 36] = np.nan
    answers = in_crop(points, matrices)
    answers[0, 5] += 1000
    scores = by_metric(scoring.point_scores(tasks.landmarks, ALL_68, answers, truth, matrices, ALONE[:3]))
    assert scores["NME"].value == pytest.approx(0, abs=1e-9)
    assert scores["NME"].n == 2
    assert "1 faces without a size left out" in scores["NME"].note


# Regions

SIDE = 200
PART = words(tasks.parsing.vocabulary, {"rest": [name for name in tasks.parsing.vocabulary if name not in ("hair", "l_brow", "r_brow", "skin")],
                                        "hair or brow": ["hair", "l_brow", "r_brow"], "skin": "skin"})  # fmt: skip
PARSING = same_words(tasks.parsing.vocabulary)


def mask(seed: int = 0, classes: int = 19) -> np.ndarray:
    """Squares of 25 pixels of random classes, background at the edge."""
    squares = np.random.default_rng(seed).integers(0, classes, (8, 8)).astype(np.uint8)
    squares[0] = squares[-1] = squares[:, 0] = squares[:, -1] = 0
    return squares.repeat(25, 0).repeat(25, 1)


def grid(truth: np.ndarray, matrix: np.ndarray, classes: int = 19) -> np.ndarray:
    """What a network that sees right puts out: shares of the classes in each of 64 x 64 cells of the crop."""
    crop = geometry.warp(truth, matrix, (128, 128), border=255, nearest=True)
    return np.eye(256, dtype=np.float32)[crop][..., :classes].reshape(64, 2, 64, 2, classes).mean((1, 3)).transpose(2, 0, 1)


def region_scores(meaning, output: np.ndarray, truths: list[np.ndarray], matrix: np.ndarray) -> dict[str, Score]:
    rows = [scoring.row_of(tasks.parsing, meaning, output if output.ndim == 3 else output[at], truth, matrix) for at, truth in enumerate(truths)]
    return by_metric(scoring.scores_of(tasks.parsing, meaning, rows, ["one person"] * len(rows)))


@pytest.mark.parametrize("matrix", [geometry.about((100, 100), 0.6, shift=(-36, -36)), geometry.about((100, 100), 1.1, 20, (-36, -36))], ids=["whole", "a part"])
def test_regions_seen_right_score_what_the_oracle_does_and_a_filled_crop_what_the_constant_does(matrix: np.ndarray) -> None:
    truths = [mask(0), mask(1)]
    right = region_scores(PARSING, np.stack([grid(truth, matrix) for truth in truths]) * 30, truths, matrix)
    assert right["F1 of 18 classes"].value == right["F1 of 18 classes, oracle"].value > 0.5
    filled = [region_scores(PARSING, np.eye(19, dtype=np.float32)[word][:, None, None] * np.ones((64, 64), np.float32), truths, matrix) for word in range(19)]
    assert max(each["F1 of 18 classes"].value for each in filled) == pytest.approx(right["F1 of 18 classes"].constant)
    assert right["F1 of 18 classes"].n == 2


def test_a_crop_that_holds_the_whole_picture_in_its_own_pixels_loses_nothing() -> None:
    matrix = geometry.about((0, 0), 2 / 3, shift=(-2, -2))  # 25 pixels become 16 2/3
    even = np.random.default_rng(2).integers(0, 19, (8, 8)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    for truth, at, least in ((even, np.eye(2, 3), 1.0), (mask(), matrix, 0.9)):
        assert region_scores(PARSING, grid(truth, at) * 30, [truth], at)["F1 of 18 classes, oracle"].value >= least


def test_what_lies_outside_the_crop_is_background() -> None:
    truth = np.ones((SIDE, SIDE), np.uint8)  # skin everywhere
    matrix = geometry.about((0, 0), 1.0)  # the crop is the first 128 x 128 pixels
    skin = region_scores(PARSING, grid(truth, matrix) * 30, [truth], matrix)["F1 of 18 classes"].parts["skin"]
    assert skin == scoring.Part(pytest.approx(2 * 128**2 / (128**2 + 200**2)), 200**2)


def test_background_need_not_be_the_first_word_of_a_set() -> None:
    backwards = words(tasks.parsing.vocabulary, {name: name for name in reversed(tasks.parsing.vocabulary)})
    truth, matrix = mask(), geometry.about((0, 0), 1.0)
    turned = region_scores(backwards, grid(truth, matrix) * 30, [18 - truth], matrix)
    plain = region_scores(PARSING, grid(truth, matrix) * 30, [truth], matrix)
    for metric, score in plain.items():
        assert turned[metric].value == pytest.approx(score.value)
        assert turned[metric].constant == pytest.approx(score.constant)


def test_pixels_that_nobody_labelled_are_not_scored() -> None:
    truth = mask()
    half = truth.copy()
    half[:, :100] = 255
    matrix = geometry.about((100, 100), 0.6, shift=(-36, -36))
    wrong_there = grid(truth, matrix) * 30
    wrong_there[:, :, :31] = 0
    scores = region_scores(PARSING, wrong_there, [half], matrix)
    assert scores["F1 of 18 classes"].value == pytest.approx(scores["F1 of 18 classes, oracle"].value, abs=0.03)
    assert sum(part.positives for part in scores["F1 of 18 classes"].parts.values()) == 200 * 100


def test_regions_in_coarse_words_gather_their_classes() -> None:
    truth = np.full((128, 128), 1, np.uint8)  # hair or brow
    output = np.full((19, 64, 64), -20, np.float32)
    names = tasks.parsing.vocabulary
    for name, share in (("skin", 0.4), ("hair", 0.3), ("l_brow", 0.3)):
        output[names.index(name)] = np.log(share)
    assert region_scores(PART, output, [truth], np.eye(2, 3))["F1 of 2 classes"].parts["hair or brow"].value == 1


def test_masks_without_a_word_for_background_are_refused() -> None:
    only_skin = words(tasks.parsing.vocabulary, {"skin": "skin"})
    with pytest.raises(RequestError, match="no word for background"):
        scoring.row_of(tasks.parsing, only_skin, np.zeros((19, 64, 64), np.float32), np.zeros((9, 9), np.uint8), np.eye(2, 3))


def test_a_mask_of_another_size_than_its_picture_is_refused() -> None:
    with pytest.raises(InputError, match="a mask of 200 x 200 for a picture of 100 x 200"):
        scoring.truth_of(tasks.parsing, PARSING, mask(), (200, 100))


# Angles


def bins(*angles: float) -> np.ndarray:
    """Logits [3, 66] sure of the bins nearest to these angles."""
    return np.stack([sure(66, int(np.abs(tasks.pose.centres - angle).argmin())) for angle in angles])


def angle_scores(meaning: Ranges, labels: list[dict], outputs: list[np.ndarray], matrix: np.ndarray) -> dict[str, Score]:
    truths = [scoring.truth_of(tasks.pose, meaning, label, (1, 1)) for label in labels]
    rows = [scoring.row_of(tasks.pose, meaning, output, truth, matrix) for output, truth in zip(outputs, truths, strict=True)]
    return by_metric(scoring.scores_of(tasks.pose, meaning, rows, [None] * len(rows)))


def test_angles_are_scored_in_the_frame_of_the_picture() -> None:
    labels = [{"yaw": 10.5, "pitch": -4.5, "roll": roll} for roll in (-20.5, 0.5, 12.5)]
    turned = geometry.rotation_of(AT)
    assert turned == pytest.approx(20)
    right = angle_scores(Ranges(), labels, [bins(10.5, -4.5, label["roll"] + turned) for label in labels], AT)
    assert list(right) == ["MAE yaw", "MAE pitch", "MAE roll"]
    assert all(score.value < 1.6 for score in right.values())  # half a bin
    blind = angle_scores(Ranges(), labels, [bins(10.5, -4.5, 0.5 + turned)] * 3, AT)
    assert blind["MAE roll"].value == pytest.approx(right["MAE roll"].constant, abs=1.5) == pytest.approx(11, abs=1.5)


def test_words_for_yaw_are_told_by_their_own_boundaries() -> None:
    labels = [{"yaw": word} for word in ("left", "frontal", "frontal", "right", "right", "right")]
    right = angle_scores(YAWS, labels, [bins(yaw, 0, 0) for yaw in (-40, -13, 13, 17, 50, 97)], AT)
    assert list(right) == ["yaw word accuracy", "yaw word balanced accuracy", "yaw word macro-F1"]
    assert right["yaw word accuracy"].value == 1
    blind = angle_scores(YAWS, labels, [bins(60, 0, 0)] * 6, AT)
    assert blind["yaw word accuracy"].value == right["yaw word accuracy"].constant == 0.5


def test_words_for_yaw_are_told_by_boundaries_chosen_on_training_where_there_is_some() -> None:
    def rows(yaws: list[float]) -> list[dict]:
        truths = [scoring.truth_of(tasks.pose, YAWS, {"yaw": word}, (1, 1)) for word in ("left", "frontal", "right")]
        return [scoring.row_of(tasks.pose, YAWS, bins(yaw, 0, 0), truth, AT) for yaw, truth in zip(yaws, truths, strict=True)]

    shy = [-10.5, 1.5, 10.5]  # a network that never says more than ten degrees
    assert by_metric(scoring.scores_of(tasks.pose, YAWS, rows(shy), [None] * 3))["yaw word accuracy"].value == pytest.approx(1 / 3)
    found = by_metric(scoring.scores_of(tasks.pose, YAWS, rows(shy), [None] * 3, taught=rows([-10.5, -1.5, 7.5])))["yaw word accuracy"]
    assert found.value == 1 and "chosen on 3 faces of training" in found.note


# Groups of faces


def test_the_main_score_of_each_question_has_its_value_for_each_group_and_no_other_score_has() -> None:
    random = np.random.default_rng(0)
    stated = [{"gender": "female" if at % 2 else "male", "age": "old"} for at in range(60)]
    labels = {
        tasks.gender: ["male"] * 60, tasks.race: ["Asian"] * 60, tasks.age: ["child", 40] * 30, tasks.attributes: [{"Smiling": True}] * 60,
        tasks.landmarks: [align.ARCFACE_112] * 60, tasks.parsing: [mask(at, 3) for at in range(60)], tasks.pose: [{"yaw": "left", "roll": 3.0}] * 60,
    }  # fmt: skip
    found = {}
    for task, told in labels.items():
        meaning = TraitNames({"Smiling": "Smiling"}) if task is tasks.attributes else MEANINGS[task]
        rows = []
        for label in told:
            truth = scoring.truth_of(task, meaning, label, (SIDE, SIDE))
            rows.append(scoring.row_of(task, meaning, random.normal(0, 1, task.shape(128)).astype(np.float32), truth, np.eye(2, 3)))
        for score in scoring.scores_of(task, meaning, rows, ["one person"] * 60, stated=stated):
            if score.groups:
                found[task.name, score.metric] = score
    assert list(found) == [
        ("gender", "accuracy"), ("race", "accuracy"), ("age", "MAE"), ("age", "group accuracy"), ("attributes", "mean accuracy"), ("landmarks", "NME"),
        ("parsing", "F1 of 18 classes"), ("pose", "yaw word accuracy"), ("pose", "MAE roll"),
    ]  # fmt: skip
    for (name, _), score in found.items():
        groups = score.groups["gender"]
        assert {kind: sum(each.n for each in of.each.values()) for kind, of in score.groups.items()} == {"age": score.n, "gender": score.n}
        assert score.groups["age"].each["old"].value == pytest.approx(score.value)  # everybody
        if name != "age" and name != "parsing":  # means over faces
            assert np.mean([groups.each["male"].value, groups.each["female"].value]) == pytest.approx(score.value, abs=1e-6)


def test_errors_are_best_where_they_are_smallest_and_shares_where_they_are_largest() -> None:
    women = np.arange(80) % 2 == 1
    stated = scoring.groups_of_faces([{"gender": "female" if woman else "male"} for woman in women])
    years = np.full((80, 2), 30.0)
    said = np.stack([sure(117, 35 if woman else 30 + at % 3) for at, woman in enumerate(women)])
    mae = by_metric(scoring.scale_scores(tasks.age, Ranges(), said, years, ALONE[:80], stated))["MAE"].groups["gender"]
    assert (mae.best, mae.worst, mae.each["female"].value) == ("male", "female", pytest.approx(5, abs=1e-4))
    right = np.stack([sure(2, 0 if woman else 1) for woman in women])
    accuracy = scoring.category_scores(tasks.gender, same_words(tasks.gender.vocabulary), right, women.astype(int) * 0, ALONE[:80], stated)[0].groups["gender"]
    assert (accuracy.best, accuracy.worst, accuracy.gap) == ("female", "male", 1.0)


def test_rows_without_a_label_are_in_no_group() -> None:
    stated = scoring.groups_of_faces([{"gender": "female" if at < 40 else "male"} for at in range(80)])
    truth = np.where(np.arange(80) < 45, 0, -1)
    score = scoring.category_scores(tasks.expression, SEVEN, np.zeros((80, 8)), truth, ALONE[:80], stated)[0]
    assert {name: each.n for name, each in score.groups["gender"].each.items()} == {"female": 40, "male": 5}
    assert np.isnan(score.groups["gender"].each["male"].value)


# All kinds

MEANINGS = {
    tasks.identity: People(), tasks.age: GROUPS, tasks.gender: same_words(tasks.gender.vocabulary), tasks.race: UTK, tasks.expression: SEVEN,
    tasks.attributes: TraitNames({"Smiling": "Smiling"}), tasks.landmarks: FIVE, tasks.parsing: PARSING, tasks.pose: YAWS,
}  # fmt: skip


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_every_kind_reads_its_labels(task: tasks.Task) -> None:
    labels = {
        "age": "old", "gender": "male", "race": "Asian", "expression": "sad", "attributes": {"Smiling": True}, "landmarks": align.ARCFACE_112, "parsing": mask,
        "pose": {"yaw": "left"}, "identity": "somebody",
    }  # fmt: skip
    truth = scoring.truth_of(task, MEANINGS[task], labels[task.name], (SIDE, SIDE))
    output = np.zeros(task.shape(128), np.float32)
    row = scoring.row_of(task, MEANINGS[task], output, truth, np.eye(2, 3))
    assert sum(array.size for array in row.values()) < 3000  # little is kept
    if not isinstance(task, tasks.Embedding):
        nonsense = np.zeros((4, 2), np.float32) if isinstance(task, tasks.Points | tasks.Regions) else "no such word"
        with pytest.raises(InputError):
            scoring.truth_of(task, MEANINGS[task], nonsense, (SIDE, SIDE))


def test_no_rows_no_scores() -> None:
    assert scoring.scores_of(tasks.age, Ranges(), [], []) == []


def test_a_kind_that_nobody_knows_how_to_score_is_an_error() -> None:
    unknown = dataclasses.make_dataclass("Unknown", [], bases=(tasks.Task,), frozen=True)("unknown", "?")
    with pytest.raises(TypeError, match="Unknown"):
        scoring.scores_of(unknown, Ranges(), [{"output": np.zeros(1), "truth": np.zeros(1)}], [None])
