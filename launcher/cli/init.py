"""`ftlaunch init`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from launcher.cli.printing import echo
from launcher.errors import CliExit, UsageError
from launcher.names import to_dns_label

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.config.image_folder import ImageFolder
    from launcher.config.recipe import Recipe
    from launcher.config.starter import StarterJob

_MEASURE_S = 20.0


class _Length(NamedTuple):
    """What the time of a run follows from: epochs, images of a rank and step, epochs to an evaluation."""

    epochs: int
    batch: int
    eval_interval: int


@click.command("init")
@click.argument(
    "path", metavar="[FILE]", default="cfg.yaml", type=click.Path(path_type=Path, allow_dash=True)
)
@click.option("--data", "folder", type=click.Path(path_type=Path), metavar="DIR", help="A folder of images.")
@click.option(
    "--arch", metavar="NAME", help="Architecture; else a small one for CPUs, or ResNet50_vd for GPUs."
)
@click.option(
    "--from", "source", type=click.Path(path_type=Path), metavar="CONFIG",
    help="A PaddleClas config to begin with: it gets a Launch section; with --data it is fitted to DIR, too.",
)  # fmt: skip
@click.option("--make-lists", is_flag=True, hidden=True, help="Done in any case where there are no lists.")
@click.option(
    "--image-size",
    type=click.IntRange(min=32),
    help="Side in pixels of what the network sees; else by the images' own.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Length of the training; else by the number of images."
)
@click.option("--gpus", type=click.IntRange(min=0), default=0, show_default=True, help="GPUs of each node.")
@click.option(
    "--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Number of pods (nodes)."
)
@click.option("--image", metavar="IMAGE", help="Container image with the trainer.")
@click.option("--name", metavar="NAME", help="Prefix of the job's name.")
@click.option("--no-measure", is_flag=True, help="Do not try how long training takes on this machine.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(
    *, path: Path, folder: Path | None, arch: str | None, source: Path | None, make_lists: bool,  # noqa: ARG001 - as its help says
    image_size: int | None, epochs: int | None, gpus: int, nodes: int, image: str | None, name: str | None,
    no_measure: bool, force: bool,
) -> CliExit:  # fmt: skip
    """Write a complete config for a folder of images; FILE is cfg.yaml where none is named, - is stdout.

    Where DIR has no lists yet, they are made, as by `trainer make-lists`. What is not given is chosen from
    the images, and said.
    """
    from launcher.config.starter import StarterJob

    base = folder if folder is not None else source
    if base is None:
        raise UsageError(
            where="init", expected="--data DIR, a folder of images, --from CONFIG, or both", got="neither"
        )
    if source is not None and arch is not None:
        raise UsageError(
            where="--arch", expected="none beside --from, whose config names one", fix="change it there"
        )
    if source is not None and image_size is not None:
        raise UsageError(
            where="--image-size",
            expected="none beside --from, whose config has its sizes",
            fix="change them there",
        )
    if source is not None and folder is None and epochs is not None:
        raise UsageError(
            where="--epochs", expected="--data beside --from, without which the config stays as it is"
        )
    if str(path) != "-" and path.exists() and not force:
        raise UsageError(where=path, expected="no such file yet", fix="pass --force to overwrite it")
    stem = base.resolve().name if folder is not None else base.stem
    wanted = StarterJob(name=to_dns_label(name or stem), gpus=gpus, nodes=nodes, image=image)
    if folder is None:
        assert source is not None
        text, recipe, data = _add_launch(source, wanted), None, None
    else:
        data = _look_at(folder)
        if source is not None:
            text, recipe = _fit(source, data, wanted, epochs), None
        else:
            recipe = _choose(data, wanted, arch, image_size, epochs)
            text = _write(data, wanted, recipe)
    length = _report(text, path, strict=source is None)
    if data is not None:
        _tell(recipe, data)
        _tell_time(length, data, wanted, text, measure=not no_measure)
    if str(path) == "-":
        echo(text.encode("utf-8"), nl=False)
        echo("for your editor: mkdir -p .ftlaunch && ftlaunch schema > .ftlaunch/schema.json", err=True)
        return CliExit.OK
    try:
        _save(path, text)
    except OSError as error:
        raise UsageError(where=path, expected="a file that can be written", said=error) from error
    echo(f"{path}: written; next: ftlaunch submit {path} --on local --follow", err=True)
    return CliExit.OK


def _look_at(folder: Path) -> ImageFolder:
    from launcher.config.image_folder import LABELS, TRAIN, VAL, read_image_folder
    from launcher.jobs.trainer_process import make_lists

    lists = [folder / name for name in (TRAIN, VAL, LABELS)]
    if folder.is_dir() and not any(file.exists() for file in lists):
        made, said = make_lists(folder)
        for line in said:
            echo(line, err=True)
        if not made:
            raise UsageError(where=folder, expected="images that lists can be made of", fix="see above")
    return read_image_folder(folder)


def _choose(
    data: ImageFolder, wanted: StarterJob, arch: str | None, size: int | None, epochs: int | None
) -> Recipe:
    from launcher.config.recipe import Facts, choose_arch, choose_recipe
    from launcher.jobs.trainer_process import find_weights

    archs = choose_arch(wanted.gpus) if arch is None else (arch,)
    weights = find_weights(archs)
    facts = Facts(
        images=data.train, classes=data.class_num, side=data.side, gpus=wanted.gpus, ranks=wanted.ranks,
        pretrained=weights is not None,
    )  # fmt: skip
    return choose_recipe(
        facts, arch=weights.arch if weights is not None else archs[0], size=size, epochs=epochs
    )


def _write(data: ImageFolder, wanted: StarterJob, recipe: Recipe) -> str:
    from launcher.config.starter import write_config

    return write_config(wanted, data, recipe)


def _tell(recipe: Recipe | None, data: ImageFolder) -> None:
    """Say what was chosen; nothing of a config that chose for itself."""
    if recipe is None:
        return
    side = f"their shorter side is {data.side} px" if data.side is not None else "of unknown size"
    echo(f"{data.train} images to train on, {data.class_num} classes; {side}", err=True)
    echo(f"network: {recipe.arch} at {recipe.size} px", err=True)
    for reason in recipe.why:
        echo(reason, err=True)


def _tell_time(
    length: _Length | None, data: ImageFolder, wanted: StarterJob, text: str, *, measure: bool
) -> None:
    """Say how long the run takes here; nothing of a config that is refused."""
    if length is not None:
        time = _describe_time(length, data, wanted, text) if measure else "not measured"
        echo(f"time on this machine: {time}", err=True)


def _describe_time(length: _Length, data: ImageFolder, wanted: StarterJob, text: str) -> str:
    from launcher.jobs.trainer_process import can_train, measure_step
    from launcher.times import format_duration

    if wanted.gpus or wanted.nodes > 1:
        return "not measured, because the config asks for GPUs or several nodes"
    if not can_train():
        return "not measured, because the trainer's Paddle is not installed here"
    step_s = measure_step(text, batch=length.batch, limit_s=_MEASURE_S)
    if step_s is None:
        return f"not known; a step was not done within {_MEASURE_S:.0f} s"
    images = data.train + data.val / 3 / length.eval_interval  # without gradients, a third of the time
    whole_s = step_s * images / length.batch * length.epochs
    return f"about {format_duration(whole_s)}, of {step_s * 1000:.0f} ms a step"


def _fit(source: Path, data: ImageFolder, wanted: StarterJob, epochs: int | None) -> str:
    from launcher.config.fit import fit_config
    from launcher.jobs.trainer_process import find_weights

    content, values = _read(source)
    arch = values.get("Arch")
    name = arch.get("name") if isinstance(arch, dict) else None
    pretrained = find_weights((name,)) is not None if isinstance(name, str) else None
    fitted = fit_config(content, values, data, wanted, pretrained=pretrained, epochs=epochs)
    for change in fitted.changes:
        echo(change, err=True)
    for item in fitted.left:
        echo(f"look at: {item}", err=True)
    if pretrained is False:
        echo(
            f"there are no weights of {name} here, and none could be fetched: it trains from\n"
            "scratch, which takes many more epochs than fine-tuning",
            err=True,
        )
    return fitted.text


def _read(source: Path) -> tuple[str, dict[str, object]]:
    from trainer.config.document import parse_document
    from trainer.config.load import read_content

    content = read_content(source)
    document = parse_document(content, name=str(source))
    if "Launch" in document.values:
        raise UsageError(where=source, expected="no Launch section yet", got="one", fix="submit it as it is")
    return content.decode("utf-8-sig"), document.values


def _add_launch(source: Path, wanted: StarterJob) -> str:
    from launcher.config.starter import add_launch

    content, values = _read(source)
    return add_launch(content, values, wanted)


def _report(text: str, path: Path, *, strict: bool) -> _Length | None:
    """Say what a new config's checks say; ours must pass, somebody's own may need work.

    Returns:
        How long the run is; None where the config is refused.

    Raises:
        ConfigError: Ours is refused, such as for an architecture that is not known.
    """
    from launcher.config.load import load_run_config
    from trainer.config.problems import ConfigError

    length = None
    try:
        config = load_run_config(path, content=text.encode("utf-8"))
        run = config.job.run
        length = _Length(run.epochs, config.job.data.Train.sampler.batch_size, run.eval_interval)
        warnings = config.warnings
    except ConfigError as error:
        if strict:
            raise
        warnings = tuple(error.problems)
    for problem in warnings:
        echo(str(problem), err=True)
    return length


def _save(path: Path, text: str) -> None:
    from launcher.cli.schema import schema_document
    from launcher.config.starter import SCHEMA_FILE

    path.write_text(text, encoding="utf-8", newline="")
    schema = path.parent / SCHEMA_FILE
    schema.parent.mkdir(parents=True, exist_ok=True)
    schema.write_text(json.dumps(schema_document(), indent=2) + "\n", encoding="utf-8")
