"""What is done before a training: lists, image sizes and weights made ready, a config checked, a rate found.

As `trainer.api`: plain functions, nothing printed, errors of one tree. Those that need no Paddle import none.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.api import weights_store
from trainer.config.archs import SINGLE_ARCHS
from trainer.config.document import Document
from trainer.config.overrides import Overrides, spell_overrides
from trainer.config.problems import ConfigError, Problem, suggest
from trainer.config.zoo import find_foreign, is_installed, lacks_package
from trainer.loading import ConfigSource, LoadOptions, Say, load
from trainer.process_state import process_kept
from trainer.progress import NO_PROGRESS, Progress
from trainer.protocol.lastrun import JOB_MARK
from trainer.protocol.pathmap import PathMap
from trainer.ranks import read_ranks
from trainer.results import CheckResult

if TYPE_CHECKING:  # numpy and paddle
    from trainer.checkpoints.pdfiles import Array
    from trainer.config.resize import Change
    from trainer.data.make_lists import ListsReport, Read
    from trainer.engine.lr_finder import LrFindResult
    from trainer.engine.profiling import Profile

__all__ = [
    "check", "convert_weights", "fetch_weights", "find_rate", "inspect_weights", "list_weights", "make_lists",
    "profile_steps", "require_arch", "resize",
]  # fmt: skip

_LOG = logging.getLogger("trainer")


def check(
    config: ConfigSource,
    *,
    set: Overrides = (),
    images: int | None = 32,
    config_only: bool = False,
    weights_dir: str | Path | None = None,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> CheckResult:
    """Check a config and what it names, without training.

    Args:
        config: The config.
        set: Changes of it.
        images: So many of each list are decoded, spread evenly; None for all.
        config_only: Read neither lists nor images nor weights. Needs no Paddle.
        weights_dir: As for `train`.
        strict: As for `train`.
        extra_modules: As for `train`.
        warn: Told what is odd about the config while it is read.
        progress: Is told of every image.

    Raises:
        ConfigError: The config is refused; holds all problems.
        DataError: Lists or images are refused; holds all problems.
        WeightsError: Pretrained weights cannot be had or used.
        CheckpointError: A checkpoint to go on from is missing.
    """
    options = LoadOptions(
        overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules), computes=False,
        new_run=_any_run,
    )  # fmt: skip
    ranks = read_ranks()
    loaded = load(config, options, ranks, warn=warn)
    arch = loaded.config.arch
    if config_only:
        foreign = [] if is_installed() else find_foreign(arch)
        odd = (
            str(loaded.document.problem(path, lacks_package(name), warning=True)) for path, name in foreign
        )
        return CheckResult(arch=arch.name, classes=arch.class_num, warnings=tuple(odd))
    with process_kept():
        from trainer.data.image_cache import ImageCache
        from trainer.engine.image_report import read_images
        from trainer.engine.lint import lint_config, lint_memory, read_machine
        from trainer.engine.model_check import check_model
        from trainer.engine.resume import refuse_missing_checkpoint
        from trainer.engine.setup import prepare

        lists = prepare(loaded.config, ranks)
        refuse_missing_checkpoint(loaded.config.run)
        with contextlib.closing(ImageCache()) as cache:
            progress.begin("reading images", lists.size if images is None else min(images * 2, lists.size))
            decoded = read_images(loaded.config, lists, count=images, cache=cache, done=progress.advance)
        machine = read_machine(ranks.world_size)
        findings = [*lint_config(loaded.config, lists, machine)]
        model = check_model(loaded.config, weights_store(weights_dir, offline=True))
        findings += lint_memory(model.estimate, loaded.config, machine)
    return CheckResult(
        arch=arch.name, classes=arch.class_num, train=len(lists.train),
        evaluation=len(lists.evaluation) if lists.evaluation is not None else 0,
        images=str(decoded), model=str(model), warnings=(*decoded.warnings, *map(str, findings)),
    )  # fmt: skip


def _any_run(document: Document) -> str:
    """Stand for the run that is to come: what checks a config is about none of those that were."""
    del document
    return JOB_MARK


def find_rate(
    config: ConfigSource,
    *,
    set: Overrides = (),
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    weights_dir: str | Path | None = None,
    offline: bool = False,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    say: Say = _LOG.info,
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> LrFindResult:
    """Train some steps while the learning rate grows, and propose one; writes nothing.

    Args:
        config: The config.
        set: Changes of it.
        low: Rate of the first step, above 0.
        high: Rate of the last, where the loss does not grow before.
        steps: At most so many, 20 or more.
        weights_dir: As for `train`.
        offline: As for `train`.
        strict: As for `train`.
        extra_modules: As for `train`.
        say: Told what is downloaded.
        warn: Told what is odd about config and lists.
        progress: Is told of every step.

    Returns:
        Rates, losses and proposals; no proposal where the loss is flat.

    Raises:
        ValueError: `low` is not below `high`, or not above 0.
        TrainerError: As for `train`.
    """
    if not 0 < low < high:
        raise ValueError(f"low, high: expected 0 < low < high, got {low:g} and {high:g}")
    options = LoadOptions(
        overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules), path_map=PathMap()
    )
    with process_kept():
        loaded = load(config, options, read_ranks(), warn=warn)
        from trainer.engine.lr_finder import find_rate as run_test

        progress.begin("steps", steps)
        return run_test(
            loaded.config, low=low, high=high, steps=steps, store=weights_store(weights_dir, offline=offline),
            report=lambda _: progress.advance(), say=say,
        )  # fmt: skip


def profile_steps(
    config: ConfigSource,
    *,
    set: Overrides = (),
    steps: int = 20,
    trace: str | Path = "trace.json",
    weights_dir: str | Path | None = None,
    offline: bool = False,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    say: Say = _LOG.info,
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> Profile:
    """Train some steps, and say where their time goes.

    Args:
        config: The config.
        set: Changes of it.
        steps: How many are measured, 1 or more.
        trace: File for chrome://tracing or Perfetto; the only one that is written.
        weights_dir: As for `train`.
        offline: As for `train`.
        strict: As for `train`.
        extra_modules: As for `train`.
        say: Told what is downloaded.
        warn: Told what is odd about config and lists.
        progress: Is told of every step.

    Raises:
        TrainerError: As for `train`; CheckpointError where the trace cannot be written.
    """
    options = LoadOptions(
        overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules), path_map=PathMap()
    )
    with process_kept():
        loaded = load(config, options, read_ranks(), warn=warn)
        from trainer.engine.profiling import profile_steps as run_steps

        progress.begin("steps", steps)
        return run_steps(
            loaded.config, steps=steps, trace=Path(trace), store=weights_store(weights_dir, offline=offline),
            report=progress.advance, say=say,
        )  # fmt: skip


def make_lists(
    folder: str | Path,
    *,
    val: float = 0.2,
    test: float = 0.0,
    folds: int = 0,
    groups: str | None = None,
    seed: int = 0,
    read: bool = True,
    overwrite: bool = False,
    progress: Progress = NO_PROGRESS,
) -> ListsReport:
    """Write train_list.txt, val_list.txt and labels.txt for a folder of images.

    Args:
        folder: One folder of images for each class; or train/, val/ and test/, each with such folders.
        val: Share of each class to hold out, above 0 and below 1; not used with a validation folder or folds.
        test: Share of each class for test_list.txt; 0 for none.
        folds: Parts that are held out in turns, 2 or more; 0 for none.
        groups: Regular expression that names, in each path, what must not be torn apart; None for none.
        seed: Of the choice.
        read: Decode every image and leave out those that cannot be read; without OpenCV none is read, and
            the report says so.
        overwrite: Replace lists that are there.
        progress: Is told of every image.

    Raises:
        DataError: The folder is refused, or a list cannot be written; nothing was changed then.
    """
    from trainer.data.make_lists import make_lists as write_lists

    with _image_reader(Path(folder), read=read, progress=progress) as reader:
        return write_lists(
            Path(folder), val=val, test=test, folds=folds, groups=groups, seed=seed, overwrite=overwrite,
            read=reader,
        )  # fmt: skip


@contextlib.contextmanager
def _image_reader(folder: Path, *, read: bool, progress: Progress) -> Iterator[Read | None]:
    """Make what reads images; None where none is to be read, or in an installation of the launcher alone."""
    try:
        from trainer.data.image_cache import ImageCache
        from trainer.data.image_check import check_images
    except ModuleNotFoundError:
        read = False
    if not read:
        yield None
        return
    with contextlib.closing(ImageCache()) as cache:
        progress.begin("reading images", sum(len(names) for _, _, names in os.walk(folder)))

        def find_bad(paths: Sequence[str]) -> Mapping[str, str]:
            found = check_images(paths, cache=cache, done=progress.advance)
            return {path: verdict.problem for path, verdict in found.items() if verdict.problem}

        yield find_bad


def resize(config: str | Path, size: int, *, dry_run: bool = False) -> tuple[Change, ...]:
    """Set the side of the images in all places of a config that must agree; comments stay as they are.

    Args:
        config: The file, which is replaced.
        size: Side in pixels, at least 8.
        dry_run: Change nothing.

    Returns:
        What was changed, or would be; empty where all sizes are that already.

    Raises:
        ConfigError: It is no config, has no size, or has images that are no squares.
    """
    from trainer.config.load import read_content
    from trainer.config.resize import resize as set_size
    from trainer.protocol.safe_files import replace_file

    path = Path(config)
    content, changes = set_size(read_content(path), size, name=str(path))
    if changes and not dry_run:
        replace_file(path, content)
    return changes


def list_weights(
    part: str = "", *, weights_dir: str | Path | None = None, offline: bool = False
) -> dict[str, Path | str | None]:
    """Return the architectures whose name holds `part`, each with where its weights are.

    Returns:
        A file that is here, else the address that they are published at, else None.
    """
    from trainer.models.published import published_url

    store = weights_store(weights_dir, offline=offline)
    found: dict[str, Path | str | None] = {}
    for name in SINGLE_ARCHS.names():
        if part.lower() in name.lower():
            url = published_url(name, use_ssld=False)
            found[name] = (store.find(url) or url) if url else None
    return found


def fetch_weights(
    name: str,
    *,
    ssld: bool = False,
    weights_dir: str | Path | None = None,
    offline: bool = False,
    say: Say = _LOG.info,
) -> Path:
    """Download weights unless they are here, and return their file.

    Args:
        name: An architecture, or an address.
        ssld: Those that were distilled with SSLD, as `Arch.use_ssld` asks for.
        weights_dir: As for `trainer.api.train`.
        offline: Download nothing.
        say: Told what is downloaded.

    Raises:
        ConfigError: There is no such architecture.
        WeightsError: They are not published, or cannot be had.
    """
    from trainer.models.weights_store import address_of, is_url

    url = name if is_url(name) else address_of(require_arch(name), use_ssld=ssld)
    return weights_store(weights_dir, offline=offline).obtain(url, say=say)


def weights_of(config: str | Path) -> list[tuple[str, bool]]:
    """Return the architectures of a config that begin with published weights, and whether with SSLD's.

    Args:
        config: A PaddleClas config, which may lack what only training needs.

    Raises:
        ConfigError: It is refused.
    """
    from trainer.config.archs import DistillationArch
    from trainer.config.load import load_prediction_config

    arch = load_prediction_config(Path(config)).config.arch
    parts = arch.by_name.values() if isinstance(arch, DistillationArch) else [arch]
    return [(part.name, part.use_ssld) for part in parts if part.pretrained is True]


def inspect_weights(path: str | Path) -> dict[str, Array]:
    """Read a .pdparams or .safetensors without running code of it; return its arrays by key.

    Raises:
        WeightsError: There is no such file, or it is broken, unsafe or no table of arrays.
    """
    from trainer.models.weights import read_weights

    return read_weights(Path(path))


def convert_weights(source: str | Path, target: str | Path, *, overwrite: bool = False) -> int:
    """Write weights in the format that the ending of `target` names; return how many keys there are.

    Raises:
        WeightsError: The source cannot be read, or the target not be written.
    """
    from trainer.models.weights import convert_weights as convert

    return convert(Path(source), Path(target), overwrite=overwrite)


def require_arch(name: str) -> str:
    """Return the name of an architecture that there is.

    Raises:
        ConfigError: There is no such one; names what is near.
    """
    names = SINGLE_ARCHS.names()
    if name not in names:
        message = f"expected an architecture, got {name!r}{suggest(name, names)}"
        raise ConfigError([Problem(file="weights", message=message)])
    return name
