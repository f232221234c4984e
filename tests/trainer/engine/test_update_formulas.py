"""The engine's steps on a two-layer net, held against the formulas read in NumPy in float64."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import pytest
from paddle.regularizer import L2Decay
from pydantic import TypeAdapter

from trainer.config.losses import CELoss
from trainer.config.optimizers import Optimizer
from trainer.data.loader import Batch
from trainer.engine.collective import Collective
from trainer.engine.ema import ExponentialMovingAverage
from trainer.engine.feed import FedBatch
from trainer.engine.liveness import Liveness
from trainer.engine.precision import FLOAT32
from trainer.engine.signals import StopSignal
from trainer.engine.step import Stepper
from trainer.losses.build import build_loss
from trainer.optim.schedules import build_schedule
from trainer.optim.scopes import build_optimizers
from trainer.ranks import Ranks

EPOCHS, BATCHES = 4, 6
FACTOR, OWN_DECAY = {"second.weight": 0.5}, {"first.bias": 0.0}
DECAY = {"regularizer": {"name": "L2", "coeff": 0.05}}


class Net(paddle.nn.Layer):
    def __init__(self, weights: dict[str, Any]) -> None:
        super().__init__()
        self.first = paddle.nn.Linear(3, 4, bias_attr=paddle.ParamAttr(regularizer=L2Decay(0.0)))
        self.second = paddle.nn.Linear(4, 3, weight_attr=paddle.ParamAttr(learning_rate=0.5))
        for key, tensor in self.state_dict().items():
            tensor.set_value(weights[key].astype(np.float32))

    def forward(self, images: Any) -> Any:
        return self.second(paddle.tanh(self.first(images)))


def start() -> dict[str, Any]:
    draws = np.random.default_rng(1)
    shapes = {"first.weight": (3, 4), "first.bias": (4,), "second.weight": (4, 3), "second.bias": (3,)}
    return {key: draws.normal(size=shape) for key, shape in shapes.items()}


def batches() -> list[tuple[Any, Any]]:
    draws = np.random.default_rng(2)
    return [
        (draws.normal(size=(5, 3)).astype(np.float32), draws.integers(0, 3, (5, 1)))
        for _ in range(EPOCHS * BATCHES)
    ]


def gradients(weights: dict[str, Any], images: Any, labels: Any) -> dict[str, Any]:
    images = images.astype(np.float64)
    hidden = np.tanh(images @ weights["first.weight"] + weights["first.bias"])
    logits = hidden @ weights["second.weight"] + weights["second.bias"]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outer = (shares - np.eye(3)[labels[:, 0]]) / len(labels)
    inner = (outer @ weights["second.weight"].T) * (1 - hidden**2)
    return {
        "first.weight": images.T @ inner, "first.bias": inner.sum(axis=0),
        "second.weight": hidden.T @ outer, "second.bias": outer.sum(axis=0),
    }  # fmt: skip


def moved(spec: dict[str, Any], kept: dict[str, Any], key: str, p: Any, g: Any, lr: float, t: int) -> Any:
    """One tensor after update t, from 1; `kept` is this tensor's optimizer state, zero at first."""
    name, lr = spec["name"], lr * FACTOR.get(key, 1.0)
    if "clip_norm" in spec:
        g = g * min(1.0, spec["clip_norm"] / np.sqrt((g**2).sum()))
    if "regularizer" in spec:
        g = g + OWN_DECAY.get(key, spec["regularizer"]["coeff"]) * p
    if name == "Momentum":
        v = kept["v"] = spec["momentum"] * kept.get("v", 0.0) + g
        return p - lr * (g + spec["momentum"] * v if spec.get("use_nesterov") else v)
    if name == "RMSProp":
        kept["ms"] = spec["rho"] * kept.get("ms", 0.0) + (1 - spec["rho"]) * g**2
        kept["v"] = spec["momentum"] * kept.get("v", 0.0) + lr * g / np.sqrt(kept["ms"] + spec["epsilon"])
        return p - kept["v"]
    spares = spec.get("one_dim_param_no_weight_decay") or name == "AdamWDL"
    if name in ("AdamW", "AdamWDL") and not (spares and p.ndim == 1):
        p = p * (1 - lr * spec["weight_decay"])
    kept["m"] = 0.9 * kept.get("m", 0.0) + 0.1 * g
    kept["s"] = 0.999 * kept.get("s", 0.0) + 0.001 * g**2
    return p - lr * (kept["m"] / (1 - 0.9**t)) / (np.sqrt(kept["s"] / (1 - 0.999**t)) + spec["epsilon"])


def rate(lr: dict[str, Any], step: int, per_epoch: int) -> float:
    """Learning rate of update `step`, from 0, straight from the description of PaddleClas's schedules."""
    unit = 1 if lr.get("by_epoch") else per_epoch
    t = step // per_epoch if lr.get("by_epoch") else step
    first = {"Piecewise": "values", "Cyclic": "base_learning_rate", "OneCycleLR": "max_learning_rate"}
    base = lr[first.get(lr["name"], "learning_rate")]
    base = base[0] if isinstance(base, list) else base
    warm, begin = round(lr.get("warmup_epoch", 0) * unit), lr.get("warmup_start_lr", 0.0)
    if t < warm:
        return float(begin + (base - begin) * t / warm)
    u, total = t - warm, (EPOCHS - lr.get("warmup_epoch", 0)) * unit
    if lr["name"] == "Cosine":
        return float(lr["eta_min"] + (base - lr["eta_min"]) * (1 + math.cos(math.pi * u / total)) / 2)
    if lr["name"] == "Linear":
        return float((base - lr["end_lr"]) * (1 - min(u, total) / total) ** lr["power"] + lr["end_lr"])
    if lr["name"] == "Step":
        return float(base * lr["gamma"] ** (u // int(lr["step_size"] * unit)))
    if lr["name"] == "Cyclic":  # up in so many steps, down in so many
        place = u % (lr["step_size_up"] + lr["step_size_down"])
        share = place / lr["step_size_up"]
        if place > lr["step_size_up"]:
            share = 1 - (place - lr["step_size_up"]) / lr["step_size_down"]
        return float(base + (lr["max_learning_rate"] - base) * share)
    if lr["name"] == "OneCycleLR":  # up by half a cosine, down by another
        steps, start = EPOCHS * per_epoch, base / lr["divide_factor"]
        top = lr["phase_pct"] * steps - 1
        if u <= top:
            return float(start + (base - start) * (1 - math.cos(math.pi * u / top)) / 2)
        share = (1 - math.cos(math.pi * (u - top) / (steps - 1 - top))) / 2
        return float(base + (lr["end_learning_rate"] - base) * share)
    if lr["name"] == "CosineFixmatch":
        early, steps = lr["num_warmup_steps"], EPOCHS * per_epoch
        if t < early:
            return float(base * t / early)
        return float(base * max(0.0, math.cos(math.pi * lr["num_cycles"] * (t - early) / (steps - early))))
    if lr["name"] == "MultiStepDecay":
        return float(base * lr["gamma"] ** len([m for m in lr["milestones"] if u >= m * unit]))
    if lr["name"] == "Piecewise":
        return float(lr["values"][len([e for e in lr["decay_epochs"] if u >= e * unit])])
    return float(base)


CONSTANT = {"name": "Constant", "learning_rate": 0.1}
COSINE = {"name": "Cosine", "learning_rate": 0.1, "eta_min": 0.01}
LINEAR = {"name": "Linear", "learning_rate": 0.1, "end_lr": 0.01, "power": 2.0}
STEP = {"name": "Step", "learning_rate": 0.1, "step_size": 1.5, "gamma": 0.3}
MULTI = {"name": "MultiStepDecay", "learning_rate": 0.1, "milestones": [1, 3], "gamma": 0.3}
PIECEWISE = {"name": "Piecewise", "decay_epochs": [1, 2], "values": [0.1, 0.05, 0.01]}
MOMENTUM = {"name": "Momentum", "momentum": 0.9, **DECAY}
OPTIMIZERS = {
    "momentum": MOMENTUM,
    "nesterov": {**MOMENTUM, "use_nesterov": True},
    "clipped": {**MOMENTUM, "clip_norm": 0.1},
    "adam": {"name": "Adam", "epsilon": 1e-3, **DECAY},
    "adamw": {"name": "AdamW", "epsilon": 1e-3, "weight_decay": 0.1},
    "adamw spared": {
        "name": "AdamW", "epsilon": 1e-3, "weight_decay": 0.1, "one_dim_param_no_weight_decay": True,
    },
    "adamwdl": {"name": "AdamWDL", "epsilon": 1e-3, "weight_decay": 0.1},
    "rmsprop": {"name": "RMSProp", "rho": 0.9, "momentum": 0.5, "epsilon": 1e-3, **DECAY},
}  # fmt: skip
CYCLIC = {
    "name": "Cyclic", "base_learning_rate": 0.02, "max_learning_rate": 0.1, "step_size_up": 4,
    "step_size_down": 3, "warmup_epoch": 0.5, "warmup_start_lr": 0.0,
}  # fmt: skip
ONE_CYCLE = {
    "name": "OneCycleLR", "max_learning_rate": 0.1, "divide_factor": 10.0, "end_learning_rate": 0.001,
    "phase_pct": 0.4,
}  # fmt: skip
FIXMATCH = {"name": "CosineFixmatch", "learning_rate": 0.1, "num_warmup_steps": 5, "num_cycles": 0.4375}
SCHEDULES = {
    "constant": CONSTANT, "cosine": COSINE, "linear": LINEAR, "step": STEP, "multi": MULTI,
    "piecewise": PIECEWISE,
    "cyclic": CYCLIC, "one cycle": ONE_CYCLE, "fixmatch": FIXMATCH,
    "warm one cycle": {**ONE_CYCLE, "warmup_epoch": 1},
    "warm": {**COSINE, "warmup_epoch": 1, "warmup_start_lr": 0.02},
    "warm fraction": {**LINEAR, "warmup_epoch": 0.75},
    "warm piecewise": {**PIECEWISE, "warmup_epoch": 1},
    "epochs": {**COSINE, "by_epoch": True, "warmup_epoch": 2},
    "epochs multi": {**MULTI, "by_epoch": True},
}  # fmt: skip
CASES = [
    *[pytest.param({**spec, "lr": CONSTANT}, 1, id=key) for key, spec in OPTIMIZERS.items()],
    *[pytest.param({**MOMENTUM, "lr": lr}, 1, id=key) for key, lr in SCHEDULES.items()],
    pytest.param({**MOMENTUM, "lr": {**COSINE, "warmup_epoch": 1}}, 5, id="update_freq 5"),
    pytest.param({**OPTIMIZERS["adamw"], "lr": STEP}, 3, id="update_freq 3"),
]


@pytest.mark.parametrize(("spec", "update_freq"), CASES)
def test_every_step_is_its_formula(spec, update_freq):
    hold_against_formulas([spec], update_freq)


@pytest.mark.parametrize("update_freq", [1, 3])
def test_each_of_several_optimizers_moves_its_own_layer_by_its_own_rate(update_freq):
    one = {**MOMENTUM, "scope": "first", "lr": {**COSINE, "warmup_epoch": 1}}
    other = {**OPTIMIZERS["adamw"], "scope": "second", "lr": STEP}
    hold_against_formulas([one, other], update_freq)


def hold_against_formulas(specs: list[dict[str, Any]], update_freq: int) -> None:
    per_epoch = BATCHES // update_freq
    weights, kept = start(), {key: {} for key in start()}
    net = Net(start())
    declared = [(("Optimizer",), TypeAdapter(Optimizer).validate_python(spec)) for spec in specs]
    spec_of = {key: next(spec for spec in specs if spec.get("scope", key) in key) for key in weights}
    setup: Any = SimpleNamespace(
        network=net, precision=FLOAT32,
        loss=build_loss([CELoss()]), metrics=lambda *_: {},
        optimizers=build_optimizers(declared, net, {}, name="Net"),
        collective=Collective(world_size=1), ranks=Ranks(),
        schedules=[
            build_schedule(spec.lr, epochs=EPOCHS, steps_per_epoch=per_epoch) for _, spec in declared
        ],
        apart=(), ema=ExponentialMovingAverage(net, decay=0.9, saved={}),
        options=SimpleNamespace(
            run=SimpleNamespace(seed=0, on_gpu=False), seeds_steps=True, update_freq=update_freq,
            divisor=update_freq,
        ),
    )  # fmt: skip
    stepper = Stepper(setup, liveness=Liveness(None, local_rank=0), stop=StopSignal())
    averaged = dict(weights)
    step, summed = 0, dict.fromkeys(weights, 0.0)
    for images, labels in batches()[: EPOCHS * per_epoch * update_freq]:
        batch = Batch(
            images=images,
            labels=labels,
            indices=np.arange(5),
            valid=np.ones(5, bool),
            global_samples=5,
            end=0,
        )
        fed = FedBatch(batch=batch, images=paddle.to_tensor(images), labels=paddle.to_tensor(labels))
        result = stepper.step(fed, step=step)
        own = gradients(weights, images, labels)
        summed = {key: summed[key] + own[key] / update_freq for key in weights}
        if result.applied:
            rates = [rate(spec["lr"], step, per_epoch) for spec in specs]
            assert result.learning_rates == pytest.approx(rates, rel=1e-9, abs=1e-12)
            for key, own in spec_of.items():
                lr = rates[specs.index(own)]
                weights[key] = moved(own, kept[key], key, weights[key], summed[key], lr, step + 1)
            averaged = {key: 0.9 * averaged[key] + 0.1 * weights[key] for key in weights}
            step, summed = step + 1, dict.fromkeys(weights, 0.0)
        for key, tensor in net.state_dict().items():
            np.testing.assert_allclose(tensor.numpy(), weights[key], rtol=2e-5, atol=2e-6, err_msg=key)
    for key, value in setup.ema.arrays().items():
        np.testing.assert_allclose(value, averaged[key], rtol=2e-5, atol=2e-6, err_msg=key)
    assert step == EPOCHS * per_epoch
