"""Families whose parameters bear names that PaddleClas wrote out."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from trainer.models.registry import create_model
from trainer.models.shufflenet_v2 import shuffle

# The first and the last parameter's own name, as PaddleClas d178931 gives them.
NAMES = {
    "ResNeXt50_32x4d": ("res_conv1_weights", "fc_offset"),
    "ResNeXt101_vd_32x4d": ("conv1_1_weights", "fc_offset"),
    "SE_ResNet18_vd": ("conv1_1_weights", "fc6_offset"),
    "Res2Net50_26w_4s": ("conv1_weights", "fc_offset"),
    "MobileNetV2_x0_25": ("conv1_1_weights", "fc10_offset"),
    "ShuffleNetV2_x0_25": ("stage1_conv_weights", "fc6_offset"),
    "DenseNet121": ("conv1_weights", "fc_offset"),
    "EfficientNetB0": ("_conv_stem_weights", "_fc_offset"),
    "DeiT_tiny_distilled_patch16_224": ("distilled_vision_transformer_0.w_2", "linear_49.b_0"),
}


@pytest.mark.parametrize("name", NAMES)
def test_two_models_of_a_process_bear_the_same_written_names(name: str):
    with paddle.LazyGuard():
        first, second = create_model(name), create_model(name)
    names = [parameter.name for parameter in first.parameters()]
    assert (names[0], names[-1]) == NAMES[name]
    assert names == [parameter.name for parameter in second.parameters()]


def test_optimizer_state_of_one_model_fits_another_of_its_kind():
    states = []
    for _ in range(2):
        model = create_model("MobileNetV2_x0_25", class_num=2)
        with paddle.utils.unique_name.guard():  # as in a process of its own
            optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters())
            if states:
                optimizer.set_state_dict(states[0])
            model(paddle.ones([2, 3, 32, 32])).sum().backward()
            optimizer.step()
        states.append(optimizer.state_dict())
    assert "conv1_1_weights_velocity_0" in states[0]
    assert set(states[0]) == set(states[1])


def test_long_stages_count_their_blocks():
    with paddle.LazyGuard():
        model = create_model("ResNeXt101_32x4d")
    names = {parameter.name for parameter in model.parameters()}
    assert {"res4a_branch2a_weights", "res4b22_branch2a_weights", "bn4b1_branch2c_scale"} <= names


def test_shuffling_interleaves_the_halves():
    x = paddle.arange(6, dtype="float32").reshape([1, 6, 1, 1])
    assert shuffle(x).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_each_group_of_res2net_sees_what_the_group_before_became():
    """Changing the first group's input reaches every group but the last, which passes unchanged."""
    paddle.seed(0)
    model = create_model("Res2Net50_26w_4s", class_num=2)
    model.eval()
    block = model.bb_0_1
    y = paddle.randn([1, 104, 6, 6])
    parts = np.split(y.numpy(), 4, axis=1)
    layers = [getattr(block, f"res2b_branch2b_{number}") for number in (1, 2, 3)]
    expected = [layers[0](paddle.to_tensor(parts[0])).numpy()]
    for layer, part in zip(layers[1:], parts[1:3], strict=True):
        expected.append(layer(paddle.to_tensor(part + expected[-1])).numpy())
    expected.append(parts[3])
    seen = []
    block.conv0.register_forward_post_hook(lambda layer, inputs, outputs: y)
    block.conv2.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    block(paddle.zeros([1, 256, 6, 6]))
    np.testing.assert_allclose(seen[0].numpy(), np.concatenate(expected, axis=1), rtol=1e-4, atol=1e-5)


def test_the_convolution_that_only_inference_needs_asks_for_no_gradient():
    with paddle.LazyGuard():
        model = create_model("PPLCNetV2_base")
    still = {key for key, parameter in model.named_parameters() if parameter.stop_gradient}
    assert "stages.2.0.dw_conv.weight" in still
    assert all(key.endswith((".dw_conv.weight", ".dw_conv.bias", "_mean", "_variance")) for key in still)


def test_blocks_that_are_stopped_do_not_learn():
    with paddle.LazyGuard():
        model = create_model("VGG11", stop_grad_layers=2)
    still = [key for key, parameter in model.named_parameters() if parameter.stop_gradient]
    assert still == ["conv_block_1.conv1.weight", "conv_block_2.conv1.weight"]


def test_dropout_of_the_base_size_is_its_own():
    with paddle.LazyGuard():
        sizes = [create_model(f"PPHGNet_{size}").dropout.p for size in ("tiny", "small", "base")]
    assert sizes == [0.0, 0.0, 0.2]


def test_parameters_without_a_layer_of_paddle_are_called_after_the_layers_of_paddleclas():
    """Such names are made of the class's, on which an optimizer state depends."""
    with paddle.LazyGuard():
        affine, next_ = create_model("PPHGNetV2_B0"), create_model("ConvNeXt_tiny")
    names = {parameter.name for model in (affine, next_) for parameter in model.parameters()}
    assert {"learnable_affine_block_0.w_0", "channels_first_layer_norm_0.w_1", "block_0.w_0"} <= names
