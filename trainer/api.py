"""Training, evaluating, predicting and exporting in the process that calls: what `trainer`'s commands do.

    from trainer.api import train
    result = train("cfg.yaml", set={"Global.epochs": 3})
    print(result.best_metric, result.best_weights)

Each function takes a config (a file, the values of one, or one that is loaded) and changes of it, and returns
a frozen result. What goes wrong is raised as a `TrainerError`, with the parts of the sentence as fields and
the command's exit code as `exit_code`. Nothing is printed: lines for people go to `say` (what happens) and
`warn` (what is odd), and without those to the logger `trainer`, as INFO and WARNING.

What is shared by a process is left as it was: handlers of signals, which are installed in the main thread
alone; the environment; the generators of `random`, NumPy and Paddle; Paddle's device, flags and counters of
names. So a second training in a process gives what a first one gives, bit for bit. Two at a time in one
process do not work: Paddle has one generator and one device.

paddle and numpy are imported when the first function is called.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trainer.config.document import Document
from trainer.config.origins import describe_values
from trainer.config.overrides import Overrides, spell_overrides
from trainer.config.problems import ConfigError, Problem
from trainer.config.root import TrainConfig
from trainer.errors import DataError, TrainerError
from trainer.loading import ConfigSource, LoadedRun, LoadOptions, Say, load, load_for_prediction, load_job
from trainer.models.weights_store import WeightsStore
from trainer.process_state import process_kept
from trainer.progress import NO_PROGRESS, Progress
from trainer.protocol.jobnames import job_name, to_dns_label
from trainer.protocol.lastrun import point_latest
from trainer.ranks import Ranks, read_ranks, read_weights_places
from trainer.results import AverageResult, EvaluateResult, ExportResult, PredictResult, TrainResult

if TYPE_CHECKING:  # numpy and paddle
    from trainer.config.infer import InferSection
    from trainer.config.root import BaseConfig
    from trainer.engine.predict import Predictor
    from trainer.engine.run import TrainingProgress
    from trainer.engine.signals import StopSignal

__all__ = [
    "AverageResult", "ConfigSource", "EvaluateResult", "ExportResult", "Overrides", "PredictResult",
    "TrainResult", "TrainerError", "average_checkpoints", "evaluate", "export", "predict", "train",
]  # fmt: skip

_LOG = logging.getLogger("trainer")
_LOG.addHandler(logging.NullHandler())  # without one, Python prints warnings where nobody set logging up


def train(
    config: ConfigSource,
    *,
    set: Overrides = (),
    resume: str = "auto",
    overwrite: bool = False,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    weights_dir: str | Path | None = None,
    offline: bool = False,
    say: Say = _LOG.info,
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
    stop: StopSignal | None = None,
    reached: TrainingProgress | None = None,
) -> TrainResult:
    """Train, evaluate and save checkpoints as a config says.

    Args:
        config: The config.
        set: Changes of it.
        resume: Go on from: this job's own checkpoint (`auto`), whatever run the output folder holds
            (`latest`), nothing (`never`), or a PaddleClas checkpoint (its path without `.pdparams`).
        overwrite: Take an output folder that another run filled.
        strict: Refuse unknown keys instead of warning of them.
        extra_modules: Files, folders or names to import first, instead of what `Launch.extra_modules` names.
        weights_dir: Where pretrained weights are kept, besides ~/.paddleclas/weights and `FTL_WEIGHTS`.
        offline: Download no weights.
        say: Told what `train.log` is told.
        warn: Told what is odd about config and lists.
        progress: Is told of every step and of every batch of an evaluation.
        stop: Asks for an early end, from any thread.
        reached: Is kept true, also where this raises.

    Returns:
        What the run came to.

    Raises:
        ConfigError: The config is refused; holds all problems.
        DataError: Lists or images are refused; holds all problems.
        OutputRefusedError: The output folder is another run's.
        WeightsError: Pretrained weights cannot be had or used.
        DivergedError: The loss is no longer a number.
        StoppedError: Told to stop by SIGTERM, a node process or `stop`; the state was saved.
        InterruptedRunError: Ctrl-C; the state was saved.
        CheckpointError: A checkpoint could not be read or written.
    """
    ranks = read_ranks()
    options = LoadOptions(
        overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules),
        new_run=None if resume == "latest" else _name_run,
    )  # fmt: skip
    with process_kept():
        run = load(config, options, ranks, warn=warn if ranks.is_first else _hush)
        from trainer.engine.run import run_training

        return run_training(
            run.config, ranks, resume=resume, overwrite=overwrite, say=say, progress=progress, stop=stop,
            weights=weights_store(weights_dir, offline=offline), reached=reached,
            claimed=lambda: _link_latest(run, warn), values=describe_values(run.config, run.document),
        )  # fmt: skip


def evaluate(
    config: ConfigSource | None = None,
    *,
    job: str | None = None,
    set: Overrides = (),
    weights: str | Path | None = None,
    report: str | Path | None = None,
    listed: str | Path | None = None,
    per_class: bool = False,
    by_folder: bool = False,
    wrong: str | Path | None = None,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> EvaluateResult:
    """Measure losses and metrics of weights on `DataLoader.Eval`.

    Args:
        config: The config, where `job` names none.
        job: Name of a job that was submitted from this machine.
        set: Changes of the config.
        weights: A `.pdparams` or `.safetensors`. None for Global.pretrained_model, else the best checkpoint
            of the output folder, else its latest.
        report: Folder for report.html, report.json and predictions.csv; None writes none.
        listed: Another list to evaluate on; None for that of `DataLoader.Eval`.
        per_class: Look at each class, too.
        by_folder: Look at each folder of images, too.
        wrong: CSV file for the wrong answers, the surest first, with names of classes; None writes none.
        strict: As for `train`.
        extra_modules: As for `train`.
        warn: Told what is odd.
        progress: Is told of every batch.

    Raises:
        ConfigError: The config is refused, or there is no such job, or it has no checkpoint here.
        DataError: The list or an image is refused.
        WeightsError: There are no weights, or they are another model's.
        NamesError: The file of class names is refused; only with a report or `per_class`.
        CheckpointError: The report cannot be written.
    """
    ranks = read_ranks()
    told = warn if ranks.is_first else _hush
    options = LoadOptions(overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules))
    given = _path(weights)
    with process_kept():
        run = load_run(config, job, options, ranks, weights=given, warn=told)
        from trainer.engine.evaluate import evaluate_weights
        from trainer.reporting import Reporter, with_list

        other = run.find(_path(listed))
        wanted = run.config if other is None else with_list(run.config, other)
        reporter = Reporter(
            wanted, folder=_path(report), per_class=per_class, by_folder=by_folder, wrong=_path(wrong)
        )
        found = evaluate_weights(
            wanted, ranks, weights=run.find(given), progress=progress,
            answered=reporter if reporter.is_wanted else None,
        )  # fmt: skip
    for note in found.notes:
        warn(note)  # of any rank: each reads other images
    return replace(found, classes=reporter.classes, folders=reporter.folders)


def average_checkpoints(
    config: ConfigSource | None = None,
    *,
    job: str | None = None,
    set: Overrides = (),
    best: int | None = None,
    last: int | None = None,
    dry_run: bool = False,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> AverageResult:
    """Average the weights of a run's best checkpoints; written where they evaluate better than the best one.

    Args:
        config: The config, where `job` names none.
        job: Name of a job that was submitted from this machine.
        set: Changes of the config.
        best: So many with the best evaluations, at least 2; 3 where neither this nor `last` is given.
        last: So many of the furthest instead.
        dry_run: Only say which they would be.
        strict: As for `train`.
        extra_modules: As for `train`.
        warn: Told what is odd.
        progress: Is told of every batch.

    Raises:
        ConfigError: As for `evaluate`; or both `best` and `last` are given, or one is below 2.
        CheckpointError: There are fewer than two, or one is damaged.
        DataError: The list or an image is refused.
    """
    asked = [number for number in (best, last) if number is not None]
    if len(asked) > 1 or any(number < 2 for number in asked):
        got = f"best={best}, last={last}"
        raise ConfigError(
            [Problem(file="average", message=f"expected one of best and last, 2 or more, got {got}")]
        )
    ranks = read_ranks()
    told = warn if ranks.is_first else _hush
    options = LoadOptions(overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules))
    with process_kept():
        run = load_run(config, job, options, ranks, weights=None, warn=told)
        from trainer.engine.average_checkpoints import average_checkpoints as average

        return average(
            run.config, ranks, best=None if last else best or 3, last=last, dry_run=dry_run, progress=progress
        )


def predict(
    config: ConfigSource | None = None,
    images: str | Path | Sequence[str | Path] = (),
    *,
    job: str | None = None,
    model: str | Path | None = None,
    set: Overrides = (),
    weights: str | Path | None = None,
    labels: str | Path | None = None,
    batch_size: int | None = None,
    bad_images: Literal["fail", "skip"] = "fail",
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> PredictResult:
    """Say what images show.

    Args:
        config: The config, where neither `job` nor `model` is given.
        images: Files, folders with all below them, or patterns, or one such; none for `Infer.infer_imgs`.
        job: Name of a job that was submitted from this machine.
        model: Folder of an exported model.
        set: Changes of the config.
        weights: As for `evaluate`.
        labels: File of class names, an `id name` line for each class.
        batch_size: Images at a time; None for `Infer.batch_size`.
        bad_images: Raise where an image cannot be read, or say so in its prediction.
        strict: As for `train`.
        extra_modules: As for `train`.
        warn: Told what is odd.
        progress: Is told of every image.

    Raises:
        ConfigError: The config is refused.
        DataError: There are no images, or one cannot be read.
        WeightsError: There are no weights, or they are another model's.
        NamesError: The file of class names is refused.
    """
    with process_kept():
        from trainer.engine.predict import predict as predict_images

        predictor, infer, size = open_predictor(
            config, job=job, model=_path(model), overrides=spell_overrides(set), weights=_path(weights),
            labels=_path(labels), strict=strict, extra_modules=tuple(extra_modules), warn=warn,
        )  # fmt: skip
        named = (images,) if isinstance(images, (str, Path)) else images
        files = find_files(named, infer, warn=warn)
        progress.begin("images", len(files))
        found = []
        for prediction in predict_images(
            predictor, files, batch_size=batch_size or size, skip_bad=bad_images == "skip"
        ):
            progress.advance()
            found.append(prediction)
    return PredictResult(weights=predictor.source, predictions=tuple(found), notes=predictor.notes)


def export(
    config: ConfigSource | None = None,
    folder: str | Path | None = None,
    *,
    job: str | None = None,
    set: Overrides = (),
    weights: str | Path | None = None,
    compare: int = 64,
    onnx: bool = False,
    card: bool = False,
    report: str | Path | None = None,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> ExportResult:
    """Write a model that Paddle's inference library reads, and check that it answers as the trained one.

    Args:
        config: The config, where `job` names none.
        folder: Where to write; None for `Global.save_inference_dir`.
        job: Name of a job that was submitted from this machine.
        set: Changes of the config.
        weights: As for `evaluate`.
        compare: Images of the validation list to compare it on; 0: none.
        onnx: Also write `inference.onnx`.
        card: Also write a model card.
        report: Folder of a report of the same weights, whose numbers the card takes.
        strict: As for `train`.
        extra_modules: As for `train`.
        warn: Told what is odd.
        progress: Is told of every batch that is compared.

    Raises:
        ConfigError: The config is refused.
        WeightsError: There are no weights, or they are another model's.
        DataError: The validation list or an image is refused.
        CheckpointError: The folder cannot be written, or the models differ.
    """
    options = LoadOptions(overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules))
    given = _path(weights)
    with process_kept():
        run = load_run(config, job, options, read_ranks(), weights=given, warn=warn)
        from trainer.card_facts import make_card_writer
        from trainer.engine.export import export as export_model

        infer = run.document.values.get("Infer")
        write = make_card_writer(run.config, _path(report), run.find(given)) if card else None
        with _writable_home():
            done = export_model(
                run.config, infer if isinstance(infer, dict) else {}, weights=run.find(given),
                folder=_path(folder) or Path(run.config.run.save_inference_dir), images=compare, onnx=onnx,
                progress=progress,
            )  # fmt: skip
        if write is not None:
            done = write(done)
    for note in done.notes:
        warn(f"warning: {note}")
    return done


def open_predictor(
    config: ConfigSource | None, *, job: str | None, model: Path | None, overrides: Sequence[str],
    weights: Path | None, labels: Path | None, strict: bool, extra_modules: tuple[str, ...], warn: Say,
) -> tuple[Predictor, InferSection | None, int]:  # fmt: skip
    """Load what answers: a network with its weights, or an exported model.

    Returns:
        The predictor, the section `Infer`, and how many images it takes at a time.

    Raises:
        TrainerError: As `predict`.
    """
    if model is not None:
        from trainer.engine.export import load_exported

        predictor, size = load_exported(model, labels=labels)
        infer = None
    else:
        from trainer.engine.predict import load_trained

        ranks = read_ranks()
        options = LoadOptions(overrides=overrides, strict=strict, extra_modules=extra_modules)
        run: LoadedRun[BaseConfig]
        if job is not None:
            run = load_job(job, options, ranks, weights=weights, warn=warn)
        else:
            run = load_for_prediction(_given(config), options, ranks, warn=warn)
        loaded, weights, labels = run.config, run.find(weights), run.find(labels)
        infer = loaded.infer
        size = infer.batch_size if infer is not None else 1
        predictor = load_trained(loaded, weights=weights, labels=labels)
    for note in predictor.notes:
        warn(f"warning: {note}")
    return predictor, infer, size


def find_files(images: Sequence[str | Path], infer: InferSection | None, *, warn: Say) -> Sequence[Path]:
    """Return the images that are meant: those that are named, else those of `Infer`.

    Raises:
        DataError: There are none.
    """
    from trainer.data.images import find_images, read_image_list

    if not images and infer is not None and infer.infer_list:
        return read_image_list(Path(infer.infer_list), root=Path(infer.infer_imgs or "."))
    places = images or ((infer.infer_imgs,) if infer is not None and infer.infer_imgs else ())
    if not places:
        raise DataError(["expected images, got none; name files or a folder, or set Infer.infer_imgs"])
    found = find_images([str(place) for place in places])
    for note in found.notes:
        warn(note)
    return found.files


def weights_store(weights_dir: str | Path | None, *, offline: bool) -> WeightsStore:
    """Make the store of pretrained weights that arguments and environment mean.

    Raises:
        FormatError: A variable is not what it should be.
    """
    places = read_weights_places()
    folder = _path(weights_dir) or places.folder
    return WeightsStore(
        folders=() if folder is None else (folder,),
        offline=offline or places.offline,
        user_home=places.user_home,
        home_is_lost=places.home_is_lost,
    )


def load_run(
    config: ConfigSource | None, job: str | None, options: LoadOptions, ranks: Ranks, *,
    weights: Path | None, warn: Say,
) -> LoadedRun[TrainConfig]:  # fmt: skip
    """Load the config of what is named: a job or a config.

    Raises:
        ConfigError: Both are named, or none; or it is refused.
    """
    if job is not None:
        if config is not None:
            raise ConfigError([Problem(file=job, message="expected a job or a config, got both; name one")])
        return load_job(job, options, ranks, weights=weights, warn=warn)
    return load(_given(config), options, ranks, warn=warn)


def _given(config: ConfigSource | None) -> ConfigSource:
    if config is None:
        raise ConfigError([Problem(file="config", message="expected a config or a job, got none; name one")])
    return config


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _hush(text: str) -> None:
    """Say nothing: rank 0 does."""


def _name_run(document: Document) -> str:
    """Name a run that no job has named, as jobs are named."""
    launch = document.values.get("Launch")
    named = launch.get("name") if isinstance(launch, dict) else None
    prefix = named if isinstance(named, str) else Path(document.name).stem
    return job_name(to_dns_label(prefix), run_id=secrets.token_hex(16))


def _link_latest(run: LoadedRun[TrainConfig], warn: Say) -> None:
    """Have `latest` lead to the folder of this run, where each run has its own and it went there."""
    mounts = run.mounts
    if mounts is not None and mounts.run_folder is not None and mounts.run_folder.is_dir():
        problem = point_latest(mounts.run_folder, mounts.sub_path)
        if problem:
            warn(f"note: {problem}")


@contextlib.contextmanager
def _writable_home() -> Iterator[None]:
    """Have a home that can be written to.

    Paddle writes the code that it makes of a model below ~/.cache, and removes it at the end
    (paddle/jit/dy2static/utils.py, 3.3.1); a read-only root has no such place.
    """
    if os.access(os.environ.get("HOME", ""), os.W_OK):
        yield
        return
    home = tempfile.mkdtemp(prefix="ftl-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)  # Paddle's own removal comes before it
    os.environ["HOME"] = home  # put back with the rest of the environment
    yield
