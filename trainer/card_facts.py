"""Gathers what the card of an exported model says: of the config, the weights, the lists and a report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

from trainer.checkpoints.contents import PARAMS, read_settings
from trainer.checkpoints.store import CheckpointStore
from trainer.config.archs import predicting_arch
from trainer.config.data import SplitSection, listed_by
from trainer.config.pipeline import find_size
from trainer.config.root import TrainConfig
from trainer.data.lists import load_list
from trainer.data.make_lists import LABELS
from trainer.engine.changes import find_changed_lists
from trainer.engine.predict import infer_parts, load_names
from trainer.engine.trained import choose_weights
from trainer.errors import CheckpointError, DataError, NamesError
from trainer.insight.model_card import (
    CARD,
    CARD_JSON,
    CardFacts,
    HashedFile,
    ListFacts,
    Numbers,
    Settings,
    write_json,
    write_markdown,
)
from trainer.models.weights import find_weights
from trainer.postprocess.build import name_of, read_names
from trainer.protocol.codec import FormatError
from trainer.protocol.layout import OutputLayout
from trainer.protocol.reportfile import DOCUMENT
from trainer.protocol.safe_files import replace_file
from trainer.protocol.untrusted import parse_object
from trainer.results import ExportResult

_MAX_REPORT = 256 << 20
_PART = 1 << 20


def make_card_writer(
    config: TrainConfig, report: Path | None, weights: Path | None
) -> Callable[[ExportResult], ExportResult]:
    """Return what writes the card of an export; a report that cannot be used is refused at once.

    Args:
        config: Checked.
        report: Folder of `trainer eval --report`; None for none.
        weights: What is to be exported; None for what `choose_weights` finds.

    Raises:
        DataError: The report cannot be read, or is of other weights, or of other classes.
        WeightsError: There are no weights.
    """
    numbers = None
    if report is not None:
        numbers = _read_report(report)
        file = find_weights(weights or choose_weights(config.run, config.arch))
        _refuse_others(numbers, report / DOCUMENT, file, hash_file(file), classes=config.arch.class_num)

    def write(done: ExportResult) -> ExportResult:
        """Write the card into the folder of the export.

        Raises:
            CheckpointError: The folder cannot be written.
        """
        weights = find_weights(done.weights)
        hashed = hash_file(weights)
        settings = _settings(weights)
        facts = CardFacts(
            network=predicting_arch(config.arch)[0].name,
            names=_names(config),
            input=_input(config),
            version=version("ftlaunch"),
            made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            weights=hashed,
            files=[replace(hash_file(done.folder / name), path=name) for name in done.names],
            compared=done.compared,
            largest=done.largest,
            lists=list(_lists(config, settings)),
            settings=settings,
            report=numbers,
            report_place=str(report / DOCUMENT) if report is not None else "",
        )
        try:
            replace_file(done.folder / CARD, write_markdown(facts))
            replace_file(done.folder / CARD_JSON, write_json(facts))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise CheckpointError(
                where=done.folder, expected="a folder to write the card into", got=reason
            ) from error
        return replace(done, names=(*done.names, CARD, CARD_JSON))

    return write


def hash_file(path: Path) -> HashedFile:
    """Return a file's SHA-256; None of one that cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(_PART):
                digest.update(part)
    except OSError:
        return HashedFile(path=str(path), sha256=None)
    return HashedFile(path=str(path), sha256=digest.hexdigest())


def _read_report(folder: Path) -> Numbers:
    place = folder / DOCUMENT
    try:
        with place.open("rb") as file:
            return parse_object(file.read(_MAX_REPORT), where=str(place), max_bytes=_MAX_REPORT)
    except (OSError, FormatError) as error:
        reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        raise DataError([f"{place}: expected a report of `trainer eval --report`: {reason}"]) from error


def _refuse_others(numbers: Numbers, place: Path, weights: Path, hashed: HashedFile, *, classes: int) -> None:
    """Refuse a report that is not of these weights: of a file that is the same, or holds the same."""
    told = Path(str(numbers.get("weights")))
    same = told.exists() and (told.samefile(weights) or hash_file(told).sha256 == hashed.sha256)
    if not same:
        raise DataError(
            [
                f"{place}: expected a report of {weights}, got one of {told}; make one by `trainer eval "
                f"--weights {weights} --report FOLDER`"
            ]
        )
    found = [of.get("label") for of in numbers.get("classes") or () if isinstance(of, dict)]
    if found != list(range(classes)):
        raise DataError([f"{place}: expected numbers of {classes} classes, got {len(found)}"])


def _names(config: TrainConfig) -> list[str]:
    """Return the classes' names: those of `Infer.PostProcess`, else of the labels.txt beside a list."""
    _, post_process = infer_parts(config)
    names = load_names(post_process, None, classes=config.arch.class_num).names
    beside = [Path(listed_by(section.dataset)[0]).with_name(LABELS) for _, section in config.data.splits]
    for path in beside:
        if not names and path.is_file():
            try:
                names = read_names(path)
            except NamesError:
                continue
    return [name_of(number, names) for number in range(config.arch.class_num)]


def _input(config: TrainConfig) -> str:
    ops, _ = infer_parts(config)
    size = find_size(ops)
    sides = f"{size[1][0]} × {size[1][1]} pixels" if size is not None else "any size"
    return f"images of {sides}, after {', '.join(op.label for op in ops)}"


def _lists(config: TrainConfig, settings: Settings) -> Iterator[ListFacts]:
    changed = find_changed_lists(config, settings)
    sections = [("training", "Train", config.data.Train), ("evaluation", "Eval", config.data.Eval)]
    for name, split, section in sections:
        if section is not None:
            facts = _list_facts(name, section, classes=config.arch.class_num)
            yield replace(facts, is_changed=split in changed)


def _list_facts(name: str, section: SplitSection, *, classes: int) -> ListFacts:
    file = hash_file(Path(listed_by(section.dataset)[0]))
    try:
        samples = load_list(section.dataset, class_num=classes)
    except DataError:  # its images need not be here, where a model is exported
        return ListFacts(name=name, file=file, images=None)
    labels = samples.labels
    counts = ()
    if labels is not None and labels.ndim == 1:
        counts = tuple(np.bincount(labels.astype(np.int64), minlength=classes).tolist())
    return ListFacts(name=name, file=file, images=len(samples), counts=counts)


def _settings(weights: Path) -> Settings:
    """Return what the weights were trained with; nothing where that does not lie beside them."""
    layout = OutputLayout(weights.parent)
    for folder in (weights.parent, *map(layout.checkpoint_dir, CheckpointStore(layout).manifests())):
        model = folder / PARAMS
        try:
            if model.exists() and (model.samefile(weights) or _is_copy(model, weights)):
                return read_settings(folder)
        except (FormatError, OSError):
            continue
    return {}


def _is_copy(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    return hash_file(one).sha256 == hash_file(other).sha256
