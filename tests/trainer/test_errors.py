"""One root for all that the trainer raises."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import trainer
from trainer import errors
from trainer.config.problems import ConfigError, Problem
from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit
from trainer.protocol.safe_files import UnsafePathError
from trainer.protocol.untrusted import FormatError

_ELSEWHERE = {
    "Error": "the form of errors, which the launcher's have too",
    "GoBackError": "no error of a user: the loop catches it and goes back to a checkpoint",
    "NoRoomError": "no error of a user: a reader catches it and the training makes room",
    "TrackerError": "what somebody's own tracker raises: the process of trackers catches it and prints it",
}
_NOT_INSTALLED = {"swanlab", "visualdl", "wandb"}
"""Libraries of trackers that whoever tracks with them installs; what needs them defines no errors."""


def _public_errors() -> list[type[Exception]]:
    found: dict[str, type[Exception]] = {}
    for module in pkgutil.walk_packages(trainer.__path__, "trainer."):
        if module.name.endswith("__main__"):
            continue
        try:
            imported = importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            assert error.name in _NOT_INSTALLED  # noqa: PT017 - anything else is a broken module
            continue
        for name, value in vars(imported).items():
            if not (inspect.isclass(value) and issubclass(value, Exception)) or name.startswith("_"):
                continue
            if value.__module__.startswith("trainer."):
                found[f"{value.__module__}.{name}"] = value
    return list(found.values())


def test_every_public_error_of_the_trainer_is_under_the_root() -> None:
    outside = {kind.__name__ for kind in _public_errors() if not issubclass(kind, TrainerError)}

    assert outside == set(_ELSEWHERE)


def test_the_module_names_every_class_of_its_tree() -> None:
    own = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }

    assert own == set(errors.__all__)
    assert all(name in (errors.__doc__ or "") for name in own)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.WeightsError("plain words"), "plain words"),
        (
            errors.WeightsError(where="a.yaml", expected="X", got="Y", fix="do Z"),
            "a.yaml: expected X, got Y; do Z",
        ),
        (errors.WeightsError(expected="X", got="Y"), "expected X, got Y"),
        (errors.WeightsError(where="a.yaml", expected="X"), "a.yaml: expected X"),
        (errors.WeightsError("has gone", where="a.yaml", fix="make it"), "a.yaml: has gone; make it"),
        (FormatError(where="run.json", expected="JSON", got="'x'"), "run.json: expected JSON, got 'x'"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_sentence_is_made_of_the_parts(error: TrainerError, sentence: str) -> None:
    assert str(error) == sentence


def test_who_lets_an_error_pass_can_say_where_it_was() -> None:
    error = errors.WeightsError(where="a.pdparams", expected="weights", got="a text")

    error.add_place("pretrained weights")

    assert str(error) == "pretrained weights: a.pdparams: expected weights, got a text"
    assert (error.expected, error.got) == ("weights", "a text")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ConfigError, Exit.CONFIG),
        (errors.DataError, Exit.DATA),
        (errors.DivergedError, Exit.DIVERGED),
        (errors.CheckpointError, Exit.CHECKPOINT),
        (errors.OutputRefusedError, Exit.CONFIG),
        (errors.StoppedError, Exit.STOPPED),
        (errors.TrainerError, Exit.INTERNAL),
        (FormatError, Exit.CONFIG),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_class_has_the_exit_code(kind: type[TrainerError], code: Exit) -> None:
    assert kind.exit_code is code


def test_errors_stay_what_python_calls_them() -> None:
    path_error = UnsafePathError(where=Path("a"), expected="a file", got="a link")
    assert (path_error.errno, path_error.strerror) == (None, None)
    assert issubclass(FormatError, ValueError)
    assert issubclass(UnsafePathError, OSError)
    assert str(ConfigError([Problem(file="a.yaml", line=3, message="odd")])) == "a.yaml:3: odd"
