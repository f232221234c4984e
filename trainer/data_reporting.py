"""A report on lists and their images: which lists are meant, and what is read of them.

As `trainer.preparation`: plain functions, nothing printed, errors of one tree, no Paddle.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.config.overrides import Overrides, spell_overrides
from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.errors import DataError
from trainer.loading import ConfigSource, LoadOptions, Say, load
from trainer.progress import NO_PROGRESS, Progress
from trainer.ranks import read_ranks

if TYPE_CHECKING:  # numpy
    from trainer.config.root import TrainConfig
    from trainer.insight.data_report import ListSource, WrittenReport

__all__ = ["report_data"]

_LOG = logging.getLogger("trainer")


def report_data(
    lists: Sequence[str | Path] = (),
    *,
    config: ConfigSource | None = None,
    set: Overrides = (),
    root: str | Path | None = None,
    output: str | Path = "data-report",
    strict: bool = False,
    label_doubts: bool = False,
    extra_modules: Sequence[str] = (),
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> WrittenReport:
    """Read every image of a data set once, and say what is wrong with it.

    Args:
        lists: List files, the training's first; or one folder that has them, as `make_lists` writes them.
        config: What names the lists instead.
        set: Changes of the config.
        root: Folder that the paths of `lists` are relative to; None for each list's own.
        output: Folder for report.html, report.json and the cleaned lists.
        strict: As for `trainer.preparation.check`.
        label_doubts: Hold every label against a small classifier that has not seen it.
        extra_modules: As for `trainer.preparation.check`.
        warn: Told what is odd about the config while it is read.
        progress: Is told of every image.

    Raises:
        ConfigError: The config is refused.
        DataError: There are no lists, one cannot be read at all, or the report cannot be written. Bad lines
            and images are no errors: they are what the report is about.
    """
    from importlib.metadata import version

    from trainer.config.pipeline import find_size
    from trainer.data.image_cache import ImageCache
    from trainer.insight.data_report import read_splits
    from trainer.insight.data_report import report as write_report

    crop, path_map = None, None
    if config is None:
        sources = _sources_of(lists, root)
        max_pixels = MAX_IMAGE_PIXELS
    else:
        options = LoadOptions(
            overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules), computes=False
        )
        loaded = load(config, options, read_ranks(), warn=warn)
        sources = _sources_in(loaded.config)
        size = find_size(loaded.config.data.Train.dataset.transform_ops)
        crop, path_map = size[1] if size is not None else None, loaded.path_map
        max_pixels = loaded.config.run.max_image_pixels
    splits = read_splits(sources, path_map=path_map)
    with contextlib.closing(ImageCache()) as cache:
        return write_report(
            splits, Path(output), names=_names_beside(sources[0].path), crop=crop, max_pixels=max_pixels,
            version=version("ftlaunch"), cache=cache, progress=progress, label_doubts=label_doubts,
        )  # fmt: skip


def _sources_of(lists: Sequence[str | Path], root: str | Path | None) -> list[ListSource]:
    from trainer.data.make_lists import TEST, TRAIN, VAL
    from trainer.insight.data_report import ListSource

    wanted = [Path(path) for path in lists]
    if len(wanted) == 1 and wanted[0].is_dir():
        folder = wanted[0]
        wanted = [folder / name for name in (TRAIN, VAL, TEST) if (folder / name).is_file()]
        if not wanted:
            raise DataError(
                [f"{folder}: expected {TRAIN}, {VAL} or {TEST}, got none; `trainer make-lists` writes them"]
            )
    return [
        ListSource(name=path.name, path=str(path), image_root=str(path.parent if root is None else root))
        for path in wanted
    ]


def _sources_in(config: TrainConfig) -> list[ListSource]:
    from trainer.config.data import listed_by
    from trainer.insight.data_report import ListSource

    sections = [("training", config.data.Train)]
    if config.data.Eval is not None:
        sections.append(("evaluation", config.data.Eval))
    found = []
    for name, section in sections:
        path, grammar = listed_by(section.dataset)
        found.append(
            ListSource(
                name=name, path=path, image_root=section.dataset.image_root, grammar=grammar,
                class_num=config.arch.class_num,
            )
        )  # fmt: skip
    return found


def _names_beside(path: str) -> Sequence[str]:
    """Return the names of classes that `make_lists` writes beside its lists; empty where there are none."""
    from trainer.data.make_lists import LABELS
    from trainer.errors import NamesError
    from trainer.postprocess.build import list_names, read_names

    try:
        names = read_names(Path(path).with_name(LABELS))
    except NamesError:
        return ()
    return list_names(names, classes=max(names, default=-1) + 1)
