"""Sections of a config that stand by themselves (PaddleClas d178931; facts of use in ppcls/engine)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator

from trainer.config.registry import STRICT, Section
from trainer.config.scalars import Positive
from trainer.protocol.durations import DURATION, parse_duration

_DEVICE = re.compile(r"(gpu|cuda)(:\d{1,3})?")
_NOT_HERE = ("xpu", "npu", "mlu", "ascend", "intel_gpu", "intel_hpu", "mps", "gcu", "iluvatar_gpu")
"""What else PaddleClas and Paddle's plug-ins know (ppcls/engine/engine.py; paddle.device)."""


def _device(value: object) -> object:
    """Refuse by name what Paddle may know and this trainer does not run on."""
    if value == "cpu" or (isinstance(value, str) and value.startswith("gpu") and _DEVICE.fullmatch(value)):
        return value
    expected = "expected 'gpu', 'gpu:N' or 'cpu'"
    if isinstance(value, str) and _DEVICE.fullmatch(value.lower()):
        right = value.lower().replace("cuda", "gpu")
        raise ValueError(f"{expected}, got {value!r}; Paddle's name for it is {right!r}")
    if isinstance(value, str) and value.lower().partition(":")[0] in _NOT_HERE:
        raise ValueError(f"{expected}, got {value!r}; this trainer runs on NVIDIA's GPUs and on CPUs only")
    raise ValueError(f"{expected}, got {value!r}")


Shape = Annotated[tuple[Positive, Positive, Positive], Field(strict=False)]

MAX_IMAGE_PIXELS = 178_956_970
"""Where Pillow refuses: a quarter of a GiB of 24-bit pixels, twice. OpenCV goes to 2**30."""
Ranks = Annotated[
    str,
    BeforeValidator(
        lambda value: (
            ",".join(map(str, value if isinstance(value, list | tuple) else [value]))
            if isinstance(value, int | list | tuple) and not isinstance(value, bool)
            else value
        )
    ),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]
"""Numbers with commas between; `"0,1"` is read as a pair by then."""


def _duration(value: object) -> object:
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None or seconds < 1:
        raise ValueError(f"expected a duration from 1s, such as 90s, 10m, 24h or 7d, got {value!r:.80}")
    return seconds


Duration = Annotated[
    float, BeforeValidator(_duration), WithJsonSchema({"type": "string", "pattern": f"^{DURATION}$"})
]
"""Seconds, written as in `Launch`: a number and s, m, h or d."""


class EarlyStopping(Section):
    """When a run ends before its last epoch, because it gets no better. PaddleClas has no such keys."""

    model_config = ConfigDict(**{**STRICT, "extra": "forbid"})

    metric: str | None = None
    """A value of the evaluation, such as `top1`, `loss` or `ema_top1`; None is the one that chooses the best
    checkpoint, with `EMA` the better of both."""
    patience: Positive = 5
    """Evaluations in a row that may pass without a better one."""
    min_delta: float = Field(default=0.0, ge=0)
    """By how much a value must be better to count."""
    mode: Literal["auto", "max", "min"] = "auto"
    """Whether more is better, or less; `auto` knows it of losses and of all metrics but your own."""


class GlobalSection(Section):
    """What concerns the run as a whole."""

    checkpoints: str | None = None
    """Path prefix of a PaddleClas checkpoint to resume from, without `.pdparams`."""
    pretrained_model: str | None = None
    """Path prefix of weights, loaded after the model was built; wins over Arch.pretrained."""
    output_dir: str = "./output/"
    """Folder for checkpoints and logs."""
    device: Annotated[
        str, BeforeValidator(_device), Field(json_schema_extra={"pattern": r"^(cpu|gpu(:[0-9]+)?)$"})
    ] = "gpu"
    """`gpu`, `gpu:N` for one of several, or `cpu`; where there is no GPU, `gpu` means the CPU too."""
    save_interval: int = 1
    """Keep the checkpoint of every so many epochs as `epoch_N`; 0 or less keeps none but latest and best."""
    eval_during_train: bool = True
    eval_interval: Positive = 1
    """Evaluate every so many epochs."""
    start_eval_epoch: int = Field(default=0, ge=0)
    epochs: Positive
    print_batch_step: Positive = 10
    """A log line every so many steps."""
    use_visualdl: bool = False
    image_shape: Shape | None = None
    """[C, H, W]; export's input. Training takes its size from the transforms."""
    save_inference_dir: str = "./inference"
    seed: int | None = None
    """Seeds weights, shuffling of augmentation and dropout."""
    update_freq: Positive = 1
    """Steps whose gradients are added up before the weights move; what is left over of an epoch is left out,
    or, with `rng: paddleclas`, opens the next epoch."""
    iter_per_epoch: Positive | None = None
    """Batches of an epoch, where that is not to be the whole list."""
    class_num: Positive | None = None
    """Old place of Arch.class_num."""
    to_static: bool = False
    use_multilabel: bool = False
    """Labels are those of MultiLabelDataset; predicting and exporting take a sigmoid, not a softmax."""
    use_dali: bool = False
    image_channel: Positive = 3
    """Channels that DALI makes."""
    train_mode: str | None = None
    """Another way to train, such as `progressive`."""
    eval_mode: str | None = None
    """Another way to evaluate; None and `classification` are the one that is here."""
    print_mem_info: bool = True
    log_ranks: Ranks = "0"
    uniform_output_enabled: bool = False
    export_for_fd: bool = False
    """Write inference.yml beside an exported model; it is always written here."""
    max_image_pixels: int = Field(default=MAX_IMAGE_PIXELS, ge=1, le=2**30)
    """Ours: images of more pixels, by their header, are not decoded: a small file can claim gigabytes."""
    early_stopping: EarlyStopping | None = None
    """Ours: end the run once so many evaluations in a row were no better."""
    save_every_steps: Positive | None = None
    """Ours: save within an epoch too, every so many optimizer steps of the run."""
    save_every_minutes: float | None = Field(default=None, gt=0)
    """Ours: save within an epoch too, at the first printed step so many minutes after the last save."""
    keep_latest: Positive = 2
    """Ours: how many of the furthest checkpoints are kept."""
    keep_best: Positive = 1
    """Ours: how many of those with the best evaluations are kept."""
    keep_every: int = Field(default=0, ge=0)
    """Ours: keep the checkpoint of the end of every so many epochs; 0 keeps none for that."""
    on_save_error: Literal["stop", "warn"] = "stop"
    """Ours: a checkpoint that cannot be written ends the run, or is said and tried again at the next save."""
    on_nan: Literal["stop", "skip", "rewind"] = "stop"
    """Ours: what a step does whose loss or weights are no numbers: it ends the run; is left out, with the
    weights as they were before it; or the run goes back to its last checkpoint and leaves that batch out."""
    time_budget: Duration | None = None
    """Ours: a time such as `2h` that the run is to end in: fewer epochs, with the schedule fitted to them."""
    report: bool = True
    """Ours: write a page of how the training goes and what the model gets wrong, after each evaluation."""
    deterministic: bool = False
    """Ours: the same run gives the same bits (CPU, same number of ranks)."""
    autotune: bool = False
    """Ours: a GPU tries kernels in the first steps, and memory layouts, channels last among them."""

    @field_validator("autotune")
    @classmethod
    def _not_deterministic(cls, wanted: bool, info: ValidationInfo) -> bool:
        if wanted and info.data.get("deterministic"):
            raise ValueError(
                "expected False beside deterministic: True: what is fastest differs from run to run"
            )
        return wanted

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device != "cpu"


class AmpSection(Section):
    """Mixed precision."""

    use_amp: bool = True
    level: Literal["O1", "O2"] = "O1"
    """O1 chooses by operator; O2 keeps the parameters in 16 bits too."""
    dtype: Literal["float16", "bfloat16"] = "float16"
    """Ours: the 16-bit type."""
    scale_loss: float = Field(default=1.0, gt=0)
    """What the loss is multiplied by before the backward pass; without effect in bfloat16."""
    use_dynamic_loss_scaling: bool = False
    """Halve that where a gradient is not finite, and double it after many steps without one."""
    use_fp16_test: bool = False
    """Evaluate in mixed precision too; O2 always does."""
    use_promote: bool = True
    """O2: compute in float32 what has a float32 input."""


class EmaSection(Section):
    """Moving average of the weights."""

    decay: float = Field(default=0.9999, ge=0, le=1)
