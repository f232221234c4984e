"""Several weights, their mean and more looks at each image, in one evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from trainer.comparison import find_patterns
from trainer.config.problems import ConfigError
from trainer.engine.ensemble import Ensemble, Views, scaled_sides
from trainer.engine.selection import compare_weights
from trainer.ranks import Ranks

DRAWS = np.random.default_rng(3)
IMAGES = DRAWS.normal(size=(4, 3, 16, 24)).astype(np.float32)


class Net(nn.Layer):
    """One that answers otherwise for a mirrored image."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        paddle.seed(seed)
        self.conv, self.fc = nn.Conv2D(3, 4, 5, stride=2), nn.Linear(4, 3)

    def forward(self, images: Any) -> Any:
        return {"logits": self.fc(nn.functional.relu(self.conv(images)).mean(axis=[2, 3])) * 5}


def logits(net: Net, images: Any) -> Any:
    return net(paddle.to_tensor(images))["logits"].numpy().astype(np.float64)


def softmax(values: Any) -> Any:
    odds = np.exp(values - values.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def test_a_pattern_finds_a_file_once_also_where_a_link_leads_to_it(tmp_path: Path) -> None:
    for name in ("run-b", "run-c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "best.pdparams").touch()
    (tmp_path / "latest").symlink_to("run-c")
    found = find_patterns([str(tmp_path / "*" / "best.pdparams")])
    assert found == [tmp_path / "run-b" / "best.pdparams", tmp_path / "run-c" / "best.pdparams"]


@pytest.mark.parametrize("several", [False, True], ids=["softmax", "sigmoid"])
def test_the_answer_is_the_mean_probability_of_all_networks_and_views(several: bool) -> None:
    nets = [Net(seed) for seed in (1, 2)]
    activate = (lambda values: 1 / (1 + np.exp(-values))) if several else softmax
    found = Ensemble(nets, Views(flip=True), several=several)(paddle.to_tensor(IMAGES)).numpy()
    looks = (IMAGES, np.ascontiguousarray(IMAGES[:, :, :, ::-1]))
    expected = np.mean([activate(logits(net, look)) for net in nets for look in looks], axis=0)
    assert activate(found.astype(np.float64)) == pytest.approx(expected, rel=1e-5)


def test_a_probability_that_float32_holds_as_nothing_has_a_logarithm() -> None:
    both = Ensemble([Net(1)], Views(), several=False)
    both.members[0].fc.weight.set_value(paddle.ones([4, 3]) * paddle.to_tensor([1e4, 0.0, -1e4]))
    assert np.isfinite(both(paddle.to_tensor(IMAGES)).numpy()).all()


def test_scales_are_of_the_image_s_own_shape() -> None:
    assert [scaled_sides(side) for side in (224, 128, 100, 32, 1)] == [
        (192, 256), (96, 160), (88, 112), (28, 36), (1, 2),
    ]  # fmt: skip
    views = Views(flip=True, scales=True)
    assert (views.count, views.names) == (6, ("flip", "scales"))
    assert views.sizes((224, 100)) == ((224, 100), (192, 88), (256, 112))
    net = Net(1)
    found = Ensemble([net], Views(scales=True), several=False)(paddle.to_tensor(IMAGES)).numpy()
    tensor = paddle.to_tensor(IMAGES)
    looks = [tensor] + [
        nn.functional.interpolate(tensor, size=[height, width], mode="bilinear")
        for width, height in ((21, 14), (27, 18))
    ]
    expected = np.mean([softmax(logits(net, look.numpy())) for look in looks], axis=0)
    assert softmax(found.astype(np.float64)) == pytest.approx(expected, rel=1e-5)


def trained(workshop: Any) -> list[Any]:
    workshop.train()
    return [workshop.folder / f"output/epoch_{epoch}.pdparams" for epoch in (1, 2)]


def test_each_file_is_measured_as_by_itself_and_the_mean_after_them(workshop: Any) -> None:
    from trainer.engine.evaluate import evaluate_weights

    files, config = trained(workshop), workshop.config()
    found = compare_weights(
        config, Ranks(), weights=files, ensemble=True, views=Views(flip=True), answered=None
    )
    assert [item.passes for item in found.candidates] == [1, 1, 4]
    assert found.candidates[2].label == "mean of 2 + flip"
    assert all(item.seconds > 0 for item in found.candidates)
    for path, item in zip(files, found.candidates, strict=False):
        alone = evaluate_weights(config, Ranks(), weights=path)
        assert item.values == alone.values
    assert found.metric == "top1"
    top1 = [item.values["top1"] for item in found.candidates]
    assert top1[found.best] == max(top1)
    plain = compare_weights(config, Ranks(), weights=files, ensemble=False, views=Views(scales=True))
    assert [(item.views, item.passes) for item in plain.candidates] == [
        ((), 1), ((), 1), (("scales",), 3), (("scales",), 3),
    ]  # fmt: skip


def test_less_of_a_loss_is_better(workshop: Any) -> None:
    files = trained(workshop)
    found = compare_weights(workshop.config(Metric={}), Ranks(), weights=files, ensemble=False, views=Views())
    losses = [item.values["loss"] for item in found.candidates]
    assert (found.metric, found.less_is_better) == ("loss", True)
    assert losses[found.best] == min(losses)


def test_what_a_mean_or_a_network_cannot_be_is_refused(workshop: Any) -> None:
    pair = {"name": "DistillationModel", "class_num": 3, "models": [
        {name: {"name": "PPLCNet_x0_25", "class_num": 3}} for name in ("Teacher", "Student")
    ]}  # fmt: skip
    config = workshop.config(
        Arch=pair, Loss__Eval=[{"DistillationGTCELoss": {"model_names": ["Student"]}}],
        Metric__Eval=[{"DistillationTopkAcc": {"model_key": "Student"}}],
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        compare_weights(config, Ranks(), weights=["x"], ensemble=True, views=Views())
    assert [problem.path for problem in caught.value.problems] == [("Loss", "Eval"), ("Metric", "Eval")]
    ops = [{"DecodeImage": {}}, {"ResizeImage": {"size": 224}}, {"NormalizeImage": {"order": ""}}]
    config = workshop.config(
        Arch={"name": "DeiT_tiny_patch16_224", "class_num": 3},
        DataLoader__Train__dataset__transform_ops=ops, DataLoader__Eval__dataset__transform_ops=ops,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"--tta scales: .*224.* got 192 × 192 .*leave scales out"):
        compare_weights(config, Ranks(), weights=["x"], ensemble=False, views=Views(scales=True))
