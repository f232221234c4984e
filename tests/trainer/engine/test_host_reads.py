"""Between two fetches a step reads no number of the device, and ranks exchange nothing that is ours."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest
from pydantic import TypeAdapter

from benchmarks.host_reads import counting
from trainer.config.losses import LOSSES, LossList
from trainer.config.metrics import METRICS, MetricList
from trainer.config.optimizers import OPTIMIZERS, Optimizer
from trainer.config.sections import AmpSection
from trainer.data.loader import Batch
from trainer.engine.collective import Collective
from trainer.engine.ema import ExponentialMovingAverage
from trainer.engine.feed import FedBatch
from trainer.engine.liveness import Liveness
from trainer.engine.loss_layers import attach
from trainer.engine.on_nan import UpdateGuard
from trainer.engine.precision import FLOAT32, MixedPrecision
from trainer.engine.signals import StopSignal
from trainer.engine.step import Stepper
from trainer.losses.build import build_loss
from trainer.metrics.build import build_batch_metrics
from trainer.optim.scopes import build_optimizers
from trainer.protocol.heartbeat import Heartbeats
from trainer.ranks import Ranks

B, K, SIDE = 4, 3, 4
DRAWS = np.random.default_rng(5)
IMAGES = DRAWS.normal(size=(B, 3, SIDE, SIDE)).astype(np.float32)
CLASS = DRAWS.integers(0, K, (B, 1))
ONES = DRAWS.integers(0, 2, (B, K)).astype(np.float32)
RATIOS = np.stack([ONES, np.full((B, K), 0.4, np.float32)], axis=1)
SHARES = np.full((B, K), 1 / K, np.float32)

PAIR = {"model_name_pairs": [["Student", "Teacher"]]}
CHANNELS = {"student_channel": 2, "teacher_channel": 2, "s_key": "features", "t_key": "features"}
LOSS_CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("CELoss", {}, CLASS), ("CELoss", {"epsilon": 0.1}, CLASS), ("CELoss", {}, SHARES),
    ("CELoss", {"class_weight": [1, 2, 3]}, CLASS), ("CELoss", {"class_weight": [1, 2, 3]}, SHARES),
    ("FocalLoss", {"class_weight": [1, 2, 3]}, CLASS), ("FocalLoss", {"gamma": 0.5}, SHARES),
    ("CELoss", {"soft_label": "exact"}, SHARES), ("SoftTargetCrossEntropy", {}, CLASS),
    ("GoogLeNetLoss", {}, CLASS), ("MultiLabelLoss", {"weight_ratio": True, "epsilon": 0.1}, RATIOS),
    ("MultiLabelLoss", {"size_sum": True}, ONES), ("MultiLabelAsymmetricLoss", {}, ONES),
    ("DistillationGTCELoss", {"model_names": ["Student"]}, CLASS),
    ("DistillationMultiLabelLoss", {"model_names": ["Student"]}, ONES),
    ("DistillationCELoss", PAIR, CLASS), ("DistillationDMLLoss", PAIR, CLASS),
    ("DistillationDMLLoss", {**PAIR, "weight_ratio": True, "act": "sigmoid"}, RATIOS),
    ("DistillationDistanceLoss", {**PAIR, "key": "features"}, CLASS),
    ("DistillationKLDivLoss", PAIR, CLASS), ("DistillationDKDLoss", PAIR, CLASS),
    ("DistillationDKDLoss", {**PAIR, "use_target_as_gt": True}, CLASS),
    ("DistillationWSLLoss", PAIR, CLASS), ("DistillationSKDLoss", {**PAIR, "temperature": 2.0}, CLASS),
    ("DistillationDISTLoss", PAIR, CLASS),
    ("DistillationRKDLoss", {
        **PAIR, "student_keepkeys": ["features"], "teacher_keepkeys": ["features"], "target_size": 2,
    }, CLASS),
    ("DistillationPairLoss", {**PAIR, **CHANNELS, "base_loss_name": "PEFDLoss"}, CLASS),
    ("DistillationPairLoss", {
        **PAIR, "base_loss_name": "MGDLoss", "s_keys": ["features"], "t_keys": ["features"],
        "student_channels": 2, "teacher_channels": 2,
    }, CLASS),
]  # fmt: skip
METRIC_CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("TopkAcc", {"topk": [1, 2, 5]}, CLASS), ("GoogLeNetTopkAcc", {"topk": [1]}, CLASS),
    ("DistillationTopkAcc", {"model_key": "Student", "topk": [1]}, CLASS),
    ("HammingDistance", {}, ONES), ("AccuracyScore", {"base": "sample"}, ONES),
    ("AccuracyScore", {"base": "label"}, RATIOS),
]  # fmt: skip
OPTIMIZER_CASES: list[tuple[str, dict[str, Any]]] = [
    ("Momentum", {"use_nesterov": True, "no_weight_decay_name": "bias", "clip_norm": 0.5}),
    ("Momentum", {"regularizer": {"name": "L1", "coeff": 0.1}}),
    ("SGD", {"weight_decay": 0.1, "clip_norm": 1.0}), ("Adam", {"multi_precision": True}),
    ("AdamW", {"weight_decay": 0.1, "clip_norm": 1.0}), ("AdamWDL", {"layerwise_decay": 1.0}),
    ("RMSProp", {}),
]  # fmt: skip


class Net(paddle.nn.Layer):
    """One that drops out and keeps running statistics, and answers as the case wants it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.norm = paddle.nn.Conv2D(3, 2, 3, padding=1), paddle.nn.BatchNorm2D(2)
        self.drop, self.fc = paddle.nn.Dropout(0.5), paddle.nn.Linear(2, K)

    def forward(self, images: Any) -> Any:
        features = paddle.nn.functional.relu(self.norm(self.conv(images)))
        logits = self.fc(self.drop(features.mean(axis=[2, 3])))
        if self.kind == "GoogLeNet":
            return [logits, 2 * logits, 3 * logits]
        if self.kind == "Distillation":
            return {
                "Student": {"logits": logits, "features": features},
                "Teacher": {"logits": (2 * logits).detach(), "features": (2 * features).detach()},
            }
        return logits


def kind_of(name: str) -> str:
    return next((kind for kind in ("GoogLeNet", "Distillation") if name.startswith(kind)), "")


def make(
    *, losses: Any = ({"CELoss": {}},), metrics: Any = (), optimizer: Any = None, kind: str = "",
    update_freq: int = 1, precision: Any = FLOAT32, ema: bool = False, takes_back: bool | None = None,
) -> Stepper:  # fmt: skip
    paddle.seed(0)
    loss = build_loss(TypeAdapter(LossList).validate_python([{**one} for one in losses]))
    net = Net(kind)
    attach(net, loss)
    spec = optimizer or {"name": "Momentum"}
    declared = TypeAdapter(Optimizer).validate_python(
        {"lr": {"name": "Constant", "learning_rate": 0.01}, **spec}
    )
    setup: Any = SimpleNamespace(
        model=net, network=net, precision=precision, loss=loss,
        metrics=build_batch_metrics(TypeAdapter(MetricList).validate_python([{**one} for one in metrics])),
        optimizers=build_optimizers([(("Optimizer",), declared)], net, loss.layers_by_name(), name="Net"),
        collective=Collective(world_size=1), ranks=Ranks(), schedules=[lambda step: 0.01 / (step + 1)],
        apart=(), ema=ExponentialMovingAverage(net, decay=0.9, saved={}) if ema else None,
        options=SimpleNamespace(
            run=SimpleNamespace(seed=0, on_gpu=False), seeds_steps=True, update_freq=update_freq,
            divisor=update_freq,
        ),
    )  # fmt: skip
    guard = None
    if takes_back is not None:
        guard = UpdateGuard(net, setup.optimizers, ema=setup.ema, takes_back=takes_back)
    return Stepper(setup, liveness=Liveness(None, local_rank=0), stop=StopSignal(), guard=guard)


def fed(labels: Any) -> FedBatch:
    batch = Batch(
        images=IMAGES, labels=labels, indices=np.arange(B), valid=np.ones(B, bool), global_samples=B, end=0
    )
    return FedBatch(batch=batch, images=paddle.to_tensor(IMAGES), labels=paddle.to_tensor(labels))


def assert_no_reads(stepper: Stepper, labels: Any = CLASS, *, steps: int = 3) -> None:
    """Count between two fetches, of which the first is that of the first step."""
    stepper.step(fed(labels), step=0)
    stepper.fetch()
    with counting() as found:
        for step in range(1, steps + 1):
            stepper.step(fed(labels), step=step)
    assert not found
    with counting() as found:
        results, *_ = stepper.fetch()
    assert dict(found) == {"Tensor.numpy": 1}  # one copy, however many steps
    assert len(results) == steps
    assert all(np.isfinite(result.loss) for result in results)


def test_a_read_and_an_exchange_are_counted():
    tensor = paddle.ones([2])
    with counting() as found:
        float(tensor.sum())
        bool(tensor.sum() > 1)
        np.asarray(tensor)
        tensor.sum().item()
        tensor.tolist()
        f"{tensor}"
        paddle.nonzero(tensor)
    assert found.total() == 7
    assert tensor.numpy().tolist() == [1, 1]
    with counting() as after:
        pass
    tensor.numpy()
    assert not after


@pytest.mark.parametrize(("name", "spec", "labels"), LOSS_CASES)
def test_no_loss_reads(name, spec, labels):
    assert_no_reads(make(losses=[{name: {**spec, "weight": 1.0}}], kind=kind_of(name)), labels)


def test_a_sum_of_losses_reads_nothing():
    pair = {**PAIR, "weight": 0.5}
    losses = [
        {"DistillationGTCELoss": {"model_names": ["Student"], "weight": 1.0}},
        {"DistillationDMLLoss": pair},
    ]
    assert_no_reads(make(losses=losses, kind="Distillation"))


@pytest.mark.parametrize(("name", "spec", "labels"), METRIC_CASES)
def test_no_metric_reads(name, spec, labels):
    kind = kind_of(name)
    loss = {
        "": {"CELoss": {}} if labels is CLASS else {"MultiLabelLoss": {}}, "GoogLeNet": {"GoogLeNetLoss": {}},
        "Distillation": {"DistillationGTCELoss": {"model_names": ["Student"]}},
    }[kind]  # fmt: skip
    assert_no_reads(make(losses=[loss], metrics=[{name: spec}], kind=kind), labels)


@pytest.mark.parametrize(("name", "spec"), OPTIMIZER_CASES)
def test_no_optimizer_reads(name, spec):
    assert_no_reads(make(optimizer={"name": name, **spec}, ema=True))


@pytest.mark.filterwarnings("ignore:amp_guard can only")  # on a CPU it changes nothing
@pytest.mark.parametrize("update_freq", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_neither_groups_of_batches_nor_bfloat16_nor_an_average_read(update_freq, dtype):
    precision = FLOAT32
    if dtype == "bfloat16":
        precision = MixedPrecision(AmpSection(dtype=dtype), evaluates=False)
    assert_no_reads(make(update_freq=update_freq, precision=precision, ema=True), steps=4)


@pytest.mark.parametrize("takes_back", [True, False])
@pytest.mark.parametrize("update_freq", [1, 2])
def test_updates_are_watched_and_taken_back_without_a_read(takes_back, update_freq):
    stepper = make(optimizer={"name": "Adam"}, ema=True, takes_back=takes_back, update_freq=update_freq)
    if update_freq == 2:  # the first update of a process is looked at by the host, where it may be taken back
        stepper.step(fed(CLASS), step=0)
    assert_no_reads(stepper)


def test_the_loop_reads_at_printed_steps_and_at_the_end_of_an_epoch_only(workshop, monkeypatch):
    counts: list[int] = []
    real = Stepper.fetch

    def fetch(stepper: Stepper, **given: Any) -> Any:
        counts.append(found.total())
        fetched = real(stepper, **given)
        counts.append(found.total())
        return fetched

    monkeypatch.setattr(Stepper, "fetch", fetch)
    path = workshop.folder / "heartbeats"
    heartbeats = Heartbeats.create(path, ranks=1)
    with counting() as found:
        workshop.train(
            ranks=Ranks(heartbeats=path), Global__epochs=1, Global__print_batch_step=2, EMA={"decay": 0.9}
        )
    begins, ends = counts[0::2], counts[1::2]
    assert len(begins) == 3  # after the first step, the third, and the last
    assert begins[1:] == ends[:-1]
    assert [end - begin for begin, end in zip(begins, ends, strict=True)] == [1, 1, 1]
    assert found.total() > counts[-1]  # the evaluation and the save
    assert heartbeats.read(0).loss > 0


def test_every_kind_of_the_grammar_is_held():
    assert {name for name, _, _ in LOSS_CASES} == {spec.__name__ for spec in LOSSES}
    assert {name for name, _, _ in METRIC_CASES} == {spec.__name__ for spec in METRICS if not spec.needs_list}
    assert {name for name, _ in OPTIMIZER_CASES} == {spec.__name__ for spec in OPTIMIZERS}
