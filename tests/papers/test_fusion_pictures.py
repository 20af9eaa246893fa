"""Pictures that can be learned from, and those that cannot, refused by name; three splits that keep what they promise."""

from dataclasses import replace

import numpy as np
import pytest

from polyface.errors import RequestError
from polyface.papers import fusion_pictures as fusion
from polyface.papers.fusion_config import FusionConfig, load
from polyface.papers.fusion_pictures import Pictures, Question, check, splits


def config(**said: object) -> FusionConfig:
    return load("smoke", [f"{key}={value}" for key, value in said.items()])


def people(number: int = 12, each: int = 5) -> Pictures:
    who = np.repeat(np.arange(number), each)
    size = config().wide.size
    crops = np.random.default_rng(0).integers(0, 256, (len(who), size, size, 3), dtype=np.uint8)
    questions = (Question("gender", "?", ("male", "female")), Question("race", "?", ("a", "b", "c")), Question("smiling", "?", ("no", "yes"), of_person=False))
    labels = {"gender": who % 2, "race": who % 3, "smiling": np.arange(len(who)) % 2}
    return Pictures("tiny", "tiny", tuple(f"{row}.jpg" for row in range(len(who))), crops, who, tuple(f"p{at}" for at in range(number)), questions, labels)


def changed(task: str, row: int, value: int) -> Pictures:
    made = people()
    labels = {**made.labels, task: made.labels[task].copy()}
    labels[task][row] = value
    return replace(made, labels=labels)


def only(value: int) -> Pictures:
    return replace(people(), labels={**people().labels, "race": np.full(60, value)})


def without_pictures_of_the_first() -> Pictures:
    made = people()
    rows = np.arange(4, 60)
    return replace(made, keys=made.keys[4:], crops=made.crops[rows], people=made.people[rows], labels={task: each[rows] for task, each in made.labels.items()})


def nobody_knows_the_second() -> Pictures:
    return replace(people(), labels={**people().labels, "gender": np.where(people().people == 1, -1, people().labels["gender"])})


def twice(same_group: bool) -> Pictures:
    made = people()
    keys = ("1.jpg", *made.keys[1:]) if same_group else ("5.jpg", *made.keys[1:])
    return replace(made, keys=keys)


@pytest.mark.parametrize(
    ("pictures", "what"),
    [
        (only(1), "race has one class .b."),
        (without_pictures_of_the_first(), "p0 has one picture"),
        (twice(same_group=False), "5.jpg is in two groups of gender"),
        (twice(same_group=True), "1.jpg is in two groups of smiling|1.jpg is there twice"),
        (changed("race", 7, 0), "p1 is in two groups of race, a and b"),
        (nobody_knows_the_second(), "p1 has no group of gender"),
        (changed("smiling", 9, -1), "9.jpg has no label of smiling"),
        (changed("gender", 3, -1), "3.jpg has no label of gender"),
    ],
)
def test_what_cannot_be_learned_is_refused_by_name_before_anything_is_trained(pictures: Pictures, what: str) -> None:
    with pytest.raises(RequestError, match=what):
        check(pictures)


def test_pictures_that_are_right_pass() -> None:
    check(people())


def test_in_the_papers_split_nearly_every_test_picture_has_a_variant_in_training() -> None:
    (split,) = splits(people(), config(variants=10), "paper")
    assert len(split.train) == 420 and len(split.test) == 180 and not set(split.train) & set(split.test)
    trained = set(split.train // 10)
    assert np.mean([row // 10 in trained for row in split.test]) > 0.95


def test_in_split_image_no_variant_crosses_and_everybody_is_on_both_sides() -> None:
    made = people()
    (split,) = splits(made, config(), "image")
    count = config().variants
    assert not set(split.train // count) & set(split.test // count)
    for rows in (split.train, split.test):
        assert set(made.people[rows // count]) == set(range(12))
    assert len(split.test) / (60 * count) == pytest.approx(0.4) and split.targets == ("identity", "gender", "race", "smiling")


def test_in_split_person_nobody_is_on_both_sides_and_everybody_is_tested_once() -> None:
    made, count = people(), config().variants
    folds = splits(made, config(folds=3), "person")
    tested = np.concatenate([split.test for split in folds])
    assert np.array_equal(np.sort(tested), np.arange(60 * count))
    for split in folds:
        assert not set(made.people[split.train // count]) & set(made.people[split.test // count])
        assert "identity" not in split.targets
        assert all(len(np.unique(split.labels[task][split.test])) >= 2 for task in split.targets)  # groups are dealt out evenly
    assert [split.label for split in folds] == ["person-0", "person-1", "person-2"]


def test_rare_classes_are_left_out_of_split_person_alone() -> None:
    made = people()
    rare = replace(made, labels={**made.labels, "race": np.where(made.people == 0, 2, made.labels["race"] % 2)})
    person = splits(rare, config(fewest_people=3), "person")[0]
    image = splits(rare, config(fewest_people=3), "image")[0]
    assert (person.labels["race"] == 2).sum() == 0 and (image.labels["race"] == 2).sum() > 0 and (person.labels["race"] == -1).sum() == 5 * config().variants


def test_the_first_variant_is_the_picture_and_the_others_are_the_same_for_ever() -> None:
    made = people(3, 2)
    first, again, stronger = (fusion.variants(made, config(), strength) for strength in (1.0, 1.0, 3.0))
    margin = (made.crops.shape[1] - 24) // 2
    assert np.array_equal(first[0], made.crops[0, margin : margin + 24, margin : margin + 24])
    assert np.array_equal(first, again) and not np.array_equal(first[1], stronger[1]) and first.shape == (18, 24, 24, 3)
    assert len({each.tobytes() for each in first}) == 18


def test_random_groups_have_the_sizes_of_the_real_ones_and_are_functions_of_who_it_is() -> None:
    made = people()
    drawn = fusion.random_groups(made.labels["race"], made.people, 0)
    assert np.array_equal(np.bincount(drawn), np.bincount(made.labels["race"])) and not np.array_equal(drawn, made.labels["race"])
    assert all(len(np.unique(drawn[made.people == person])) == 1 for person in range(12))


def test_random_groups_are_dealt_among_the_classes_that_are_kept_and_leave_the_same_rows() -> None:
    made = people()
    kept = np.where(made.labels["race"] == 2, -1, made.labels["race"])
    drawn = fusion.random_groups(kept, made.people, 0)
    assert np.array_equal(drawn < 0, kept < 0) and np.array_equal(np.bincount(drawn[drawn >= 0]), np.bincount(kept[kept >= 0])) and not np.array_equal(drawn, kept)


def test_people_are_counted_where_the_answer_is_theirs_and_pictures_where_it_is_not() -> None:
    made = people()
    assert sum(fusion.counts(made, "race", made.labels["race"], made.people).values()) == 12
    own = replace(made, questions=tuple(replace(each, of_person=False) for each in made.questions))
    assert sum(fusion.counts(own, "race", own.labels["race"], own.people).values()) == len(made.keys)
    assert list(fusion.counts(made, "race", np.zeros(len(made.keys), int), made.people)) == [made.question("race").classes[0]]


def test_joint_groups_are_those_that_occur() -> None:
    names, labels = fusion.joint_groups(people())
    assert len(names) == 6 and "male a" in names and np.array_equal(np.bincount(labels), [10] * 6)
    assert len(set(zip(labels.tolist(), (people().people % 6).tolist(), strict=True))) == 6  # people six apart are in one group


def test_a_subset_of_people_is_renumbered() -> None:
    made = fusion.subset(people(), [7, 2])
    assert made.names == ("p7", "p2") and set(made.people) == {0, 1} and len(made.keys) == 10
    assert made.labels["race"][made.people == 0].tolist() == [1] * 5
