"""What `trainer check` says of the model: its size, and whether its pretrained weights are here and fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paddle

from trainer.config.root import TrainConfig
from trainer.config.step_memory import StepEstimate, StepMemory
from trainer.engine.freezing import build_freezing
from trainer.engine.loss_layers import attach
from trainer.engine.memory import estimate_step, weights_bytes
from trainer.engine.setup import pretrained_parts, weights_source, with_mounted_weights
from trainer.errors import WeightsError
from trainer.losses.build import build_loss
from trainer.models.registry import build_model
from trainer.models.weights import compare_shapes, read_weights
from trainer.models.weights_store import WeightsStore, is_url
from trainer.optim.scopes import find_parts


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCheck:
    """What was found.

    Attributes:
        parameters: Numbers that are trained or frozen, buffers left out.
        bytes: Weights, gradients, optimizer state and average, in float32; activations come on top.
        weights: A sentence on the pretrained weights, or nothing.
        estimate: What a training step takes; None where the images decide.
        batch: Images of a step of one rank.
    """

    parameters: int
    bytes: int
    weights: str
    estimate: StepEstimate | None = None
    batch: int = 0

    def __str__(self) -> str:
        size = f"{self.parameters / 1e6:.1f} M parameters, {self.bytes / 2**20:.0f} MiB"
        weights = f"; {self.weights}" if self.weights else ""
        step = ""
        if self.estimate is not None:
            taken = self.estimate.device_bytes_of(self.batch)
            process = self.estimate.process_bytes / 2**20
            step = (
                f", about {taken / 2**20:.0f} MiB with a batch of {self.batch}, and {process:.0f} MiB of the "
                "process where it trains on a CPU (estimated)"
            )
        return f"model: {size} with gradients and optimizer{step or ', activations apart'}{weights}"


def check_model(config: TrainConfig, store: WeightsStore) -> ModelCheck:
    """Build the model on the CPU and hold the weights against it; nothing is downloaded.

    Raises:
        ConfigError: An optimizer's scope has no parameters, or some of another's.
        WeightsError: The file that is named is not there, is broken or is another model's.
    """
    paddle.set_device("cpu")
    model = build_model(config.arch)
    count = sum(int(tensor.size) for tensor in model.parameters())
    arrays = weights_bytes(config, model)
    estimate = estimate_step(config, model)
    StepMemory().keep(config, estimate)
    loss = build_loss([item.without_class_weight() for item in config.loss.Train])
    attach(model, loss)
    find_parts(config.optimizers, model, loss.layers_by_name(), name=config.arch.name)
    build_freezing(config, model)
    try:
        said = "; ".join(_weights(config, model, store))
    except WeightsError as error:
        error.add_place("pretrained weights")
        raise
    return ModelCheck(
        parameters=count, bytes=arrays, weights=said, estimate=estimate,
        batch=config.data.Train.sampler.batch_size,
    )  # fmt: skip


def _weights(config: TrainConfig, model: paddle.nn.Layer, store: WeightsStore) -> Iterator[str]:
    for arch, network, named in pretrained_parts(config.arch, config.run.pretrained_model, model):
        text = weights_source(arch, named)
        path = with_mounted_weights(config, store).find(text) if is_url(text) else Path(text)
        if path is None:
            yield f"{text} is downloaded when training begins"
            continue
        own = {key: tensor.shape for key, tensor in network.state_dict().items()}
        report = compare_shapes(own, read_weights(path))
        if 2 * len(report.loaded) < len(own):
            raise WeightsError(
                where=str(path), expected=f"weights of {arch.name}", got="others", fix="name another file"
            )
        yield f"{len(report.loaded)} of {len(own)} keys of {arch.name} from {path}"
