"""What a checkpoint holds: weights, optimizer state and training state, to and from files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from trainer.checkpoints.durable import Fill
from trainer.checkpoints.pdfiles import (
    Array,
    as_array,
    read_arrays,
    read_pdfile,
    write_arrays,
    write_pdfile,
)
from trainer.checkpoints.state import SamplerState, TrainState, format_state, parse_state
from trainer.checkpoints.store import Checkpoint
from trainer.protocol.codec import MAX_COUNT
from trainer.protocol.untrusted import FormatError, parse_object, shown

PARAMS = "model.pdparams"
RAW = "model.pdema"
"""Where an average is kept: the weights that are trained, while `model.pdparams` has the average."""
OPTIMIZER = "model.pdopt"
STUDENT = "student.pdparams"
"""Weights of the network called Student alone, where there are several."""
STATES = "model.pdstates"
STATE = "state.json"
SETTINGS = "settings.json"
"""What the run was asked for; see `trainer.engine.changes`. Checkpoints of before it have none."""
SCHEDULE = "LR_Scheduler"
MASTER = "master_weights/"
"""Begins the keys of `OptimizerState.arrays` that a `.pdopt` has in a table of its own, `master_weights`."""
_STUDENT = "Student."
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerState:
    """What one optimizer keeps.

    Attributes:
        arrays: By Paddle's own names, such as `conv2d_0.w_0_velocity_0`.
        learning_rate: That its next step will use; PaddleClas stores it.
    """

    arrays: Mapping[str, Array]
    learning_rate: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """A checkpoint in memory.

    Attributes:
        weights: Parameters and buffers by structured name.
        automatic_names: Structured name -> Paddle's own parameter name, on which optimizer keys are built.
        optimizers: State of each optimizer, in the order of the config.
        state: How far the run is.
        average: Moving average of the weights (`EMA`), or None.
        settings: What the run was asked for, by dotted key; empty where that is not known.
    """

    weights: Mapping[str, Array]
    automatic_names: Mapping[str, str]
    optimizers: Sequence[OptimizerState]
    state: TrainState
    average: Mapping[str, Array] | None = None
    settings: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


def as_files(contents: Contents) -> dict[str, Fill]:
    """Return what writes each file of a checkpoint, the PaddleClas-formed ones under PaddleClas's endings."""
    optimizers = [
        {
            **_nest(item.arrays),
            SCHEDULE: {"last_epoch": contents.state.step, "last_lr": item.learning_rate},
        }
        for item in contents.optimizers
    ]
    states = {"metric": contents.state.metric or 0.0, "epoch": contents.state.epoch}
    text = format_state(contents.state).encode()
    settings = json.dumps(dict(contents.settings), indent=1).encode()
    names, average = contents.automatic_names, contents.average
    raw = write_arrays(contents.weights, names)
    student = _of_student(contents.weights if average is None else average)
    return {
        **({PARAMS: raw} if average is None else {PARAMS: write_arrays(average, names), RAW: raw}),
        OPTIMIZER: write_pdfile(optimizers),
        **({STUDENT: write_arrays(student, _of_student(names))} if student else {}),
        STATES: write_pdfile(states),
        STATE: lambda file: _write(file, text),
        **({SETTINGS: lambda file: _write(file, settings)} if contents.settings else {}),
    }


def load_contents(checkpoint: Checkpoint) -> Contents:
    """Read a checkpoint of ours.

    Raises:
        UnsafeFileError: A file is broken.
        FormatError: state.json is broken.
        OSError: A file cannot be read.
    """
    folder = checkpoint.folder
    weights, average = _read_weights(folder / PARAMS, folder / RAW)
    return Contents(
        weights=weights, automatic_names={}, optimizers=read_optimizers(folder / OPTIMIZER),
        state=parse_state((folder / STATE).read_bytes()), average=average,
        settings=read_settings(folder),
    )  # fmt: skip


def load_paddleclas(
    prefix: Path, *, run_id: str, steps_per_epoch: int, world_size: int,
    say: Callable[[str], None] = lambda _: None,
) -> Contents:  # fmt: skip
    """Read a checkpoint of PaddleClas: `<prefix>.pdparams`, `.pdopt` and, where it is there, `.pdstates`.

    PaddleClas saves at ends of epochs only and resumes with the epoch after `.pdstates.epoch`; the best
    metric starts anew there, and so it does here. `say` is told what is missing or odd, and what is assumed.

    Raises:
        UnsafeFileError: A file is broken or unsafe.
        OSError: A file is missing or cannot be read.
    """
    optimizers = read_optimizers(with_ending(prefix, ".pdopt"))
    states_path = with_ending(prefix, ".pdstates")
    states = read_pdfile(states_path) if states_path.exists() else {}
    epoch = states.get("epoch") if isinstance(states, dict) else None
    if isinstance(epoch, int | float | np.integer | np.floating) and 0 <= epoch < MAX_COUNT:
        completed = int(epoch)
    else:
        completed = 0
        got = shown(epoch) if states_path.exists() else "no such file"
        say(
            f"warning: {states_path}: expected the number of completed epochs, got {got}; epoch 1 is the next"
        )
    weights, average = _read_weights(with_ending(prefix, ".pdparams"), with_ending(prefix, ".pdema"))
    return Contents(
        weights=weights,
        average=average,
        automatic_names={},
        optimizers=optimizers,
        state=TrainState(
            run_id=run_id,
            epoch=completed,
            step=completed * steps_per_epoch,
            sampler=SamplerState(epoch=completed, world_size=world_size, cursor=0),
        ),
    )


def read_optimizers(path: Path) -> list[OptimizerState]:
    """Read a `.pdopt`: the state of each optimizer; a learning rate that is not there is 0."""
    document = read_pdfile(path)
    return [_read_optimizer(table) for table in (document if isinstance(document, list) else [document])]


def _read_optimizer(table: object) -> OptimizerState:
    if not isinstance(table, dict):
        table = {}
    schedule = table.get(SCHEDULE)
    last = schedule.get("last_lr", 0.0) if isinstance(schedule, dict) else 0.0
    masters = table.get(MASTER[:-1])
    flat = {f"{MASTER}{key}": value for key, value in masters.items()} if isinstance(masters, dict) else {}
    flat.update((str(key), value) for key, value in table.items())
    arrays = {key: array for key, value in flat.items() if (array := as_array(value)) is not None}
    rate = float(last) if isinstance(last, int | float) else 0.0
    return OptimizerState(arrays=arrays, learning_rate=rate)


def _read_weights(params: Path, raw: Path) -> tuple[dict[str, Array], dict[str, Array] | None]:
    if raw.exists():
        return read_arrays(raw), read_arrays(params)
    return read_arrays(params), None


def read_settings(folder: Path) -> dict[str, str | int | float | bool | None]:
    """Return what the run of a checkpoint was asked for, by dotted key; nothing where that is not known.

    Raises:
        FormatError: The file is damaged.
        OSError: It cannot be read.
    """
    path = folder / SETTINGS
    if not path.exists():
        return {}
    found = parse_object(path.read_bytes(), where=path.name)
    odd = [key for key, value in found.items() if not (value is None or isinstance(value, str | int | float))]
    if odd:
        raise FormatError(where=f"{path.name}: {odd[0]}", expected="a plain value", got=shown(found[odd[0]]))
    return {
        key: value for key, value in found.items() if value is None or isinstance(value, str | int | float)
    }


def _of_student(table: Mapping[str, T]) -> dict[str, T]:
    return {key.removeprefix(_STUDENT): value for key, value in table.items() if key.startswith(_STUDENT)}


def with_ending(prefix: Path, ending: str) -> Path:
    """Return a file of a PaddleClas checkpoint, whose prefix may have been written with `.pdparams`."""
    return prefix.with_name(prefix.name.removesuffix(".pdparams") + ending)


def _nest(optimizer: Mapping[str, Array]) -> dict[str, object]:
    # Each array goes with its name, as paddle.save pickles a tensor.
    named = {key: (key, value) for key, value in optimizer.items() if not key.startswith(MASTER)}
    masters = {key.removeprefix(MASTER): value for key, value in optimizer.items() if key.startswith(MASTER)}
    nested = {name: (name, value) for name, value in masters.items()}
    return {**named, **({MASTER[:-1]: nested} if nested else {})}


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
