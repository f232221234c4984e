"""What is doubtful about a config and its lists before anything is sent, as `trainer check` says it.

What `check` finds follows from the config, from facts of its training list, and from what a step takes of
memory. Lists are read where they are on this machine, and their facts kept by size and time of the file;
what a step takes is known once `trainer check`, `fit-batch` or `init` has estimated it. So a submit waits for
neither Paddle nor images.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind
from launcher.runs.paths import cache_dir
from trainer.protocol.environment import WORKSPACE
from trainer.protocol.lists import Grammar, Labels, ListError, read_list
from trainer.protocol.pathmap import PathMap
from trainer.protocol.safe_files import make_private_folder, read_file, replace_file

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.config.load import RunConfig
    from trainer.config.list_doubts import ListFacts
    from trainer.config.problems import KeyPath, Problem

_FILE = "lists.json"
_KEPT, _MAX_BYTES = 32, 16 << 20
_MOST_BYTES = 64 << 20
"""Of a list that a submit reads: a million lines, which take it a second."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Listed:
    """What is known of a list: its facts, how many of its lines are bad, and the first of them."""

    facts: ListFacts
    bad: int
    first: str


def find_doubts(
    config: RunConfig,
    *,
    on: BackendKind | None,
    folders: Mapping[str, Path] | None = None,
    all_lists: bool = False,
) -> list[Problem]:
    """Return what `trainer check` would warn of, as far as that is known here without Paddle.

    Args:
        config: Checked.
        on: Where it is to run; None where that is not said.
        folders: What stands for the mounts on this machine, by `find_host_folders`; None for what the config
            says itself (`local`).
        all_lists: Read lists of any length; else one of more than 64 MiB that is new is said and left out.
    """
    from trainer.config.rates import find_rate_doubts

    launch = config.job.launch
    each = launch.procs_per_node if isinstance(launch.procs_per_node, int) else max(1, launch.gpus)
    ranks = launch.max_nodes * each
    found = [
        config.document.problem(place, said, warning=True)
        for place, said in (*find_rate_doubts(config.job, ranks=ranks), *_memory(config, on, each))
    ]
    return [*found, *_list_doubts(config, folders, ranks=ranks, all_lists=all_lists)]


def _memory(config: RunConfig, on: BackendKind | None, each: int) -> Iterator[tuple[KeyPath, str]]:
    """Say where a step does not fit, by what an earlier command has estimated. GPUs are not known here."""
    from trainer.config.step_memory import StepMemory, find_memory_doubts
    from trainer.protocol.limits import free_memory, parse_bytes

    launch = config.job.launch
    if launch.gpus:
        return
    said = launch.resources.memory
    room = parse_bytes(str(said)) if said is not None else None
    whose = "of Launch.resources.memory"
    if room is None and on is not None and not CAPABILITIES[on].is_cluster:
        room, whose = free_memory(), "that are free here"
    if room is not None and each > 1:
        room, whose = room // each, f"{whose}, for each of {each} ranks"
    yield from find_memory_doubts(StepMemory().find(config.job), config.job, room=room, whose=whose)


def _list_doubts(
    config: RunConfig, folders: Mapping[str, Path] | None, *, ranks: int, all_lists: bool
) -> Iterator[Problem]:
    from trainer.config.data import listed_by
    from trainer.config.list_doubts import find_list_doubts
    from trainer.config.mounts import find_mounts_here

    if folders is None:
        here = find_mounts_here(config.document).path_map
    else:
        mounts = {mount: str(folder) for mount, folder in folders.items()}
        here = PathMap({WORKSPACE: str(Path.cwd()), **mounts})
    path, grammar = listed_by(config.job.data.Train.dataset)
    file = Path(here.apply(path))
    place = ("DataLoader", "Train", "dataset", _key_of(grammar))
    try:
        size = file.stat().st_size if file.is_file() else None
    except (OSError, ValueError):
        return
    if size is None:
        return
    listed = _recall(file, grammar)
    if listed is None and size > _MOST_BYTES and not all_lists:
        text = f"{file} has {size:,} bytes, and was not looked at; `ftlaunch validate` does"
        yield config.document.problem(place, text, warning=True)
        return
    if listed is None:
        try:
            listed = _read(file, grammar, config.job.arch.class_num)
        except ListError as error:
            yield config.document.problem(place, str(error), warning=True)
            return
        _keep(file, grammar, listed)
    if listed.bad:
        more = f", and {listed.bad - 1} more like it" if listed.bad > 1 else ""
        said = f"{listed.first}{more}; a training refuses the list, and `trainer check` names every line"
        yield config.document.problem(place, said, warning=True)
    for key, said in find_list_doubts(config.job, listed.facts, ranks=ranks):
        yield config.document.problem(key, f"{said} ({file})", warning=True)


def _key_of(grammar: Grammar) -> str:
    return "sample_list_path" if grammar.labels is Labels.NONE else "cls_label_path"


def _read(file: Path, grammar: Grammar, class_num: int) -> _Listed:
    """Read a list, without looking for its images.

    Raises:
        ListError: It cannot be read at all.
    """
    from trainer.config.list_doubts import measure_list

    listed = read_list(str(file), grammar, class_num=class_num)
    labels = [
        label
        for number, label in enumerate(listed.labels, start=1)
        if isinstance(label, int) and number not in listed.problems
    ]
    has_classes = grammar.labels is Labels.ONE
    return _Listed(
        facts=measure_list(len(listed.names) - len(listed.problems), labels if has_classes else ()),
        bad=len(listed.problems),
        first=next(listed.refusals(), ""),
    )


def _mark(file: Path, grammar: Grammar) -> str:
    about = file.stat()
    return repr((about.st_size, about.st_mtime_ns, about.st_ino, grammar))


def _folder() -> Path:
    return cache_dir() / "lists"


def _load() -> dict[str, dict[str, object]]:
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        found = json.loads(read_file(_folder() / _FILE, max_bytes=_MAX_BYTES))
        if isinstance(found, dict):
            return {path: entry for path, entry in found.items() if isinstance(entry, dict)}
    return {}


def _recall(file: Path, grammar: Grammar) -> _Listed | None:
    """Return what was found of a list that has not changed; None where it is not known."""
    from trainer.config.list_doubts import ListFacts

    entry = _load().get(str(file.resolve()))
    with contextlib.suppress(OSError, KeyError, TypeError, ValueError, AttributeError):
        if entry is not None and entry["mark"] == _mark(file, grammar):
            numbers = {name: _ints(entry[name]) for name in ("counts", "runs")}
            facts = ListFacts(images=int(str(entry["images"])), **numbers)
            return _Listed(facts=facts, bad=int(str(entry["bad"])), first=str(entry["first"]))
    return None


def _ints(table: object) -> dict[int, int]:
    if not isinstance(table, dict):
        raise TypeError("expected an object")
    return {int(key): int(value) for key, value in table.items()}


def _keep(file: Path, grammar: Grammar, listed: _Listed) -> None:
    """Remember what was found; what cannot be kept is found anew."""
    facts = listed.facts
    with contextlib.suppress(OSError, RuntimeError):
        known = _load()
        path = str(file.resolve())
        known.pop(path, None)
        known[path] = {
            "mark": _mark(file, grammar),
            "images": facts.images,
            "counts": dict(facts.counts),
            "runs": dict(facts.runs),
            "bad": listed.bad,
            "first": listed.first,
        }
        make_private_folder(_folder())
        newest = dict(list(known.items())[-_KEPT:])
        replace_file(_folder() / _FILE, json.dumps(newest).encode("utf-8"))
