"""Names that modules of the user register: what they are called, and what a config says of them.

The launcher reads such names without importing the modules; the trainer imports them first and then accepts
what they registered. `trainer.extra` is the public side of it. Neither paddle nor numpy is imported here.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from trainer.config.archs import BaseArch
from trainer.config.losses import BaseLoss
from trainer.config.metrics import BaseMetric
from trainer.config.ops import ImageOp
from trainer.config.problems import ConfigError, Problem, show
from trainer.config.registry import EXPECTING, Spec
from trainer.config.scalars import Pixels
from trainer.config.schedules import Schedule

Kind = Literal["op", "loss", "metric", "model", "optimizer"]
GIVEN: Mapping[Kind, tuple[str, ...]] = {
    "op": (), "loss": (), "metric": (), "model": ("class_num",), "optimizer": ("learning_rate", "parameters"),
}  # fmt: skip
"""Arguments that the trainer passes besides those of the config."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """A name that a module of the user brought.

    Attributes:
        factory: Called with the config's parameters and those of `GIVEN`, all by name.
        place: `file:line` of the factory.
    """

    factory: Callable[..., Any]
    place: str


_REGISTERED: dict[tuple[Kind, str], Registered] = {}
_FILES: set[str] = set()


def add(kind: Kind, name: str, factory: Callable[..., Any]) -> None:
    """Register a name.

    Raises:
        ValueError: Another factory has it.
    """
    place = _place(factory)
    known = _REGISTERED.get((kind, name))
    if known is not None and known.place != place:
        raise ValueError(f"expected each {kind} once, got {name!r} again (first in {known.place}); rename it")
    _REGISTERED[kind, name] = Registered(factory=factory, place=place)
    _FILES.add(place.rpartition(":")[0])


def registered(kind: Kind) -> list[str]:
    """List the names that were registered so far."""
    return sorted(name for other, name in _REGISTERED if other == kind)


def forget() -> None:
    """Forget all registered names; for tests, which share a process."""
    _REGISTERED.clear()
    _FILES.clear()


def forget_files(files: Collection[str]) -> None:
    """Forget what files registered, because they are imported again."""
    for key, known in list(_REGISTERED.items()):
        if known.place.rpartition(":")[0] in files:
            del _REGISTERED[key]
    _FILES.difference_update(files)


def make(kind: Kind, name: str, arguments: Mapping[str, object], **given: object) -> Any:  # the user's own
    """Call a registered factory.

    Raises:
        ConfigError: The factory raised; says where in the user's code.
    """
    entry = _REGISTERED[kind, name]
    try:
        return entry.factory(**given, **arguments)
    except Exception as error:  # whatever code that is not ours raises
        place = find_place(error) or entry.place
        message = (
            f"expected {name} to be made with {show(dict(arguments))}, got {type(error).__name__}: {error}; "
            "mend the module or the parameters"
        )
        raise ConfigError([Problem(file=place, message=message)]) from error


def refuse(kind: Kind, name: str, message: str) -> ConfigError:
    """Make the error of a registered thing that does not do what its kind must; names its place."""
    return ConfigError([Problem(file=_REGISTERED[kind, name].place, message=f"{name}: {message}")])


def module_of(spec: Spec) -> str | None:
    """Return the module that registered what a config names; None for what is ours."""
    if not isinstance(spec, Extra):
        return None
    return str(_REGISTERED[spec.kind, spec.name].factory.__module__)


def find_place(error: BaseException) -> str | None:
    """Return the innermost `file:line` of an exception that lies in a module of the user, or None."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f"{at.filename}:{at.lineno}" for at in reversed(frames) if at.filename in _FILES), None)


def accept(kind: Kind, name: object, arguments: Mapping[str, object], info: ValidationInfo) -> str:
    """Return a name that is none of ours if a module brings it.

    Raises:
        PydanticCustomError: Nobody registered it, and none is expected to.
        ValueError: Its factory does not take these parameters.
    """
    entry = _REGISTERED.get((kind, name)) if isinstance(name, str) else None
    if entry is None and isinstance(name, str) and (info.context or {}).get(EXPECTING):
        return name
    if entry is None or not isinstance(name, str):
        raise PydanticCustomError(
            "name_unknown", "expected one of the known names", {"registered": registered(kind)}
        )
    signature = inspect.signature(entry.factory)
    try:
        signature.bind(**dict.fromkeys(GIVEN[kind]), **arguments)
    except TypeError as error:
        raise ValueError(
            f"expected the parameters of {name}{signature} in {entry.place}, got {error}; "
            f"given are {', '.join([*GIVEN[kind], *arguments]) or 'none'}"
        ) from error
    return name


class Extra(Spec):
    """A name of the user's own. Mixed into what its place in the config takes besides."""

    is_extra = True
    kind: ClassVar[Kind]

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    """The parameters that the trainer does not read itself; the factory gets them by name."""

    @property
    def label(self) -> str:
        """The name in the config."""
        return self.name

    @model_validator(mode="before")
    @classmethod
    def _split(cls, item: Any, info: ValidationInfo) -> Any:  # whatever YAML gave
        if not isinstance(item, dict):
            return item
        name, parameters = item.get("name"), {key: value for key, value in item.items() if key != "name"}
        if cls.kind in ("op", "loss", "metric") or (cls.kind == "optimizer" and "name" not in item):
            name, parameters = next(iter(item.items()))
            if not isinstance(parameters, dict | None):
                raise ValueError(f"expected a mapping of parameters, got {show(parameters)}")
            parameters = parameters or {}
        own = {key for key in cls.model_fields if key not in ("name", "arguments")}
        arguments = {key: value for key, value in parameters.items() if key not in own}
        read = {key: value for key, value in parameters.items() if key in own}
        return {**read, "name": accept(cls.kind, name, arguments, info), "arguments": arguments}


def make_extra(spec: Extra, **given: object) -> Any:  # the user's own
    """Make what a config names; `given` are the arguments of `GIVEN`.

    Raises:
        ConfigError: The factory raised; says where in the user's code.
    """
    return make(spec.kind, spec.name, spec.arguments, **given)


def _place(factory: Callable[..., Any]) -> str:
    try:
        target = inspect.unwrap(factory)
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (TypeError, OSError):  # made by something that has no source
        return f"{getattr(factory, '__module__', '?')}:0"


class ExtraOp(Extra, ImageOp):
    """An operation of the user's own, which may stand wherever its author says."""

    kind = "op"
    channels_last: ClassVar[bool] = False
    whole_numbers: ClassVar[bool] = False

    def size_after(self, given: Pixels | None) -> Pixels | None:
        """Its author knows."""
        del given
        return None


class ExtraLoss(Extra, BaseLoss):
    """A loss of the user's own."""

    kind = "loss"


class ExtraMetric(Extra, BaseMetric):
    """A metric of the user's own."""

    kind = "metric"


class ExtraArch(Extra, BaseArch):
    """An architecture of the user's own."""

    kind = "model"


class ExtraOptimizer(Extra):
    """An optimizer of the user's own."""

    kind = "optimizer"

    lr: Schedule
    scope: str = "all"
