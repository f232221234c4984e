"""Layers that do not learn, for the first epochs or at all (`Arch.freeze`).

Which they are is found by running the network once: all layers that have come to their end when the one that
is named has. The order in which layers were made, which is that of their names, is no order to go by: some
networks make all reductions of size before all blocks (ConvNeXt), others branches that run side by side.
Parameters of the network itself, such as position embeddings, are frozen with them.

A frozen parameter has no gradient, so that the optimizer passes over it and keeps no state of it: at the
thaw it begins as in a first step, in a resumed run too. Batch norms of frozen layers stay in evaluation mode,
or their statistics would follow the batches; dropout goes on. Data parallelism is set up for the parameters
that learn from the beginning; the gradients of those that are thawed are handed round by us, because Paddle's
wrapper can be made of a model once only. So a resumed run has the very exchanges of an undisturbed one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import paddle
from paddle import nn

from trainer.config.archs import BACKBONE, Arch, BaseArch, DistillationArch
from trainer.config.archs_resnet import ResNetArch
from trainer.config.pipeline import find_size
from trainer.config.problems import ConfigError, KeyPath, Problem, suggest
from trainer.config.root import TrainConfig

_SIDE = 224
"""Of the image that is run, where neither operations nor Global.image_shape say one."""
_NORMS = (nn.BatchNorm, nn.BatchNorm1D, nn.BatchNorm2D, nn.BatchNorm3D, nn.SyncBatchNorm)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrozenPart:
    """What is frozen of one network.

    Attributes:
        label: What messages call it, such as `ResNet50 up to blocks[2]`.
        epochs: For how many from the first; None for all.
        parameters: That would learn otherwise.
        norms: Its batch norms.
    """

    label: str
    epochs: int | None
    parameters: Sequence[paddle.Tensor]
    norms: Sequence[nn.Layer]

    def holds(self, epoch: int) -> bool:
        """Tell whether it is frozen in an epoch, from 0."""
        return self.epochs is None or epoch < self.epochs


class Freezing:
    """The frozen parts of a training."""

    def __init__(self, parts: Sequence[FrozenPart]) -> None:
        """Freeze all parts."""
        self._parts = parts
        self._frozen = list(parts)
        self._set()

    def release(self) -> None:
        """Let everything learn for a while, such as for optimizers to be made of it."""
        self._frozen = []
        self._set()

    def apply(self, epoch: int, optimizers: Sequence[paddle.optimizer.Optimizer] = ()) -> list[paddle.Tensor]:
        """Freeze what is frozen in an epoch, and return the parameters that learn from now on.

        Args:
            epoch: From 0.
            optimizers: Which take up the state that a checkpoint had of what has learnt so far.
        """
        frozen = [part for part in self._parts if part.holds(epoch)]
        thawed = [part for part in self._frozen if part not in frozen]
        if thawed:
            take_up_state(optimizers)
        self._frozen = frozen
        self._set()
        if thawed:
            take_up_state(optimizers, only_saved=True)
        return [tensor for part in thawed for tensor in part.parameters]

    def hold_norms(self) -> None:
        """Put frozen batch norms back into evaluation mode, after the network was put into training mode."""
        for part in self._frozen:
            for norm in part.norms:
                norm.eval()

    def describe(self, thawed: Sequence[paddle.Tensor] = ()) -> Iterator[str]:
        """Yield a sentence for what was thawed now, and for each part that is frozen."""
        if thawed:
            yield f"thawed: {len(thawed)} tensors learn from now on"
        for part in self._frozen:
            count = sum(int(tensor.size) for tensor in part.parameters)
            until = "" if part.epochs is None else f" until epoch {part.epochs} is over"
            yield (
                f"frozen{until}: {part.label}, {len(part.parameters)} tensors of {count:,} numbers and "
                f"{len(part.norms)} batch norms"
            )

    def _set(self) -> None:
        held = {id(tensor) for part in self._frozen for tensor in part.parameters}
        for part in self._parts:
            for tensor in part.parameters:
                tensor.stop_gradient = id(tensor) in held


def take_up_state(optimizers: Sequence[paddle.optimizer.Optimizer], *, only_saved: bool = False) -> None:
    """Have optimizers make their state of all parameters that learn, out of a checkpoint where it has some.

    Paddle makes it in the first step (`Optimizer._add_accumulator`, 3.3.1), and fails there if a checkpoint
    has state of some parameters and not of others, as one of the last frozen epoch does. It offers no other
    way to say of which the state is to be made now.

    Args:
        optimizers: Restored.
        only_saved: Make nothing where no state is left over.
    """
    block = paddle.static.default_main_program().global_block()
    for optimizer in optimizers:
        if only_saved and not optimizer._accumulators_holder:
            continue
        learning = [tensor for tensor in optimizer._parameter_list if not tensor.stop_gradient]
        with paddle.utils.unique_name.guard():  # its tensors are named as a fresh process names them
            optimizer._create_accumulators(block, learning)


def build_freezing(config: TrainConfig, model: nn.Layer) -> Freezing | None:
    """Find and freeze what a config asks for; None where it asks for nothing.

    Args:
        config: Checked.
        model: Of its `Arch`, with its parameters as they would learn.

    Raises:
        ConfigError: There is no such layer, or nothing is left to learn; all problems at once.
    """
    parts: list[FrozenPart] = []
    problems: list[Problem] = []
    for path, arch, network in _networks(config.arch, model):
        if arch.freeze is None:
            continue
        try:
            parts.append(_find_part(arch, network, path, _shape(config, arch)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    if not parts:
        return None
    freezing = Freezing(parts)
    if all(tensor.stop_gradient for tensor in model.parameters()):
        message = "expected layers that are left to learn, got none; name one before the last"
        raise ConfigError([Problem(file="config", path=("Arch", "freeze", "until"), message=message)])
    return freezing


def _networks(arch: Arch, model: nn.Layer) -> Iterator[tuple[KeyPath, BaseArch, nn.Layer]]:
    if not isinstance(arch, DistillationArch):
        yield ("Arch",), arch, model
        return
    children = dict(model.named_children())
    for index, (name, part) in enumerate(arch.by_name.items()):
        yield ("Arch", "models", index, name), part, children[name]


def _shape(config: TrainConfig, arch: BaseArch) -> list[int]:
    """Return the shape [1, C, H, W] of an image that the network takes."""
    channels = arch.input_image_channel if isinstance(arch, ResNetArch) else None
    shape = config.run.image_shape
    found = find_size(config.data.Train.dataset.transform_ops)
    width, height = found[1] if found is not None else shape[:0:-1] if shape else (_SIDE, _SIDE)
    return [1, channels or (shape[0] if shape else 3), height, width]


def _find_part(arch: BaseArch, network: nn.Layer, path: KeyPath, shape: Sequence[int]) -> FrozenPart:
    assert arch.freeze is not None
    until = arch.freeze.until
    name = arch.stage_layers[until] if isinstance(until, int) else until
    ended = trace_ends(network, shape)
    layers = dict(network.named_sublayers())
    if name == BACKBONE:
        last = _last_of_backbone(network, ended, classes=arch.class_num)
    else:
        wanted = name.replace("[", ".").replace("]", "")
        last = ended.get(wanted, -1)
        if last < 0:
            known = [key for key in layers if ended.get(key, -1) >= 0]
            top = ", ".join(key for key, _ in network.named_children() if key in known)
            hint = suggest(wanted, [BACKBONE, *known])
            what = "a layer that its forward pass runs" if wanted in layers else "a layer of the network"
            message = f"expected {what} ({top}), or {BACKBONE}, got {name!r}{hint}"
            raise ConfigError([Problem(file="config", path=(*path, "freeze", "until"), message=message)])
    frozen = [layer for key, layer in layers.items() if _is_inside(key, ended, last)]
    own = [network, *frozen]  # the network's own, such as embeddings of positions
    seen: dict[int, paddle.Tensor] = {}
    for layer in own:
        for tensor in layer.parameters(include_sublayers=False):
            if not tensor.stop_gradient:
                seen[id(tensor)] = tensor
    return FrozenPart(
        label=f"{arch.name} up to {until}" if name != BACKBONE else f"{arch.name} without its last layer",
        epochs=arch.freeze.epochs,
        parameters=list(seen.values()),
        norms=[layer for layer in frozen if isinstance(layer, _NORMS)],
    )


def trace_ends(network: nn.Layer, shape: Sequence[int]) -> dict[str, int]:
    """Run a network on one image of zeros, and say in which order its layers came to their ends.

    Args:
        network: Left in the mode that it was in.
        shape: Of the image, [1, C, H, W].

    Returns:
        By name, from 0; of a list of layers the end of its last one. Layers that do not run are not there.
    """
    names = {id(layer): key for key, layer in network.named_sublayers()}
    ended: dict[str, int] = {}

    def note(layer: nn.Layer, inputs: object, outputs: object) -> None:
        del inputs, outputs
        ended.setdefault(names[id(layer)], len(ended))

    hooks = [layer.register_forward_post_hook(note) for layer in network.sublayers()]
    was_training = network.training
    network.eval()
    try:
        with paddle.no_grad(), paddle.utils.unique_name.guard():
            network(paddle.zeros(list(shape), dtype="float32"))
    finally:
        for hook in hooks:
            hook.remove()
        if was_training:
            network.train()
    for key, _ in network.named_sublayers():
        inside = [end for other, end in ended.items() if other.startswith(f"{key}.")]
        if key not in ended and inside:
            ended[key] = max(inside)
    return ended


def _last_of_backbone(network: nn.Layer, ended: dict[str, int], *, classes: int) -> int:
    """Return the end before which everything but the layers that make the logits has ended.

    Those are the last one with parameters, and others of as many classes directly before it, as networks
    with two classifiers have them.
    """
    leaves = sorted(
        (
            (ended[key], layer)
            for key, layer in network.named_sublayers()
            if key in ended and list(layer.parameters(include_sublayers=False))
        ),
        key=lambda item: item[0],
    )
    head = leaves.pop()[0]
    while leaves and any(list(t.shape)[-1:] == [classes] for t in leaves[-1][1].parameters()) and any(
        isinstance(leaves[-1][1], kind) for kind in (nn.Linear, nn.Conv2D)
    ):  # fmt: skip
        head = leaves.pop()[0]
    return head - 1


def _is_inside(key: str, ended: dict[str, int], last: int) -> bool:
    """Tell whether a layer, or one that it is in, has ended by then."""
    parts = key.split(".")
    names = (".".join(parts[: count + 1]) for count in range(len(parts)))
    return any(-1 < ended.get(name, -1) <= last for name in names)
