"""Processors that this process really has, its memory, threads that work ahead of who takes what they make, and onnxruntime sessions that use just those processors."""

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from polyface.errors import RequestError

if TYPE_CHECKING:
    import onnxruntime

CGROUP = Path("/sys/fs/cgroup")
PROCESS_CGROUPS = Path("/proc/self/cgroup")

FOR_TRAINING = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1000000000000:glibc.malloc.trim_threshold=1000000000000",
    "GOMP_SPINCOUNT": "10000",
}
"""Memory is kept, in large pages: maps of many megabytes came page by page from the system at every step. A thread that waits for another turns in circles for half a
millisecond and not for fifteen, so that one that prepares batches finds a processor (LOG.md, 2026-11-30)."""

Item = TypeVar("Item")
Made = TypeVar("Made")


def processors() -> int:
    """How many threads can run at once here: the processors that this process may use, and no more than its container's quota of
    processor time pays for.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota())))


def start_anew_for_training() -> None:
    """On Linux, once, before anything else is done, with the same words and what glibc and OpenMP read at a process's start alone; what somebody has set stays."""
    missing = {name: value for name, value in FOR_TRAINING.items() if name not in os.environ}
    if sys.platform == "linux" and missing:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | missing)


def session(model: bytes | Path, threads: int | None = None) -> "onnxruntime.InferenceSession":
    """An ONNX model, ready to run on the processor. Raises RequestError naming the file when it is missing, is no ONNX file or is cut
    short.
    """
    import onnxruntime  # 0.1 s, and not every command needs it

    name = "the model" if isinstance(model, bytes) else str(model)
    if not isinstance(model, bytes):
        model = _read(model)
    if not model:
        raise RequestError(f"{name}: empty, not an ONNX model")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or processors()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would take the time of decoding and of other sessions
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise RequestError(f"{name}: not an ONNX model that can be run, or cut short ({_first_line(error)})") from error


def in_order(work: Callable[[Item], Made], items: Iterable[Item], threads: int, ahead: int, name: str = "") -> Iterator[Made]:
    """work(item) of each item, in their order: made in threads of that name, at most `ahead` more than were taken, so that memory does not grow with the items."""
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix=name) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def threads_for_opencv(count: int) -> None:
    """OpenCV starts a thread per processor of the machine, whatever the quota; worker processes want one each. For the whole process."""
    import cv2

    cv2.setNumThreads(count)


def _quota() -> float:
    """Processors' worth of time that the control group grants, infinite without a limit. Version 2 states the limit per folder, the
    nearest one up wins.
    """
    return min((_quota_in(folder) for folder in _cgroup_folders()), default=math.inf)


def _cgroup_folders() -> list[Path]:
    """Every folder that may limit this process: its own groups and those above them, and the roots, which are its own inside a container."""
    folders = [CGROUP, CGROUP / "cpu", CGROUP / "cpu,cpuacct"]
    try:
        lines = PROCESS_CGROUPS.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = CGROUP / controllers if controllers else CGROUP
        place = top / path.strip("/")
        folders += [place, *(parent for parent in place.parents if parent.is_relative_to(top))]
    return folders


def _quota_in(folder: Path) -> float:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{word}_us").read_text() for word in ("quota", "period"))
        return float(quota) / float(period) if quota.strip() not in ("max", "-1") else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
