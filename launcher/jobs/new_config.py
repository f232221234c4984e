"""A first config, for images or from a config of PaddleClas: what is not given is chosen, and said."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from launcher.errors import UsageError
from launcher.jobs.notes import Note, Notes, ignore
from launcher.names import to_dns_label

if TYPE_CHECKING:  # pydantic
    from launcher.config.image_folder import ImageFolder
    from launcher.config.recipe import PresetName, Recipe
    from launcher.config.starter import StarterJob

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, kw_only=True, slots=True)
class NewConfig:
    """What a new config is to be for.

    Attributes:
        data: A folder of images; None for a config as it is, with a Launch section.
        source: A PaddleClas config to begin with; None for a recipe of ours.
        preset: How much the training may cost: network, size and epochs, where they are not given.
        arch: Architecture; None for that of the preset, for CPUs or for GPUs.
        image_size: Side in pixels of what the network sees, at least 32; None for one by the images' own.
        epochs: Length of the training, at least 1; None for one by the number of images.
        gpus: GPUs of each node.
        nodes: Number of pods.
        image: Container image with the trainer, or None.
        name: Prefix of the job's name; None for that of the folder or config.
        measure: Try how long and how much memory training takes on this machine.
    """

    data: Path | None = None
    source: Path | None = None
    preset: PresetName = "good"
    arch: str | None = None
    image_size: int | None = None
    epochs: int | None = None
    gpus: int = 0
    nodes: int = 1
    image: str | None = None
    name: str | None = None
    measure: bool = True


def make_config(options: NewConfig, *, path: Path, notes: Notes = ignore) -> str:
    """Return the text of a new config. Where the folder of images has no lists yet, they are made in it.

    Args:
        options: What it is to be for.
        path: Where it is to lie, for problems; nothing is written there.
        notes: Told what was chosen or changed and why, what its checks say, and how long a run takes here.

    Raises:
        UsageError: Options contradict each other, or the folder holds nothing to train on.
        ConfigError: What was asked for is refused, such as an architecture that is not known.
    """
    from launcher.config.starter import StarterJob

    source = options.source
    base = options.data if options.data is not None else source
    if base is None:
        raise UsageError(
            where="init", expected="--data DIR, a folder of images, --from CONFIG, or both", got="neither"
        )
    _refuse_contradictions(options)
    stem = base.resolve().name if options.data is not None else base.stem
    wanted = StarterJob(
        name=to_dns_label(options.name or stem), gpus=options.gpus, nodes=options.nodes, image=options.image
    )
    recipe, data = None, None
    if options.data is not None:
        data = _read_images(options.data, notes)
    if data is None:
        assert source is not None
        text = _add_launch(source, wanted)
    elif source is not None:
        text = _fit(source, data, wanted, options.epochs, notes)
    else:
        recipe = _choose(data, wanted, options)
        text = _write(data, wanted, recipe)
    length = _check(text, path, strict=source is None, notes=notes)
    if recipe is not None and data is not None:
        _tell_recipe(recipe, data, notes)
    if length is not None and data is not None:
        if options.measure:
            _tell_cost(text, length, data, wanted, notes)
        else:
            notes(Note("time on this machine: not measured"))
    return text


def save_config(path: Path, text: str) -> None:
    """Write a new config, and beside it the JSON Schema that its first line names for editors.

    Raises:
        UsageError: It cannot be written.
    """
    from launcher.config.starter import SCHEMA_FILE

    schema = path.parent / SCHEMA_FILE
    try:
        path.write_text(text, encoding="utf-8", newline="")
        schema.parent.mkdir(parents=True, exist_ok=True)
        schema.write_text(json.dumps(schema_document(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(where=path, expected="a file that can be written", said=error) from error


def schema_document() -> dict[str, object]:
    """Return the JSON Schema of a config."""
    from launcher.config.load import JobConfig
    from trainer.config.schema import json_schema

    return {"$schema": DIALECT, **json_schema(JobConfig), "title": "A PaddleClas config for ftlaunch"}


def _refuse_contradictions(options: NewConfig) -> None:
    if options.source is None:
        return
    if options.arch is not None:
        raise UsageError(
            where="--arch", expected="none beside --from, whose config names one", fix="change it there"
        )
    if options.image_size is not None:
        raise UsageError(
            where="--image-size",
            expected="none beside --from, whose config has its sizes",
            fix="change them there",
        )
    if options.data is None and options.epochs is not None:
        raise UsageError(
            where="--epochs", expected="--data beside --from, without which the config stays as it is"
        )


class _Length(NamedTuple):
    """What the time of a run follows from: epochs, images of a rank and step, epochs to an evaluation."""

    epochs: int
    batch: int
    eval_interval: int


def _read_images(folder: Path, notes: Notes) -> ImageFolder:
    from launcher.config.image_folder import LABELS, TRAIN, VAL, read_image_folder
    from launcher.jobs.trainer_process import make_lists

    lists = [folder / name for name in (TRAIN, VAL, LABELS)]
    if folder.is_dir() and not any(file.exists() for file in lists):
        made, said = make_lists(folder)
        for line in said:
            notes(Note(line))
        if not made:
            raise UsageError(where=folder, expected="images that lists can be made of", fix="see above")
    return read_image_folder(folder)


def _choose(data: ImageFolder, wanted: StarterJob, options: NewConfig) -> Recipe:
    from launcher.config.recipe import Facts, choose_arch, choose_recipe, scratch_arch
    from launcher.jobs.trainer_process import find_weights

    archs = choose_arch(wanted.gpus, options.preset) if options.arch is None else (options.arch,)
    weights = find_weights(archs)
    facts = Facts(
        images=data.train, classes=data.class_num, side=data.side, gpus=wanted.gpus, ranks=wanted.ranks,
        pretrained=weights is not None, most=data.most, fewest=data.fewest,
    )  # fmt: skip
    return choose_recipe(
        facts,
        arch=weights.arch
        if weights is not None
        else options.arch or scratch_arch(wanted.gpus, options.preset),
        preset=options.preset,
        size=options.image_size,
        epochs=options.epochs,
    )


def _write(data: ImageFolder, wanted: StarterJob, recipe: Recipe) -> str:
    from launcher.config.starter import write_config

    return write_config(wanted, data, recipe)


def _tell_recipe(recipe: Recipe, data: ImageFolder, notes: Notes) -> None:
    side = f"their shorter side is {data.side} px" if data.side is not None else "of unknown size"
    notes(Note(f"{data.train} images to train on, {data.class_num} classes; {side}"))
    notes(Note(f"network: {recipe.arch} at {recipe.size} px"))
    for reason in recipe.why:
        notes(Note(reason))


def _tell_cost(text: str, length: _Length, data: ImageFolder, wanted: StarterJob, notes: Notes) -> None:
    """Say what the training costs: measured on CPUs, guessed for GPUs, with the ground of the guess."""
    from launcher.jobs.cost import Run, guess_cost, measure_cost

    run = Run(
        images=data.train, evaluated=data.val / length.eval_interval, batch=length.batch,
        epochs=length.epochs, ranks=wanted.ranks,
    )  # fmt: skip
    tell = guess_cost if wanted.gpus else measure_cost
    for line in tell(text, run):
        notes(Note(line))


def _fit(source: Path, data: ImageFolder, wanted: StarterJob, epochs: int | None, notes: Notes) -> str:
    from launcher.config.fit import fit_config
    from launcher.jobs.trainer_process import find_weights

    content, values = _read(source)
    arch = values.get("Arch")
    name = arch.get("name") if isinstance(arch, dict) else None
    pretrained = find_weights((name,)) is not None if isinstance(name, str) else None
    fitted = fit_config(content, values, data, wanted, pretrained=pretrained, epochs=epochs)
    for change in fitted.changes:
        notes(Note(change))
    for item in fitted.left:
        notes(Note(f"look at: {item}"))
    if pretrained is False:
        text = f"there are no weights of {name} here, and none could be fetched: it trains from\nscratch, "
        notes(Note(text + "which takes many more epochs than fine-tuning"))
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


def _check(text: str, path: Path, *, strict: bool, notes: Notes) -> _Length | None:
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
        notes(Note(str(problem), "problem"))
    return length
