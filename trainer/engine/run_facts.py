"""What a report says of a run besides its numbers: versions, hashes of the lists, the commit, the ranks."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import paddle

from trainer.config.archs import DistillationArch
from trainer.config.data import listed_by
from trainer.config.root import TrainConfig
from trainer.data.lists import SampleList
from trainer.data.make_lists import LABELS
from trainer.engine.predict import load_names
from trainer.engine.setup import Setup
from trainer.errors import NamesError
from trainer.postprocess.build import name_of, read_names
from trainer.protocol.codec import encode
from trainer.protocol.reportfile import ConfigValue, Fact, RunFacts
from trainer.protocol.runfile import FOLDER
from trainer.protocol.safe_files import make_folders, replace_file
from trainer.protocol.tracking import DESCRIPTION, Description

_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_MAX_REFS = 1 << 20


def describe_run(
    config: TrainConfig, setup: Setup, samples: SampleList, *, values: tuple[ConfigValue, ...],
    facts: tuple[Fact, ...],
) -> RunFacts:  # fmt: skip
    """Return what a report says of a run.

    Args:
        config: Checked.
        setup: What trains.
        samples: What is evaluated on.
        values: The config, and where each value comes from.
        facts: See `list_facts`.
    """
    run = config.run
    return RunFacts(
        output_dir=run.output_dir, listed=samples.source, version=version("ftlaunch"),
        names=tuple(find_class_names(config, samples)), max_pixels=run.max_image_pixels,
        less_is_better=setup.options.less_is_better, epochs=run.epochs, keep_latest=run.keep_latest,
        keep_best=run.keep_best, keep_every=run.keep_every, values=values,
        facts=facts, notes=tuple(_list_notes(config)),
    )  # fmt: skip


def save_description(
    output_dir: Path, values: tuple[ConfigValue, ...], facts: tuple[Fact, ...]
) -> str | None:
    """Write what trackers are told of a run (`trainer.trackers`); returns why it could not be, or None."""
    description = Description(values=values, facts=facts)
    data = json.dumps(encode(description), ensure_ascii=False).encode("utf-8", "replace")
    try:
        make_folders(output_dir / FOLDER, root=output_dir)
        replace_file(output_dir / FOLDER / DESCRIPTION, data, root=output_dir)
    except OSError as error:
        return f"{output_dir / FOLDER / DESCRIPTION}: {error.strerror or error}"
    return None


def find_class_names(config: TrainConfig, samples: SampleList) -> list[str]:
    """Return the name of each class: of `Infer.PostProcess`, else of the labels.txt beside the list.

    A file of names that is broken names nothing: it ends no training.
    """
    post_process = config.infer.post_process if config.infer is not None else None
    beside = Path(samples.source).with_name(LABELS)
    try:
        names = load_names(post_process, None, classes=config.arch.class_num).names
        names = names or (read_names(beside) if beside.is_file() else {})
    except NamesError:
        names = {}
    return [name_of(label, names) for label in range(config.arch.class_num)]


def find_commit(folder: Path) -> str | None:
    """Return the commit that a folder's repository is at; None where there is none, or it is not plain.

    Read from its files, because git itself runs programs that a repository names. Whether files were changed
    since is not known.
    """
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        if not git.is_dir():
            continue
        try:
            head = (git / "HEAD").read_text("utf-8")[:1024].strip()
            if not head.startswith("ref: "):
                return head if _COMMIT.fullmatch(head) else None
            name = head.removeprefix("ref: ")
            if ".." in name or name.startswith("/"):
                return None
            if (git / name).is_file():
                found = (git / name).read_text("utf-8")[:1024].strip()
                return found if _COMMIT.fullmatch(found) else None
            with (git / "packed-refs").open(encoding="utf-8") as file:
                for line in file.read(_MAX_REFS).splitlines():
                    commit, _, ref = line.partition(" ")
                    if ref == name and _COMMIT.fullmatch(commit):
                        return commit
        except (OSError, UnicodeDecodeError):
            pass
        return None
    return None


def list_facts(config: TrainConfig, setup: Setup, *, run_id: str) -> Iterator[Fact]:
    """Yield versions, hashes of the lists, the commit and the ranks."""
    ranks = setup.ranks
    yield Fact(name="run", value=run_id)
    yield Fact(name="network", value=config.arch.label)
    count = f"{ranks.world_size} rank{'s' if ranks.world_size > 1 else ''}"
    yield Fact(name="device", value=f"{config.run.device}, {count}, {setup.precision.label}")
    commit = find_commit(Path.cwd())
    if commit is not None:
        yield Fact(name="commit of the working directory", value=commit)
    for split, part in (("Train", config.data.Train), ("Eval", config.data.Eval)):
        if part is not None:
            source, _ = listed_by(part.dataset)
            yield Fact(name=f"{split} list", value=f"{source}, sha256 {_hash(Path(source))}")
    yield Fact(name="ftlaunch", value=version("ftlaunch"))
    yield Fact(name="Python", value=platform.python_version())
    yield Fact(name="paddle", value=str(paddle.__version__))
    yield Fact(name="NumPy, OpenCV", value=f"{np.__version__}, {cv2.__version__}")


def _list_notes(config: TrainConfig) -> Iterator[str]:
    if isinstance(config.arch, DistillationArch):
        yield "Of several networks (distillation) all answers are Student's."
    if config.run.use_multilabel:
        yield "An image may be of several classes."


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "unreadable"
