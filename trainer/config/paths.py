"""Which keys of a config hold paths. A closed list: nothing else is ever mapped or checked as a path."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trainer.config.problems import KeyPath

PATH_KEYS = frozenset(
    {
        "image_root", "cls_label_path", "sample_list_path", "label_list", "output_dir", "pretrained",
        "pretrained_model", "checkpoints", "save_inference_dir", "infer_imgs", "infer_list",
        "class_id_map_file", "save_dir",
    }
)  # fmt: skip


LIST_KEYS = ("cls_label_path", "sample_list_path")
"""Those of a split's list, with labels and without."""


def find_lists(values: object) -> Iterator[tuple[KeyPath, str]]:
    """Yield the lists that are trained and evaluated on, each with its key path."""
    for key, path in find_paths(values):
        if key[0] == "DataLoader" and key[-1] in LIST_KEYS:
            yield key, path


def find_paths(values: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield every path-typed value with its key path. URLs and the `Launch` section are none."""
    if isinstance(values, dict):
        for key, value in values.items():
            if (path, key) == ((), "Launch"):
                continue
            if key in PATH_KEYS and isinstance(value, str) and "://" not in value:
                yield (*path, key), value
            else:
                yield from find_paths(value, (*path, key))
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from find_paths(value, (*path, index))


def map_paths(values: dict[str, object], change: Callable[[str], str]) -> dict[str, object]:
    """Return a copy in which every path-typed value went through `change`."""
    mapped = _map(values, dict(find_paths(values)), (), change)
    assert isinstance(mapped, dict)
    return mapped


def map_weights(values: dict[str, object], change: Callable[[str], str]) -> dict[str, object]:
    """Return a copy in which `Launch.weights.path`, which the trainer reads too, went through `change`."""
    launch = values.get("Launch")
    weights = launch.get("weights") if isinstance(launch, dict) else None
    path = weights.get("path") if isinstance(weights, dict) else None
    if not isinstance(launch, dict) or not isinstance(weights, dict) or not isinstance(path, str):
        return values
    return {**values, "Launch": {**launch, "weights": {**weights, "path": change(path)}}}


def _map(value: object, found: dict[KeyPath, str], path: KeyPath, change: Callable[[str], str]) -> object:
    if path in found:
        return change(found[path])
    if isinstance(value, dict):
        return {key: _map(item, found, (*path, key), change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map(item, found, (*path, index), change) for index, item in enumerate(value)]
    return value
