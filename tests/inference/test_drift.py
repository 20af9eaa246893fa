"""One measure for each kind of question, and a limit to it."""

import json

import numpy as np
import pytest

from polyface import tasks
from polyface.errors import RequestError
from polyface.images.align import Crop
from polyface.inference import drift as drifts

CROP = Crop().scaled(64)
RANDOM = np.random.default_rng(0)


def outputs(task: tasks.Task) -> np.ndarray:
    made = RANDOM.normal(0, 4, (4, *task.shape(64))).astype(np.float32)
    return made / np.linalg.norm(made, axis=-1, keepdims=True) if isinstance(task, tasks.Embedding) else made


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_equal_answers_do_not_drift(task: tasks.Task) -> None:
    same = outputs(task)
    assert drifts.between(task, same, same.copy(), CROP) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_every_kind_has_a_limit_that_other_answers_pass(task: tasks.Task) -> None:
    drift = drifts.between(task, outputs(task), outputs(task), CROP)
    said = drifts.Drift(of="a", sets=(), calibrated=1, measured=4, drift={task.name: drift})
    assert len(said.too_far([task])) == 1 and task.name in said.too_far([task])[0]


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_what_is_no_number_is_too_far(task: tasks.Task) -> None:
    after = outputs(task)
    after[0].flat[0] = np.nan
    said = drifts.Drift(of="a", sets=(), calibrated=1, measured=4, drift={task.name: drifts.between(task, outputs(task), after, CROP)})
    assert said.too_far([task])


def test_a_share_of_changed_answers() -> None:
    before = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    assert drifts.between(tasks.gender, before, np.eye(2, dtype=np.float32)[[0, 1, 1, 1]], CROP) == 0.25


def test_points_drift_in_eye_distances() -> None:
    before = np.zeros((2, 68, 3), np.float32)
    after = before + np.array([3.0, 4.0, 9.0], np.float32)  # the third is the spread, which is no place
    assert drifts.between(tasks.landmarks, before, after, CROP) == pytest.approx(5 / CROP.eye_distance)


def test_age_drifts_in_years_and_pose_in_degrees() -> None:
    years = np.full((1, 117), -30, np.float32)
    thirty, thirty_two = years.copy(), years.copy()
    thirty[0, 30], thirty_two[0, 32] = 30, 30
    assert drifts.between(tasks.age, thirty, thirty_two, CROP) == pytest.approx(2, abs=1e-3)
    ahead, aside = (np.full((1, 3, 66), -30, np.float32) for _ in range(2))
    ahead[0, :, 33], aside[0, :, 33] = 30, 30
    aside[0, 0, 33], aside[0, 0, 34] = -30, 30
    assert drifts.between(tasks.pose, ahead, aside, CROP) == pytest.approx(3 / 3, abs=1e-3)  # three degrees of yaw, the mean of three axes


@pytest.mark.parametrize(("content", "said"), [(b"{", "is no JSON"), (b'{"of": "a"}', "missing required field"), (b'{"of": "a", "so": 1}', "unknown key 'so'")])
def test_a_record_that_is_none_is_named(content: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=r"m\.onnx: .*" + said):
        drifts.drift_of_json(content, "m.onnx")


def test_a_record_is_read_as_it_was_written() -> None:
    tree = {"of": "first@0", "sets": ["utkface"], "calibrated": 24, "measured": 64, "drift": {"age": 0.5}}
    found = drifts.drift_of_json(json.dumps(tree).encode(), "m.onnx")
    assert found.drift == {"age": 0.5} and not found.too_far([tasks.age])
    assert found.rows(tasks.TASKS) == [{"task": "age", "drift": 0.5, "allowed": 0.6, "unit": "units between the answers, such as years"}]
