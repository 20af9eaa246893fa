"""A Ray cluster: how it is reached, and what goes wrong on its machines as one of our errors. Ray comes with the extra "ray".

Its machines need polyface, and must see the files that they are asked about under the same paths.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from polyface.errors import PolyfaceError, RequestError, RunError, reason


def require_ray() -> ModuleType:
    """Raises RequestError where Ray is not installed."""
    try:
        import ray
    except ImportError as error:
        raise RequestError("a cluster needs Ray: pip install 'polyface[ray]'") from error
    return ray


@contextmanager
def connected() -> Iterator[ModuleType]:
    """Ray, connected: to the cluster that this process has already, that $RAY_ADDRESS names, or that was started on this machine (`ray start`), else to one of
    this machine's processors, which ends with the block.

    Raises RequestError where Ray is not installed, RunError where no cluster answers.
    """
    ray = require_ray()
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the machine
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises what has no class of its own, too
        raise RunError(f"no Ray cluster can be reached or started ({reason(error)})") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def arrived(ray: ModuleType, reference: Any) -> Any:
    """What a machine of the cluster has made, once it has. Raises what was raised there where that is one of our errors, RunError for all else, as a lost machine."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, PolyfaceError):
            raise error.cause from None
        raise RunError(f"a machine of the cluster failed ({reason(error.cause)})") from error
    except ray.exceptions.RayError as error:
        raise RunError(f"a machine of the cluster failed ({reason(error)})") from error
