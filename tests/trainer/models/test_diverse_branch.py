"""The diverse branch block is one convolution in four branches, under the names of PaddleClas's weights."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.nn import functional

from trainer.config.problems import ConfigError
from trainer.models.diverse_branch import DiverseBranch
from trainer.models.published import published_url
from trainer.models.registry import create_model


def _block(kernel: int, stride: int) -> DiverseBranch:
    paddle.seed(3)
    block = DiverseBranch(4, 6, kernel, stride=stride, act=False, lr_mult=1.0)
    for _ in range(3):  # batch norms get statistics of their own
        block(paddle.normal(0.5, 2.0, [4, 4, 8, 8]))
    for parameter in block.parameters():
        parameter.set_value(parameter + paddle.normal(0.0, 0.3, parameter.shape))
    block.eval()
    return block


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1), (5, 2)])
@paddle.no_grad()
def test_its_sum_is_one_convolution_at_the_border_too(kernel: int, stride: int):
    block, dense = _block(kernel, stride), _block(kernel, 1)
    dense.set_state_dict(block.state_dict())  # the statistics of another stride are other ones
    side = 2 * kernel + 1
    bias = dense(paddle.zeros([1, 4, side, side]))
    # the answer to one pixel in the middle holds the weights, turned by half
    weights = np.zeros([6, 4, kernel, kernel], np.float32)
    reach, middle = kernel // 2, side // 2
    for channel in range(4):
        pixel = np.zeros([1, 4, side, side], np.float32)
        pixel[0, channel, middle, middle] = 1
        answer = (dense(paddle.to_tensor(pixel)) - bias).numpy()[0]
        around = slice(middle - reach, middle + reach + 1)
        weights[:, channel] = answer[:, around, around][:, ::-1, ::-1]
    images = paddle.normal(0.0, 1.0, [2, 4, 9, 9])
    plain = functional.conv2d(
        images, paddle.to_tensor(weights), bias[0, :, middle, middle], stride=stride, padding=reach
    )
    np.testing.assert_allclose(block(images).numpy(), plain.numpy(), rtol=1e-3, atol=1e-4)


def test_a_network_of_them_learns_and_has_paddleclass_names():
    model = create_model("ResNet18", class_num=3, layer_type="DiverseBranchBlock", use_first_short_conv=False)
    keys = model.state_dict()
    assert len(keys) == 486  # of ResNet18 in paddleclas 2.6.0 with these parameters
    assert [key for key in keys if key.startswith("blocks.2.conv1.dbb_1x1_kxk.")][:3] == [
        "blocks.2.conv1.dbb_1x1_kxk.idconv1.weight",
        "blocks.2.conv1.dbb_1x1_kxk.bn1.bn.weight",
        "blocks.2.conv1.dbb_1x1_kxk.bn1.bn.bias",
    ]
    assert keys["blocks.0.conv0.dbb_avg.avgbn.weight"].name == "batch_norm2d_3.w_0"
    assert "blocks.0.short.conv.weight" not in keys
    assert "blocks.2.short.conv.weight" in keys
    images, labels = paddle.normal(0.0, 1.0, [2, 3, 32, 32]), paddle.to_tensor([0, 2])
    functional.cross_entropy(model(images), labels).backward()
    still = [
        key for key, tensor in model.named_parameters() if not tensor.stop_gradient and tensor.grad is None
    ]
    assert still == []


def test_its_published_weights_are_its_own():
    url = published_url("ResNet18_dbb", use_ssld=False)
    assert url is not None
    assert url.endswith("/legendary_models/ResNet18_dbb_pretrained.pdparams")
    assert published_url("ResNet50_dbb", use_ssld=False) is None


def test_a_deeper_network_keeps_its_first_shortcut():
    with pytest.raises(ConfigError, match="expected use_first_short_conv: True of ResNet50"):
        create_model("ResNet50", use_first_short_conv=False)


@pytest.mark.parametrize("name", ["ResNet18", "PPLCNet_x0_25", "MobileNetV1_x0_25", "MobileNetV3_small_x0_35",
                                  "MobileNetV3_large_x0_35", "VGG11"])  # fmt: skip
def test_the_stages_of_a_network_are_layers_that_it_has(name: str):
    model = create_model(name, class_num=2, return_stages=True)
    side = 224 if name == "VGG11" else 64
    outputs = model(paddle.zeros([1, 3, side, side]))
    assert len(outputs) > 4
    assert outputs["logits"].shape == [1, 2]


def test_without_dropout_training_and_evaluation_see_the_same():
    model = create_model("MobileNetV3_small_x0_35", class_num=2, dropout_prob=None)
    features = paddle.normal(0.0, 1.0, [2, model.last_conv.weight.shape[1], 1, 1])
    model.train()
    learning = model.classify(features).numpy()
    model.eval()
    np.testing.assert_array_equal(learning, model.classify(features).numpy())
