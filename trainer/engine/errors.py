"""How training can end before its last epoch, each with the exit code that says so."""

from __future__ import annotations

from typing import ClassVar

from trainer.protocol.exits import Exit


class EngineError(Exception):
    """Training cannot go on."""

    exit: ClassVar[Exit] = Exit.INTERNAL


class DivergedError(EngineError):
    """The loss is no longer a number."""

    exit = Exit.DIVERGED


class CheckpointError(EngineError):
    """A checkpoint or the output folder failed."""

    exit = Exit.CHECKPOINT


class OutputRefusedError(EngineError):
    """The output folder is not this run's."""

    exit = Exit.CONFIG


class WeightsRefusedError(EngineError):
    """The pretrained weights cannot be used."""

    exit = Exit.CONFIG


class DeviceError(EngineError):
    """The GPU that is asked for is not here."""

    exit = Exit.CONFIG


class StoppedError(EngineError):
    """Told to stop, by a signal or by the node process; the state was saved."""

    exit = Exit.STOPPED


class InterruptedRunError(EngineError):
    """Ctrl-C; the state was saved."""

    exit = Exit.INTERRUPTED
