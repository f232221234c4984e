"""What is unusual about a config and its lists: said by `trainer check`, and no reason to refuse them."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from trainer.config.list_doubts import find_list_doubts, measure_list
from trainer.config.pipeline import find_size
from trainer.config.problems import format_path
from trainer.config.rates import find_rate_doubts
from trainer.config.root import TrainConfig
from trainer.config.step_memory import StepEstimate, find_memory_doubts
from trainer.engine.setup import Lists, make_train_loader, say_of_epochs
from trainer.errors import DataError
from trainer.protocol.limits import free_memory, parse_bytes, usable_cores
from trainer.ranks import Ranks

_SHOWN = 5
_MOST_RANKS = 100_000
_SHM = "/dev/shm"  # noqa: S108 - no temporary file: what NCCL maps
_SHARED = 64 << 20  # what container runtimes give; NCCL fails with less


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What a training would run on.

    Attributes:
        ranks: Processes in all.
        cores: That this process may use.
        shared_memory: Size of /dev/shm in bytes; None where there is none.
        memory: Bytes that this process may still take; None where nobody knows.
        gpu_memory: Bytes of one GPU; None where there is none.
    """

    ranks: int
    cores: int
    shared_memory: int | None
    memory: int | None = None
    gpu_memory: int | None = None


def read_machine(ranks: int) -> Machine:
    """Measure this machine."""
    try:
        found = os.statvfs(_SHM)
        size = found.f_blocks * found.f_frsize
    except OSError:
        size = None
    cores = max(1, int(usable_cores()))
    gpu = None
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        gpu = int(paddle.device.cuda.get_device_properties().total_memory)
    return Machine(ranks=ranks, cores=cores, shared_memory=size, memory=free_memory(), gpu_memory=gpu)


def lint_config(config: TrainConfig, lists: Lists, machine: Machine | None = None) -> Iterator[str]:
    """Yield a sentence for each: `where: expected X, got Y; what to do`."""
    machine = machine or read_machine(1)
    yield from _empty_classes(config, lists)
    yield from _disagreeing_sizes(config)
    yield from _doubts(config, lists, machine)
    yield from _narrow_machine(config, machine)
    yield from _few_for_the_job(config, lists, machine)
    yield from _images_in_both(lists)
    yield from say_of_epochs(
        config.run, make_train_loader(config, lists, ranks=Ranks(world_size=machine.ranks))
    )
    for samples in (lists.train, lists.evaluation):
        yield from samples.notes if samples is not None else ()


def _doubts(config: TrainConfig, lists: Lists, machine: Machine) -> Iterator[str]:
    """Say where rate, weights, length of the training and the list contradict each other."""
    labels = lists.train.labels
    classes = labels.tolist() if labels is not None and labels.ndim == 1 else []
    facts = measure_list(len(lists.train), classes)
    for path, said in (
        *find_rate_doubts(config, ranks=machine.ranks),
        *find_list_doubts(config, facts, ranks=machine.ranks),
    ):
        yield f"{format_path(path)}: {said}"


def lint_memory(estimate: StepEstimate | None, config: TrainConfig, machine: Machine) -> Iterator[str]:
    """Say where a step takes more memory than there is, as far as sizes of layers tell.

    Args:
        estimate: Of a step; None where nothing is known.
        config: Checked.
        machine: What there is.
    """
    launch = _launch(config)
    on_gpu = machine.gpu_memory is not None or bool(launch.get("gpus"))
    wanted, each = launch.get("resources"), launch.get("procs_per_node")
    limit = wanted.get("memory") if isinstance(wanted, dict) else None
    pod = parse_bytes(str(limit)) if limit is not None and not on_gpu else None
    if pod is not None and isinstance(each, int) and each > 1:
        pod //= each
    room = machine.gpu_memory if on_gpu else pod or machine.memory
    whose = "of the GPU" if on_gpu else "of Launch.resources.memory" if pod else "that are free here"
    for path, said in find_memory_doubts(estimate, config, room=room, whose=whose, on_gpu=on_gpu):
        yield f"{format_path(path)}: {said}"


def _narrow_machine(config: TrainConfig, machine: Machine) -> Iterator[str]:
    workers = config.data.Train.loader.num_workers
    if workers != "auto" and workers * machine.ranks > 2 * machine.cores:
        each = f" in each of {machine.ranks} ranks" if machine.ranks > 1 else ""
        yield (
            "DataLoader.Train.loader.num_workers: expected about as many reader processes as cores, which "
            f"are {machine.cores}, got {workers}{each}; more of them wait for each other"
        )
    size = machine.shared_memory
    if machine.ranks > 1 and size is not None and size < _SHARED:
        yield (
            f"{_SHM}: expected {_SHARED >> 20} MiB for several ranks, got {size >> 20}; see --shm-size of "
            "docker run, or Launch.resources.shm"
        )


def _empty_classes(config: TrainConfig, lists: Lists) -> Iterator[str]:
    for split, samples in (("Train", lists.train), ("Eval", lists.evaluation)):
        if samples is None:
            continue
        classes = config.arch.class_num
        missing = sorted(set(range(classes)) - samples.present_classes())
        if missing:
            yield (
                f"DataLoader.{split}: expected images of all {classes} classes of Arch.class_num, "
                f"got none of {_shown([str(label) for label in missing])}"
            )


def _disagreeing_sizes(config: TrainConfig) -> Iterator[str]:
    sizes: dict[str, tuple[int, int]] = {}
    parts = [("DataLoader.Train", config.data.Train.dataset.transform_ops)]
    if config.data.Eval is not None:
        parts.append(("DataLoader.Eval", config.data.Eval.dataset.transform_ops))
    if config.infer is not None:
        parts.append(("Infer", config.infer.transforms))
    for where, ops in parts:
        found = find_size(ops)
        if found is not None:
            sizes[where] = found[1]
    if config.run.image_shape is not None:
        sizes["Global.image_shape"] = (config.run.image_shape[2], config.run.image_shape[1])
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{where} {width} × {height}" for where, (width, height) in sizes.items())
        yield f"image size: expected the same everywhere, got {said}; `trainer predict` suffers"


def _few_for_the_job(config: TrainConfig, lists: Lists, machine: Machine) -> Iterator[str]:
    """Look at a step of as many ranks as `Launch` asks for, where that is more than train here."""
    wanted = _launch(config)
    nodes, gpus, each = (wanted.get(key) for key in ("nodes", "gpus", "procs_per_node"))
    each = each if isinstance(each, int) else gpus
    ranks = max(1, nodes if isinstance(nodes, int) else 1) * max(1, each if isinstance(each, int) else 1)
    if not machine.ranks < ranks <= _MOST_RANKS:
        return
    try:
        make_train_loader(config, lists, ranks=Ranks(world_size=ranks))
    except DataError as error:
        yield f"with the {ranks} ranks of Launch: {error}"


def _launch(config: TrainConfig) -> Mapping[str, Any]:
    section = (config.model_extra or {}).get("Launch")
    return section if isinstance(section, dict) else {}


def _images_in_both(lists: Lists) -> Iterator[str]:
    """Compare contents, but only of files whose sizes are equal."""
    if lists.evaluation is None:
        return
    by_size: dict[int, list[str]] = defaultdict(list)
    for path in lists.train.paths:
        by_size[Path(path).stat().st_size].append(path)
    trained: dict[int, dict[bytes, str]] = {}
    found = []
    for path in lists.evaluation.paths:
        size = Path(path).stat().st_size
        if size not in by_size:
            continue
        if size not in trained:
            trained[size] = {_digest(other): other for other in by_size[size]}
        if (same := trained[size].get(_digest(path))) is not None:
            found.append(f"{path} is {same}")
    if found:
        yield (
            f"DataLoader.Eval: expected images that are not trained on, got {len(found)} that are: "
            f"{_shown(found)}; leave them out of one list"
        )


def _digest(path: str) -> bytes:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()


def _shown(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", …" if len(items) > _SHOWN else "")
