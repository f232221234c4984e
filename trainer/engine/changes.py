"""What a config asks for that a checkpoint was not trained with; said when a run goes on from it.

Each checkpoint holds the settings that made it, as one flat table of keys and plain values: the checked
config with its defaults, so that a default written out is no change, and what the lists held. Where a run
goes on, the table of now is held against it. Keys that change nothing of what is learnt (where output goes,
how many readers there are) are left out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainer.config.data import CustomLabelDataset, SplitSection
from trainer.config.root import TrainConfig

Plain = str | int | float | bool | None
Settings = Mapping[str, Plain]
"""Dotted key -> value, such as `Global.epochs` -> 20."""

CLASS_NAMES = "class names"
"""Key of the names in the order of their numbers, a line each."""
_CONTENT = "DataLoader.{}: content of the list"
_UNREADABLE = "unreadable"
_SHOWN = 20
_SECTIONS = ("Global", "Arch", "Loss", "Optimizer", "DataLoader", "Metric", "AMP", "EMA")
_NO_MATTER = frozenset({
    "Global.checkpoints", "Global.output_dir", "Global.save_inference_dir", "Global.print_batch_step",
    "Global.use_visualdl", "Global.print_mem_info", "Global.log_ranks", "Global.save_interval",
    "Global.uniform_output_enabled", "Global.export_for_fd", "Global.image_shape", "Global.device",
    "Global.save_every_steps", "Global.save_every_minutes", "Global.keep_latest", "Global.keep_best",
    "Global.keep_every", "Global.on_save_error", "Global.report",
    "Global.pretrained_model", "Arch.pretrained", "num_workers", "use_shared_memory", "image_root",
    "cls_label_path", "sample_list_path", "normalize_on", "cache", "cache_size", "cache_dir",
})  # fmt: skip
"""Whole keys, and last parts of keys of `DataLoader`; of the lists their content counts, not their place."""
_SAME_RATE = 1e-3
_FOREIGN_RATE = 2.0


def describe_settings(config: TrainConfig, *, world_size: int, names: Sequence[str] = ()) -> dict[str, Plain]:
    """Return the settings of a training.

    Args:
        config: Checked; its lists can be read.
        world_size: Number of ranks.
        names: Of the classes, in the order of their numbers; none where they are not known.
    """
    settings: dict[str, Plain] = {"ranks": world_size}
    if names:
        settings[CLASS_NAMES] = "\n".join(names)
    document = config.model_dump(mode="json", by_alias=True)
    for section in _SECTIONS:
        for key, value in _flatten(section, document.get(section)):
            last = key.rpartition(".")[2]
            if key not in _NO_MATTER and not (section == "DataLoader" and last in _NO_MATTER):
                settings[key] = value
    for split, part in (("Train", config.data.Train), ("Eval", config.data.Eval)):
        if part is not None:
            settings[_CONTENT.format(split)] = _digest(_list_of(part))
    return settings


def find_changed_lists(config: TrainConfig, settings: Settings) -> list[str]:
    """Return which lists, of Train and Eval, hold something else than in the training of a checkpoint.

    Args:
        config: Checked. A list that cannot be read here is not among them.
        settings: Of the checkpoint; where they do not tell of a list, it is not among them.
    """
    found = []
    for split, part in (("Train", config.data.Train), ("Eval", config.data.Eval)):
        before = settings.get(_CONTENT.format(split))
        if part is not None and before is not None and _digest(_list_of(part)) not in (before, _UNREADABLE):
            found.append(split)
    return found


def _list_of(part: SplitSection) -> Path:
    listed = part.dataset
    return Path(listed.sample_list_path if isinstance(listed, CustomLabelDataset) else listed.cls_label_path)


def list_changes(before: Settings, now: Settings) -> list[str]:
    """Return a line for each setting that differs: `key: 20, was 10`; the first 20, and how many more."""
    keys = [*now, *(key for key in before if key not in now)]
    lines = [
        f"{key}: {_show(now, key)}, was {_show(before, key)}"
        for key in keys
        if (before.get(key) != now.get(key) or (key in before) != (key in now))
        and not (key not in before and (now[key] is None or _is_default(key, now[key])))
    ]
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _is_default(key: str, value: Plain) -> bool:
    """Tell whether a key has its default; one that a checkpoint lacks is younger than it."""
    section: type[BaseModel] = TrainConfig
    *outer, last = key.split(".")
    for name in outer:
        field = _field(section, name)
        inner = _section_of(field.annotation) if field is not None else None
        if inner is None:
            return False
        section = inner
    field = _field(section, last)
    return field is not None and value == field.get_default(call_default_factory=False)


def _field(section: type[BaseModel], name: str) -> FieldInfo | None:
    for own_name, field in section.model_fields.items():
        if name == (field.alias or own_name):
            return field
    return None


def _section_of(annotation: object) -> type[BaseModel] | None:
    """Return the section that a field holds, which may be optional; None of other fields, and of choices."""
    sections = [
        part
        for part in (get_args(annotation) or (annotation,))
        if isinstance(part, type) and issubclass(part, BaseModel)
    ]
    return sections[0] if len(sections) == 1 else None


def find_jumps(before: Sequence[float], now: Sequence[float], *, foreign: bool) -> Iterator[str]:
    """Yield a sentence for each learning rate that goes on elsewhere than the checkpoint ended.

    Args:
        before: That the next step would have used, of each optimizer; of PaddleClas 0 where it is not known.
        now: That the next step will use.
        foreign: PaddleClas wrote the checkpoint: its rate is of another moment, so that only jumps by more
        than
            twice are worth a word.
    """
    for index, (old, new) in enumerate(zip(before, now, strict=False)):
        # The end of most schedules is 0, from which every rate is a jump; of PaddleClas 0 is an unknown one.
        larger, smaller = max(old, new), min(old, new)
        if larger > (_FOREIGN_RATE if foreign else 1 + _SAME_RATE) * smaller and not (foreign and not old):
            which = f" of optimizer {index}" if len(now) > 1 else ""
            yield (
                f"warning: the learning rate{which} jumps from {old:.6g}, which the checkpoint's next step "
                f"would have used, to {new:.6g}: the schedule's length or rate changed"
            )


def _flatten(key: str, value: object) -> Iterator[tuple[str, Plain]]:
    if isinstance(value, BaseModel):  # of a user's own spec, which JSON leaves as it is
        value = value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping) and value:
        for inner, item in value.items():
            yield from _flatten(f"{key}.{inner}", item)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        for index, item in enumerate(value):
            yield from _flatten(f"{key}.{index}", item)
    elif value is None or isinstance(value, str | int | float | bool):
        yield key, value if not isinstance(value, float) or math.isfinite(value) else str(value)
    else:
        yield key, str(value)


def _digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    except OSError:
        return _UNREADABLE


def _show(settings: Settings, key: str) -> str:
    if key not in settings:
        return "nothing"
    value = settings[key]
    text = "null" if value is None else str(value).replace("\n", ", ")
    return text if len(text) <= 60 else text[:59] + "…"
