"""From a tracker's name to its class: those that come along, those of other packages by entry points.

`module:Class` names one without a package, such as a module of `Launch.code`.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata

from trainer.config.problems import suggest
from trainer.protocol.installation import install_command, packages_command
from trainer.protocol.tracking import BUILT_IN, SETTINGS, TRACKERS_GROUP, Target
from trainer.trackers.tracker import Tracker, TrackerError

_CLASSES = {
    "tensorboard": "trainer.trackers.tensorboard:TensorBoard", "mlflow": "trainer.trackers.mlflow:MLflow",
    "wandb": "trainer.trackers.wandb:WeightsAndBiases", "swanlab": "trainer.trackers.swanlab:SwanLab",
    "visualdl": "trainer.trackers.visualdl:VisualDL",
}  # fmt: skip
_PACKAGES = {
    "tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb", "swanlab": "swanlab",
    "visualdl": "visualdl",
}  # fmt: skip
_OF_THE_EXTRA = ("tensorboard", "mlflow")


def check_target(target: Target) -> None:
    """See that a target could be sent to from here. Of those that come along nothing is imported.

    Raises:
        TrackerError: There is no such tracker here, or a setting is none of its own.
    """
    name = target.tracker
    if name not in _CLASSES:
        _check_settings(target, _of_others(name).settings)
        return
    package = _PACKAGES[name]
    if importlib.util.find_spec(package) is None:
        fix = install_command("track") if name in _OF_THE_EXTRA else packages_command([package])
        raise TrackerError(f"{name}: expected the package {package}, which is not installed here; {fix}")
    _check_settings(target, frozenset(SETTINGS[name]))


def find_tracker(target: Target) -> type[Tracker]:
    """Return a target's class.

    Raises:
        TrackerError: As `check_target`; or it cannot be imported.
    """
    check_target(target)
    name = target.tracker
    return _load(name, _CLASSES[name]) if name in _CLASSES else _of_others(name)


def _check_settings(target: Target, known: frozenset[str] | None) -> None:
    unknown = sorted(set(target.settings) - known) if known is not None else []
    if unknown:
        raise TrackerError(
            f"{target.tracker}: expected settings of {', '.join(sorted(known or ()))}, got "
            + ", ".join(map(repr, unknown))
        )


def _of_others(name: str) -> type[Tracker]:
    if ":" in name:
        return _load(name, name)
    entries = metadata.entry_points(group=TRACKERS_GROUP)
    found = [entry for entry in entries if entry.name == name]
    if not found:
        known = [*BUILT_IN, *sorted({entry.name for entry in entries} - set(BUILT_IN))]
        raise TrackerError(
            f"{name}: expected one of {', '.join(known)}, got {name!r}, which no package installed here "
            f"brings along{suggest(name, known)}"
        )
    return _load(name, found[0].value)


def _load(name: str, place: str) -> type[Tracker]:
    module, _, attribute = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise TrackerError(f"{name}: {place} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Tracker)):
        raise TrackerError(f"{name}: {place}: expected a subclass of trainer.trackers.Tracker")
    return found
