"""Where a run goes on from: its own last checkpoint, one of PaddleClas, or pretrained weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import paddle

from trainer.checkpoints.contents import Contents, load_contents, load_paddleclas, with_ending
from trainer.checkpoints.pdfiles import Array, UnsafeFileError
from trainer.checkpoints.store import CheckpointStore, Search
from trainer.checkpoints.writer import give_names
from trainer.config.archs import Arch, BaseArch
from trainer.config.sections import GlobalSection
from trainer.engine.class_head import arrange_head, saved_names
from trainer.engine.output import Output
from trainer.engine.run_log import RunLog
from trainer.engine.setup import pretrained_parts, pretrained_path
from trainer.errors import CheckpointError, WeightsError
from trainer.models.weights import apply_weights, read_weights
from trainer.models.weights_store import WeightsStore
from trainer.protocol.codec import FormatError

_SHOWN = 3
LATEST = "latest"
"""PaddleClas's name of the last checkpoint of a run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumeOptions:
    """What `--resume` and the config ask for.

    Attributes:
        own: Go on from this run's own last checkpoint where there is one.
        adopt: Go on with the run that the output folder holds, whoever began it.
        prefix: A PaddleClas checkpoint without its ending, taken where there is no own one.
    """

    own: bool = True
    adopt: bool = False
    prefix: Path | None = None


def parse_resume(mode: str, run: GlobalSection) -> ResumeOptions:
    """Read `--resume auto|latest|never|PATH`; `Global.checkpoints` is PATH where the mode is auto.

    A path inside the output folder means that the run there goes on, as it does in PaddleClas.
    """
    if mode in ("latest", "never"):
        return ResumeOptions(own=mode == "latest", adopt=mode == "latest")
    text = run.checkpoints if mode == "auto" else mode
    if not text:
        return ResumeOptions()
    prefix, output_dir = Path(text), Path(run.output_dir)
    inside = prefix.resolve().is_relative_to(output_dir.resolve())
    return ResumeOptions(adopt=inside, prefix=None if inside and prefix.name == LATEST else prefix)


def find_contents(
    options: ResumeOptions, output: Output, *, steps_per_epoch: int, world_size: int, run_log: RunLog
) -> Contents | None:
    """Read the checkpoint to go on from; None where the run begins anew. Rank 0 only.

    Damaged checkpoints are never passed over in silence: an older one is taken with a sentence, and where
    none is whole nothing is trained, because what would begin anew would write over them.

    Raises:
        CheckpointError: There is one that cannot be read, or all of this run are damaged.
    """
    store = CheckpointStore(output.layout)
    try:
        found = store.find_latest() if options.own else Search(checkpoint=None)
        checkpoint = found.checkpoint
        if checkpoint is None and found.damaged:
            raise CheckpointError(_say_damaged(output.layout.checkpoints_dir, found.damaged))
        for reason in found.damaged:
            run_log.say(f"warning: a damaged checkpoint is passed over: {reason}")
        if checkpoint is not None:
            older = ", which is older" if found.damaged else ""
            run_log.say(f"resuming from {checkpoint.folder}{older}")
            if options.prefix is not None:
                run_log.say(f"{options.prefix} is left out: this run has a checkpoint of its own")
            give_names(checkpoint, output.layout.output_dir, store.manifests()[checkpoint.name].names)
            return load_contents(checkpoint)
        prefix = options.prefix or _published(options, output.layout.output_dir)
        if prefix is not None:
            run_log.say(f"resuming from {prefix}")
            return load_paddleclas(
                prefix, run_id=output.run_id, steps_per_epoch=steps_per_epoch, world_size=world_size,
                say=run_log.say,
            )  # fmt: skip
        if options.adopt:
            run_log.say(f"{output.layout.output_dir} has no checkpoint to go on from: training begins anew")
    except (UnsafeFileError, FormatError, OSError) as error:
        raise _refuse(error) from error
    return None


def _published(options: ResumeOptions, output_dir: Path) -> Path | None:
    """Return PaddleClas's `latest` of a folder that is to be gone on with and has no checkpoint of ours."""
    found = options.adopt and (output_dir / f"{LATEST}.pdparams").is_file()
    return output_dir / LATEST if found else None


def _say_damaged(folder: Path, damaged: Sequence[str]) -> str:
    reasons = "; ".join(damaged[:_SHOWN]) + ("; …" if len(damaged) > _SHOWN else "")
    return (
        f"resume: {folder}: expected a whole checkpoint, got {len(damaged)} damaged: {reasons}; bring one "
        "back from a copy, name a PaddleClas checkpoint by --resume PATH, or begin anew in another "
        "Global.output_dir or with --overwrite"
    )


def refuse_missing_checkpoint(run: GlobalSection) -> None:
    """Do nothing where a new run can begin from `Global.checkpoints`, or that is not set.

    Raises:
        CheckpointError: A file of it is missing.
    """
    prefix = parse_resume("auto", run).prefix
    if prefix is None:
        return
    try:
        for ending in (".pdopt", ".pdparams"):
            with_ending(prefix, ending).open("rb").close()
    except OSError as error:
        raise _refuse(error) from error


def _refuse(error: Exception) -> CheckpointError:
    return CheckpointError(f"resume: expected a checkpoint to go on from, got: {error}; name another")


def restore(contents: Contents, model: paddle.nn.Layer, *, optimizers: int) -> None:
    """Put a checkpoint's weights into the model.

    Raises:
        CheckpointError: They are another model's, or there are states of another number of optimizers.
    """
    if len(contents.optimizers) != optimizers:
        raise CheckpointError(
            where="resume",
            expected=f"the state of {optimizers} optimizers",
            got=str(len(contents.optimizers)),
            fix="resume with the config that the checkpoint was trained with",
        )
    odd = apply_weights(model, contents.weights).misfits
    if odd:
        raise CheckpointError(
            f"resume: expected the weights of this model, but {len(odd)} keys do not fit, such as {odd[0]}; "
            "resume with the config that the checkpoint was trained with"
        )


def start_from_pretrained(
    arch: Arch, whole: str | None, model: paddle.nn.Layer, *, store: WeightsStore, run_log: RunLog,
    names: Sequence[str] = (),
) -> None:  # fmt: skip
    """Load pretrained weights where the config names some.

    Of the head, classes that both have by name keep their rows; where names are not known, one of another
    size stays fresh.

    Args:
        arch: May name weights; each of several networks has its own.
        whole: `Global.pretrained_model`, which is of all of them together, and wins.
        model: Of that architecture.
        store: Where downloads are kept.
        run_log: Told what was loaded and what was left out.
        names: Of the classes, in the order of their numbers; none where they are not known.

    Raises:
        WeightsError: A file cannot be had or used.
    """
    for part, layer, source in pretrained_parts(arch, whole, model):
        _load_pretrained(part, layer, source, store=store, run_log=run_log, names=names)


def _load_pretrained(
    arch: BaseArch, model: paddle.nn.Layer, source: str | bool, *, store: WeightsStore, run_log: RunLog,
    names: Sequence[str],
) -> None:  # fmt: skip
    try:
        path = pretrained_path(arch, source, store, say=run_log.say)
        weights: Mapping[str, Array] = read_weights(path)
        said = ""
        if names and (saved := saved_names(path)) is not None:
            weights, said = arrange_head(arch, model, weights, saved=saved, names=names)
        report = apply_weights(model, weights)
    except WeightsError as error:
        error.add_place("pretrained weights")
        raise
    wanted = len(report.loaded) + len(report.misfits)
    if 2 * len(report.loaded) < wanted:  # other models share a few small keys by chance
        raise WeightsError(
            where=f"pretrained weights: {path}",
            expected=f"weights of {arch.name}",
            got=f"others: {len(report.loaded)} of {wanted} keys fit",
            fix="name another file",
        )
    run_log.say(f"pretrained weights: {len(report.loaded)} of {path}")
    if said:
        run_log.say(f"pretrained weights: {said}")
    for what, keys in (
        ("missing there, left as initialised", report.missing),
        ("unknown here, left out", report.unexpected),
        ("of another shape, left as initialised", report.reshaped),
    ):
        if keys:
            shown = ", ".join(str(key) for key in keys[:5]) + (", …" if len(keys) > 5 else "")
            run_log.say(f"pretrained weights: {len(keys)} {what}: {shown}")
