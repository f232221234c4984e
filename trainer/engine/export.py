"""A trained model as files that need no trainer, compared with the model they were made of."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import paddle
import yaml
from numpy.typing import NDArray
from pydantic import Field

from trainer.config.archs import predicting_arch
from trainer.config.document import parse_document
from trainer.config.infer import InferSection
from trainer.config.load import check
from trainer.config.outputs import logits_of
from trainer.config.pipeline import find_size
from trainer.config.postprocess import Topk
from trainer.config.problems import ConfigError
from trainer.config.registry import Section
from trainer.config.root import TrainConfig
from trainer.data.ops.build import build_transform
from trainer.engine.collective import join_ranks
from trainer.engine.compare import TOLERANCE, compare
from trainer.engine.onnx import NAME as ONNX
from trainer.engine.onnx import open_onnx, quiet, refuse_without_packages, write_onnx
from trainer.engine.predict import ClassNames, Network, Predictor, infer_parts, load_names
from trainer.engine.trained import choose_weights, load_network
from trainer.errors import CheckpointError, DataError, WeightsError
from trainer.postprocess.build import activation_of, list_names
from trainer.progress import NO_PROGRESS, Progress
from trainer.protocol.safe_files import rename
from trainer.ranks import Ranks
from trainer.results import ExportResult

Description: TypeAlias = dict[str, dict[str, object]]
"""What inference.yml holds: sections by name."""
_ONEDNN = "oneDNN"
_MAX_DESCRIPTION, _MAX_DESCRIBED = 64 << 20, 2_000_000
"""Bytes and values of a description that is read; it holds each class's name twice."""
_ONEDNN_NOTE = (
    "with oneDNN, which Paddle's inference library takes on CPUs by itself, logits differ by {:.1e} of their "
    "size; `trainer predict --model` does without it: Infer.onednn in inference.yml"
)
MODEL, WEIGHTS, DESCRIPTION = "inference.json", "inference.pdiparams", "inference.yml"


class _Activated(paddle.nn.Layer):  # type: ignore[misc]  # paddle has no types
    """A network with its last activation, as PaddleClas exports it."""

    def __init__(self, network: paddle.nn.Layer, activation: str) -> None:
        super().__init__()
        self._network = network
        self._activate = getattr(paddle.nn.functional, activation)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        return self._activate(logits_of(self._network(images)))


def export(
    config: TrainConfig,
    infer: Mapping[str, object],
    *,
    weights: Path | None,
    folder: Path,
    images: int,
    onnx: bool = False,
    progress: Progress = NO_PROGRESS,
) -> ExportResult:
    """Write `inference.json`, `inference.pdiparams` and `inference.yml`, and compare them with the model.

    Args:
        config: Checked.
        infer: The section `Infer` as it was written.
        weights: As for an evaluation.
        folder: Made where it does not exist; its files are replaced once the comparison has passed.
        images: Of the validation list that are compared, at most.
        onnx: Write `inference.onnx` too, and compare it.
        progress: Is told of every batch that is compared.

    Raises:
        WeightsError: The weights cannot be used.
        DataError: The validation list or an image is refused.
        CheckpointError: The folder cannot be written, or the models differ.
    """
    if onnx:
        refuse_without_packages()
    _, post_process = infer_parts(config)
    named, shape = load_names(post_process, None, classes=config.arch.class_num), _input_shape(config)
    names = list_names(named.names, classes=config.arch.class_num)
    source = weights or choose_weights(config.run, config.arch)
    join_ranks(config.run.device, Ranks())
    model = load_network(config.arch, source)
    activation = activation_of(post_process, multilabel=config.run.use_multilabel)
    written = dict(infer) or {"transforms": _eval_ops(config), "PostProcess": {"name": "Topk", "topk": 5}}
    description: Description = {
        "Global": {
            "model_name": predicting_arch(config.arch)[0].name,
            "image_shape": list(config.run.image_shape or ()),
        },
        "PreProcess": {"transform_ops": [op for op in _listed(written) if "DecodeImage" not in op]},
        "PostProcess": {type(post_process).__name__: _plain_topk(post_process, names)},
        "Infer": {**written, "names": names},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as partial:
            write_model(_Activated(model, activation), Path(partial), shape=shape)
            made = {MODEL: open_exported(Path(partial), onednn=False)}
            if onnx:
                write_onnx(Path(partial) / MODEL, Path(partial) / WEIGHTS, Path(partial) / ONNX)
                made[ONNX] = open_onnx(Path(partial) / ONNX)
            measured = {_ONEDNN: open_exported(Path(partial))}
            found = compare(
                config, model, activation, made, measured=measured, images=images, progress=progress
            )
            fast = found.largest.get(_ONEDNN, 0.0)
            (Path(partial) / DESCRIPTION).write_text(
                # By way of JSON, so that what stands in it twice is written twice, not as an alias.
                yaml.safe_dump(
                    json.loads(json.dumps(_describe_engine(description, fast))),
                    sort_keys=False,
                    allow_unicode=True,
                ),
                encoding="utf-8",
            )
            files = (MODEL, WEIGHTS, DESCRIPTION, *([ONNX] if onnx else []))
            replaced = [name for name in files if (folder / name).exists()]
            for name in files:
                rename(Path(partial) / name, folder / name, root=folder)
    except OSError as error:
        raise CheckpointError(f"{folder}: expected a folder to write to, got: {error}") from error
    return ExportResult(
        folder=folder, names=files, weights=source, compared=found.images,
        largest=max((found.largest[name] for name in made if name in found.largest), default=0.0),
        notes=(
            *named.notes,
            *([f"{folder}: replaced {', '.join(replaced)} of an earlier export"] if replaced else []),
            *([_ONEDNN_NOTE.format(fast)] if fast > TOLERANCE else []),
        ),
    )  # fmt: skip


def _describe_engine(description: Description, fast: float) -> Description:
    """Have `trainer predict --model` do without oneDNN where that answered differently."""
    if fast <= TOLERANCE:
        return description
    return {**description, "Infer": {**description["Infer"], "onednn": False}}


def load_exported(folder: Path, *, labels: Path | None = None) -> tuple[Predictor, int]:
    """Make a predictor of an exported folder; returns its batch size too.

    Raises:
        ConfigError: inference.yml is refused.
        WeightsError: A file is missing, or the names are broken.
    """
    missing = [name for name in (MODEL, WEIGHTS, DESCRIPTION) if not (folder / name).is_file()]
    if missing:
        raise WeightsError(
            where=str(folder), expected="a folder of `trainer export`", got=f"none with {', '.join(missing)}"
        )
    with (folder / DESCRIPTION).open("rb") as file:
        content = file.read(_MAX_DESCRIPTION + 1)
    document = parse_document(
        content, name=str(folder / DESCRIPTION), max_bytes=_MAX_DESCRIPTION, max_values=_MAX_DESCRIBED
    )
    written = document.values.get("Infer")
    if not isinstance(written, dict):
        problem = document.problem(("Infer",), "expected a section, got none; export it again")
        raise ConfigError([problem])
    infer = check(document, _Description).config.infer
    if labels:
        named = load_names(infer.post_process, labels, classes=len(infer.names) or None)
    else:
        named = ClassNames(names={index: name for index, name in enumerate(infer.names) if name})
    predictor = Predictor(
        source=folder, network=open_exported(folder, onednn=infer.onednn),
        transform=build_transform(infer.transforms), post_process=infer.post_process,
        names=named.names, notes=named.notes,
    )  # fmt: skip
    return predictor, infer.batch_size


class _Infer(InferSection):
    names: Annotated[tuple[str, ...], Field(strict=False)] = ()
    onednn: bool = True


class _Description(Section):
    infer: _Infer = Field(alias="Infer")


def open_exported(folder: Path, *, onednn: bool = True) -> Network:
    """Open the exported files with Paddle's inference library, on a CPU with oneDNN if that is wanted.

    Without it where that does not take them: Paddle 3.3's fails with Swin's windows when the files are
    opened, and with HRNet's interpolation when they are run.
    """
    try:
        engine = _make_engine(folder, onednn=onednn)
    except ValueError:
        engine = _make_engine(folder, onednn=False)

    def network(images: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal engine
        try:
            return _run(engine, images)
        except NotImplementedError:
            engine = _make_engine(folder, onednn=False)
            return _run(engine, images)

    return network


def _make_engine(folder: Path, *, onednn: bool) -> paddle.inference.Predictor:
    options = paddle.inference.Config(str(folder / MODEL), str(folder / WEIGHTS))
    options.disable_glog_info()
    if not onednn:
        options.disable_onednn()
    return paddle.inference.create_predictor(options)


def _run(engine: paddle.inference.Predictor, images: NDArray[np.float32]) -> NDArray[np.float32]:
    engine.get_input_handle(engine.get_input_names()[0]).copy_from_cpu(np.ascontiguousarray(images))
    engine.run()
    found: NDArray[np.float32] = engine.get_output_handle(engine.get_output_names()[0]).copy_to_cpu()
    return found


def _input_shape(config: TrainConfig) -> tuple[int, int | None, int | None]:
    """Return channels, height and width of the images that the exported model takes; None where any."""
    channels = config.run.image_shape[0] if config.run.image_shape else 3
    arch, _ = predicting_arch(config.arch)
    if not arch.exports_one_size:
        return channels, None, None
    found = find_size(infer_parts(config)[0])
    if found is None:
        raise DataError(
            [f"Infer.transforms: expected CropImage or another fixed size, which {arch.name} is exported for"]
        )
    width, height = found[1]
    return channels, height, width


def write_model(model: paddle.nn.Layer, folder: Path, *, shape: tuple[int, int | None, int | None]) -> None:
    """Write Paddle's inference files of a model that takes images of this shape [C, H, W]; None is any."""
    spec = paddle.static.InputSpec([None, *shape], dtype="float32", name="x")
    with quiet():  # Paddle's C++ side warns of what its own Python side does
        model.eval()
        paddle.jit.save(
            paddle.jit.to_static(model, input_spec=[spec], full_graph=True), str(folder / "inference")
        )


def _eval_ops(config: TrainConfig) -> list[dict[str, object]]:
    assert config.data.Eval is not None  # `infer_parts` found its operations
    return [
        {type(op).__name__: op.model_dump(mode="json", exclude_unset=True)}
        for op in config.data.Eval.dataset.transform_ops
    ]


def _listed(infer: Mapping[str, object]) -> Sequence[dict[str, object]]:
    found = infer.get("transforms")
    return found if isinstance(found, list) else []


def _plain_topk(post_process: object, names: Sequence[str]) -> dict[str, object]:
    if not isinstance(post_process, Topk):
        return {}
    return {"topk": max(post_process.topk), "label_list": names}
