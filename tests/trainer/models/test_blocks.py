"""Blocks against slow readings of their formulas, and what must hold of stochastic depth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import paddle
import pytest
from paddle import nn
from paddle.nn import functional

from trainer.errors import ImageSizeError
from trainer.models.efficientnet import pad_same
from trainer.models.registry import create_model
from trainer.models.residual import SqueezeByLinear
from trainer.models.swin import WindowAttention, from_windows, pad, relative_index, shift_mask, to_windows
from trainer.models.transformer_parts import drop_path, spread


def _softmax(x: np.ndarray) -> np.ndarray:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def test_window_attention_is_attention_with_a_bias_for_each_offset():
    """Window by window, head by head, pair by pair."""
    paddle.seed(0)
    side, heads, width = 2, 2, 4
    layer = WindowAttention(width, side=side, heads=heads, drop=0.0, attn_drop=0.0)
    table = layer.relative_position_bias_table
    table.set_value(paddle.randn(table.shape))
    x = np.random.default_rng(0).normal(size=(2, side * side, width)).astype(np.float32)
    mask = np.zeros((2, 4, 4), np.float32)
    mask[1, 0, 3] = mask[1, 3, 0] = -100.0
    expected = np.zeros_like(x)
    places = list(itertools.product(range(side), range(side)))
    for window in range(2):
        query, key, value = np.split(x[window] @ layer.qkv.weight.numpy() + layer.qkv.bias.numpy(), 3, axis=1)
        for head in range(heads):
            part = slice(head * 2, head * 2 + 2)
            scores = query[:, part] @ key[:, part].T / math.sqrt(2) + mask[window]
            for (i, (row, column)), (j, (other_row, other_column)) in itertools.product(
                enumerate(places), repeat=2
            ):
                offset = (row - other_row + side - 1) * (2 * side - 1) + column - other_column + side - 1
                scores[i, j] += table.numpy()[offset, head]
            expected[window, :, part] = _softmax(scores) @ value[:, part]
    expected = expected @ layer.proj.weight.numpy() + layer.proj.bias.numpy()
    found = layer(paddle.to_tensor(x), paddle.to_tensor(mask)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_shift_mask_parts_exactly_what_the_shift_joined():
    """Two pixels of a window see each other where, before the shift, no border of the image lay between."""
    height = width = 6
    side, shift = 3, 1
    mask = shift_mask(height, width, side=side, shift=shift).numpy()
    places = paddle.to_tensor(np.indices((height, width)).transpose(1, 2, 0)[None].astype(np.float32))
    shifted = paddle.roll(places, (-shift, -shift), (1, 2))
    windows = to_windows(shifted, side).numpy()
    for window, marks in zip(windows, mask, strict=True):
        near = np.abs(window[:, None] - window[None]).max(axis=-1) < side
        np.testing.assert_array_equal(marks == 0, near)


def test_windows_go_back_to_where_they_came_from():
    x = paddle.randn([2, 6, 9, 4])
    windows = to_windows(x, 3)
    assert windows.shape == [12, 9, 4]
    np.testing.assert_array_equal(windows[1].numpy(), x[0, :3, 3:6].reshape([9, 4]).numpy())
    np.testing.assert_array_equal(from_windows(windows, 3, 6, 9).numpy(), x.numpy())


@pytest.mark.parametrize(("height", "width", "shape"), [(6, 6, [6, 6]), (5, 7, [6, 9]), (6, 7, [9, 9])])
def test_padding_to_windows_is_paddleclas_own(height: int, width: int, shape: list[int]):
    assert pad(paddle.zeros([1, height, width, 2]), 3).shape[1:3] == shape


def test_offsets_of_a_window_are_numbered_without_gaps():
    index = relative_index(3).numpy()
    assert sorted(set(index.flatten().tolist())) == list(range(25))
    assert (np.diag(index) == 12).all()


def test_squeezing_weighs_each_channel_by_the_means():
    paddle.seed(0)
    layer = SqueezeByLinear(4, reduction=2, name="se_of_this_test")
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 3)).astype(np.float32)
    hidden = np.maximum(x.mean(axis=(2, 3)) @ layer.squeeze.weight.numpy() + layer.squeeze.bias.numpy(), 0)
    gates = 1 / (1 + np.exp(-(hidden @ layer.excitation.weight.numpy() + layer.excitation.bias.numpy())))
    np.testing.assert_allclose(layer(paddle.to_tensor(x)).numpy(), x * gates[:, :, None, None], rtol=1e-4)


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(224, 3, 2), (112, 5, 2), (15, 3, 2), (14, 5, 1), (33, 5, 2)]
)
def test_padding_and_cutting_give_tensorflows_same(side: int, kernel: int, stride: int):
    """TensorFlow pads ⌊n/2⌋ before and ⌈n/2⌉ after, where n makes the result ⌈side / stride⌉ long."""
    out = math.ceil(side / stride)
    total = max((out - 1) * stride + kernel - side, 0)
    x, weight = paddle.randn([1, 1, side, side]), paddle.randn([1, 1, kernel, kernel])
    before, after = total // 2, total - total // 2
    expected = functional.conv2d(functional.pad(x, [before, after, before, after]), weight, stride=stride)
    amount, cuts = pad_same(side, kernel, stride)
    found = functional.conv2d(x, weight, stride=stride, padding=amount)
    found = found[:, :, 1:, 1:] if cuts else found
    assert found.shape[2:] == [out, out]
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_a_dropped_path_is_zero_or_scaled_and_keeps_the_mean():
    paddle.seed(0)
    y = drop_path(paddle.ones([4000, 2, 1]), 0.25, training=True).numpy()
    assert np.unique(y) == pytest.approx([0.0, 4 / 3])
    assert (y[:, 0] == y[:, 1]).all()  # an image as a whole
    assert y.mean() == pytest.approx(1.0, abs=0.04)


def test_no_path_is_dropped_in_evaluation_nor_at_rate_0():
    x = paddle.randn([8, 3])
    assert drop_path(x, 0.5, training=False) is x
    assert drop_path(x, 0.0, training=True) is x


def test_rates_rise_evenly_to_that_of_the_config():
    assert spread(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert spread(0.3, 1) == [0.0]


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("DeiT_tiny_patch16_224", {"drop_path_rate": 0.5, "drop_rate": 0.2}),
        ("EfficientNetB0", {"override_params": {"drop_connect_rate": 0.5}}),
    ],
)
def test_evaluation_is_the_same_every_time_and_training_is_not(name: str, kwargs: dict[str, object]):
    paddle.seed(0)
    model = create_model(name, class_num=2, **kwargs)
    images = paddle.randn([2, 3, 224, 224])
    model.eval()
    with paddle.no_grad():
        first, second = model(images).numpy(), model(images).numpy()
        np.testing.assert_array_equal(first, second)
        model.train()
        assert not np.array_equal(model(images).numpy(), model(images).numpy())


def test_images_of_another_size_are_refused_by_a_vision_transformer():
    with paddle.LazyGuard():
        model = create_model("DeiT_tiny_patch16_224", class_num=2)
    with pytest.raises(ImageSizeError, match=r"expected 224 × 224, which .* is for, got 64 × 64"):
        model(paddle.zeros([1, 3, 64, 64]))


def test_layer_scale_of_0_leaves_no_weights_and_others_start_as_told():
    without = create_model("ConvNeXt_tiny", class_num=2, layer_scale_init_value=0.0)
    assert not [key for key in without.state_dict() if key.endswith("gamma")]
    model = create_model("ConvNeXt_tiny", class_num=2, layer_scale_init_value=0.5, head_init_scale=0.0)
    assert (model.stages[0][0].gamma.numpy() == 0.5).all()
    assert (model.head.weight.numpy() == 0).all()
    assert isinstance(model.head, nn.Linear)
