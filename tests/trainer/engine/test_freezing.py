"""`Arch.freeze`: what does not learn, for how long, and that a run over the thaw goes on bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
import yaml
from paddle import nn

from tests.trainer.engine.ranks import run_ranks
from trainer.checkpoints.pdfiles import read_arrays
from trainer.config.problems import ConfigError
from trainer.engine.freezing import build_freezing, trace_ends
from trainer.models.registry import build_model

SMALL = {"name": "PPLCNet_x0_25", "class_num": 3, "dropout_prob": 0.5, "class_expand": 64}
STATISTICS = ("_mean", "_variance")
OPTIMIZERS = {
    "Momentum": {"name": "Momentum", "lr": {"name": "Cosine", "learning_rate": 0.05}},
    "AdamW": {"name": "AdamW", "weight_decay": 0.05, "lr": {"learning_rate": 0.01}},
}


def weights(workshop: Any, name: str) -> dict[str, Any]:
    return read_arrays(workshop.folder / f"{name}.pdparams")


def moved(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {key for key in one if not np.array_equal(one[key], other[key])}


def is_up_to_4(key: str) -> bool:
    return key.split(".", maxsplit=1)[0] in ("conv1", "blocks2", "blocks3", "blocks4")


def frozen(arch: Any, workshop: Any) -> tuple[set[str], set[str]]:
    """Return names of what learns and of what does not."""
    config = workshop.config(Arch=arch)
    model = build_model(config.arch)
    assert build_freezing(config, model) is not None
    named = dict(model.named_parameters())
    return (
        {key for key, tensor in named.items() if not tensor.stop_gradient},
        {key for key, tensor in named.items() if tensor.stop_gradient and not key.endswith(STATISTICS)},
    )


def test_frozen_layers_and_their_statistics_stay_until_they_are_thawed(workshop: Any) -> None:
    arch = {**SMALL, "freeze": {"until": "blocks4", "epochs": 1}}
    workshop.train(Arch=arch, Global__epochs=3, EMA={"decay": 0.5})
    first = build_at_first(workshop, arch)
    after = [read_arrays(workshop.folder / f"output/epoch_{epoch}.pdema") for epoch in (1, 2)]
    changed = moved(first, after[0])
    assert changed
    assert not any(is_up_to_4(key) for key in changed)
    changed = moved(after[0], after[1])
    assert {key for key in after[0] if is_up_to_4(key)} <= changed
    log = (workshop.folder / "output/train.log").read_text()
    assert "[Train][Epoch 1]frozen until epoch 1 is over: PPLCNet_x0_25 up to blocks4, " in log
    assert "[Train][Epoch 2]thawed: " in log


def build_at_first(workshop: Any, arch: Any) -> dict[str, Any]:
    """Return the weights that a run begins with: those after an epoch without a rate."""
    workshop.train(
        Arch={**arch, "freeze": {"until": "backbone"}}, Global__epochs=1,
        Optimizer__lr={"learning_rate": 0.0}, Global__output_dir=str(workshop.folder / "first"),
    )  # fmt: skip
    return weights(workshop, "first/epoch_1")


@pytest.mark.parametrize(
    ("optimizer", "at"), [("Momentum", 4), ("AdamW", 2), ("AdamW", 4), ("AdamW", 6)],
    ids=["Momentum at the thaw", "frozen", "at the thaw", "thawed"],
)  # fmt: skip
def test_a_run_goes_on_bit_for_bit_over_the_thaw(workshop: Any, optimizer: str, at: int) -> None:
    changes: dict[str, Any] = {
        "Arch": {**SMALL, "freeze": {"until": "blocks4", "epochs": 1}},
        "Optimizer": OPTIMIZERS[optimizer], "EMA": {"decay": 0.5},
    }  # fmt: skip
    workshop.train(**changes)
    halves = {**changes, "Global__output_dir": str(workshop.folder / "halves")}
    workshop.train_and_stop(at=at, **halves)
    workshop.train(**halves, resume="latest")
    for name in ("latest.pdparams", "latest.pdema"):
        one, other = (read_arrays(workshop.folder / of / name) for of in ("output", "halves"))
        assert moved(one, other) == set(), name
    one, other = (paddle.load(str(workshop.folder / of / "latest.pdopt"))[0] for of in ("output", "halves"))
    assert one.keys() == other.keys()
    for key in one.keys() - {"LR_Scheduler"}:
        np.testing.assert_array_equal(one[key].numpy(), other[key].numpy(), err_msg=key)


def test_two_ranks_with_half_the_batch_thaw_as_one_does(workshop: Any) -> None:
    def changes(output: str, batch: int) -> dict[str, Any]:
        freeze = {"until": "blocks4", "epochs": 1}
        return {
            "Arch": {**SMALL, "dropout_prob": 0.0, "freeze_norm_stats": True, "freeze": freeze},
            "Global__iter_per_epoch": 3, "Global__output_dir": str(workshop.folder / output),
            "DataLoader__Train__sampler": {"batch_size": batch, "shuffle": False},
        }  # fmt: skip

    workshop.train(**changes("alone", 4))
    (workshop.folder / "together.yaml").write_text(yaml.safe_dump(workshop._document(changes("together", 2))))
    run_ranks(2, "-m", "trainer", "train", "-c", str(workshop.folder / "together.yaml"))
    for epoch in (1, 2):
        mine, theirs = (weights(workshop, f"{of}/epoch_{epoch}") for of in ("alone", "together"))
        for key, value in mine.items():
            np.testing.assert_allclose(theirs[key], value, rtol=1e-4, atol=1e-6, err_msg=key)


def test_a_run_that_goes_back_freezes_again(workshop: Any) -> None:
    plain = {"Arch": {**SMALL, "freeze": {"until": "blocks4", "epochs": 1}}, "Global__on_nan": "rewind"}
    workshop.train(**plain)
    assert moved(weights(workshop, "output/epoch_1"), weights(workshop, "output/epoch_2"))


@pytest.mark.parametrize(
    ("name", "until", "last"),
    [
        ("ResNet18_vd", 1, "blocks.3."), ("MobileNetV3_small_x0_35", "blocks[2]", "blocks.2."),
        ("PPHGNetV2_B0", "stages[0]", "stages.0."),
    ],
)  # fmt: skip
def test_a_stage_or_a_layer_is_the_last_that_stays(workshop: Any, name: str, until: Any, last: str) -> None:
    learns, stays = frozen({"name": name, "class_num": 3, "freeze": {"until": until}}, workshop)
    assert any(key.startswith(last) for key in stays)
    assert not any(key.startswith(last) for key in learns)
    assert any(key.startswith(("fc.", "head.")) for key in learns)
    number = int(last.split(".")[1])
    following = last.replace(str(number), str(number + 1))
    assert not any(key.startswith(following) for key in stays)


class TwoSided(nn.Layer):
    """Makes its layers in another order than it runs them, and has parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.late = nn.Linear(4, 4)
        self.place = self.create_parameter([4])
        self.early = nn.LayerList([nn.Linear(3, 4), nn.BatchNorm1D(4)])
        self.head, self.head_dist, self.unused = nn.Linear(4, 2), nn.Linear(4, 2), nn.Linear(2, 2)

    def forward(self, images: Any) -> Any:
        found = images.mean(axis=[2, 3])
        for layer in self.early:
            found = layer(found)
        found = self.late(found + self.place)
        return self.head(found) + self.head_dist(found)


def test_layers_end_in_the_order_in_which_they_run() -> None:
    net = TwoSided()
    ended = trace_ends(net, [1, 3, 8, 8])
    assert sorted(ended, key=lambda key: ended[key])[:1] == ["early.0"]
    assert ended["early"] == ended["early.1"] < ended["late"] < ended["head"] < ended["head_dist"]
    assert "unused" not in ended
    assert net.training
    assert net.early[1]._mean.numpy().tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("ShuffleNetV2_x0_25", {"_fc"}), ("DeiT_tiny_distilled_patch16_224", {"head", "head_dist"}),
        ("PPHGNetV2_B0", {"fc"}),
    ],
)  # fmt: skip
def test_without_its_backbone_only_the_logits_layer_learns(workshop: Any, name: str, heads: set[str]) -> None:
    ops = [{"DecodeImage": {}}, {"ResizeImage": {"size": 224}}, {"NormalizeImage": {"order": ""}}]
    config = workshop.config(
        Arch={"name": name, "class_num": 3, "freeze": {"until": "backbone"}},
        DataLoader__Train__dataset__transform_ops=ops, DataLoader__Eval__dataset__transform_ops=ops,
    )  # fmt: skip
    model = build_model(config.arch)
    assert build_freezing(config, model) is not None
    learns = {key.split(".")[0] for key, tensor in model.named_parameters() if not tensor.stop_gradient}
    assert learns == heads


@pytest.mark.parametrize(
    ("freeze", "says"),
    [
        ({"until": "block4"}, r"Arch\.freeze\.until: expected a layer of the network \(.*blocks4.*\), or "
                              r"backbone, got 'block4'; did you mean 'blocks4'\?"),
        ({"until": "blocks4[9]"}, r"got 'blocks4\[9\]'; did you mean 'blocks4\.0'|got 'blocks4\[9\]'"),
        ({"until": "fc"}, r"Arch\.freeze\.until: expected layers that are left to learn, got none"),
    ],
)  # fmt: skip
def test_a_layer_that_is_not_there_is_refused(workshop: Any, freeze: Any, says: str) -> None:
    config = workshop.config(Arch={**SMALL, "freeze": freeze})
    with pytest.raises(ConfigError, match=says):
        build_freezing(config, build_model(config.arch))


def test_of_several_networks_each_has_its_own(workshop: Any) -> None:
    networks = [
        {"Teacher": dict(SMALL)}, {"Student": {**SMALL, "freeze": {"until": "blocks3", "epochs": 1}}}
    ]  # fmt: skip
    arch = {"name": "DistillationModel", "class_num": 3, "models": networks}
    learns, stays = frozen({**arch, "freeze_params_list": [True, False]}, workshop)
    assert {key.split(".")[0] for key in learns} == {"Student"}
    first = {key.split(".")[1] for key in stays if key.startswith("Student")}
    assert first == {"conv1", "blocks2", "blocks3"}
