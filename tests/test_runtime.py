import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper

from polyface import runtime
from polyface.errors import RequestError


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A machine of eight processors without any limit; returns how to write a control group's file."""
    monkeypatch.setattr(runtime, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(runtime, "PROCESS_CGROUPS", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def test_without_a_quota_every_allowed_processor_counts(groups, monkeypatch):
    assert runtime.processors() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert runtime.processors() == 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # macOS and Windows
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert runtime.processors() == 1


@pytest.mark.parametrize(("text", "count"), [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("nonsense", 8), ("9000000 100000", 8)])
def test_a_quota_of_version_2_is_kept_rounded_up(groups, text, count):
    groups("cgroup/cpu.max", text + "\n")
    assert runtime.processors() == count


def test_a_quota_on_a_group_above_the_own_one_is_kept(groups):
    groups("self", "0::/user/session\n")
    groups("cgroup/user/cpu.max", "300000 100000")
    groups("cgroup/user/session/cpu.max", "max 100000")
    assert runtime.processors() == 3


def test_a_quota_of_version_1_is_kept(groups):
    groups("self", "4:memory:/a\n3:cpu,cpuacct:/job\n")
    groups("cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n")
    groups("cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n")
    assert runtime.processors() == 3
    groups("cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n")
    assert runtime.processors() == 8


@pytest.fixture
def negative(tmp_path) -> Path:
    """The file of a model that gives -x for x float32 [2]."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "y")]
    model = helper.make_model(
        helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", value[:1], value[1:]), ir_version=8, opset_imports=[helper.make_opsetid("", 13)]
    )
    (tmp_path / "neg.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "neg.onnx"


def test_a_session_runs_with_the_threads_it_was_given(negative):
    for source in (negative, negative.read_bytes()):
        session = runtime.session(source, threads=1)
        assert session.run(None, {"x": np.array([1, -2], np.float32)})[0].tolist() == [-1, 2]
        assert session.get_session_options().intra_op_num_threads == 1


def test_nothing_is_written_down_to_be_sent_away(negative, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    code = f"import pathlib; from polyface import runtime; runtime.session(pathlib.Path({str(negative)!r}), 1)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**kept, "HOME": str(home)})
    assert not list(home.rglob("*"))


def test_a_model_that_cannot_be_read_is_refused_by_name_in_one_line(tmp_path):
    (tmp_path / "text.onnx").write_text("<html>not found</html>")
    (tmp_path / "empty.onnx").touch()
    for name in ("text.onnx", "empty.onnx", "missing.onnx", ""):
        with pytest.raises(RequestError, match=name or str(tmp_path)) as caught:
            runtime.session(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_opencv_threads_change_only_when_asked():
    before = cv2.getNumThreads()
    try:
        runtime.threads_for_opencv(1)
        assert cv2.getNumThreads() == 1
    finally:
        runtime.threads_for_opencv(before)


def test_what_threads_make_comes_in_order_and_not_far_ahead_of_who_takes_it():
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.002 * (item % 3))
        return item * item

    made = runtime.in_order(work, iter(range(50)), threads=4, ahead=6)
    assert begun == [], "nothing is begun before something is asked for"
    for at, found in enumerate(made):
        assert found == at * at and len(begun) <= at + 1 + 6
    assert sorted(begun) == list(range(50))


def test_an_error_in_a_thread_reaches_who_takes_and_ends_the_others():
    begun = []

    def work(item):
        begun.append(item)
        if item == 3:
            raise RequestError("the fourth")
        return item

    made = runtime.in_order(work, range(1000), threads=2, ahead=4)
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RequestError, match="the fourth"):
        next(made)
    assert len(begun) <= 8


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
@pytest.mark.parametrize("set_before", [{}, {"GOMP_SPINCOUNT": "7"}, dict.fromkeys(runtime.FOR_TRAINING, "7")])
def test_a_process_that_trains_starts_anew_once_with_the_same_words_and_leaves_what_was_set(set_before: dict[str, str]) -> None:
    start = "from polyface import runtime; print('starts', flush=True); runtime.start_anew_for_training()"
    code = f"import os, sys; {start}; print(sys.argv[1:], [os.environ[name] for name in runtime.FOR_TRAINING])"
    environment = {name: value for name, value in os.environ.items() if name not in runtime.FOR_TRAINING} | set_before
    said = subprocess.run([sys.executable, "-c", code, "a b", "--c"], env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["starts"] * (1 if len(set_before) == 2 else 2) + [f"['a b', '--c'] {[*(runtime.FOR_TRAINING | set_before).values()]}"]
