"""Leaving what a process shares as it was found, around work that changes it.

Paddle has one generator, one device and one table of names a process, and importing it changes loggers and
the environment. A program that calls `trainer.api` had its own idea of all of these before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import warnings
from collections.abc import Iterator, Mapping

from trainer.errors import MissingPackagesError, TrainerError
from trainer.paddle_noise import silence
from trainer.protocol import installation

_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def process_kept() -> Iterator[None]:
    """Leave what the whole process shares as it was found, and keep others out meanwhile.

    Raises:
        MissingPackagesError: Paddle or another package of the extra `trainer` is not installed.
        TrainerError: Another call is going on in this process.
    """
    if missing := installation.missing_packages():
        raise MissingPackagesError(missing)
    if not _ONE_AT_A_TIME.acquire(blocking=False):
        raise TrainerError(
            where="trainer.api",
            expected="one call at a time in a process, whose generator and device they share",
            got="a second one",
            fix="wait for the first, or use a process for each",
        )
    with contextlib.ExitStack() as stack:
        stack.callback(_ONE_AT_A_TIME.release)
        stack.callback(_restore_environment, dict(os.environ))
        # Read once, when the library is loaded: Paddle's C++ side says what is a warning or worse.
        os.environ.setdefault("GLOG_minloglevel", "1")
        stack.enter_context(warnings.catch_warnings())
        silence()
        stack.enter_context(_root_logger_kept())  # parts of Paddle are imported later, when they are used
        with _root_logger_kept():
            import numpy as np
            import paddle

        flag = "FLAGS_cudnn_deterministic"
        if paddle.is_compiled_with_cuda():
            stack.callback(paddle.set_flags, paddle.get_flags([flag]))
        stack.callback(paddle.set_device, paddle.get_device())
        stack.callback(paddle.set_rng_state, paddle.get_rng_state())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(random.setstate, random.getstate())
        # Parameters are numbered by process; a checkpoint names an optimizer's state by those names.
        stack.enter_context(paddle.utils.unique_name.guard())
        yield


def _restore_environment(environment: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in environment]:
        del os.environ[name]
    os.environ.update(environment)


@contextlib.contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Undo what is done to the logger that all others hand on to.

    Paddle 3.3.1 asks for a logger named "root" and gives it a handler and the level INFO
    (python/paddle/distributed/fleet/launch_utils.py); since Python 3.9 that is the root logger itself, and
    importing Paddle has all libraries of the process write to stderr.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
