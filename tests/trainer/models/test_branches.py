"""RepVGG's branches of a block, and HRNet's of a network."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.nn import functional

from trainer.errors import ImageSizeError
from trainer.models.registry import create_model


def _disturb(norm: paddle.nn.Layer) -> None:
    """Give a norm numbers that show where it is left out."""
    for tensor in (norm.weight, norm.bias, norm._mean, norm._variance):
        tensor.set_value(paddle.rand(tensor.shape) + 0.5)


def _scale(norm: paddle.nn.Layer) -> np.ndarray:
    return (norm.weight / paddle.sqrt(norm._variance + 1e-5)).numpy()


def _shift(norm: paddle.nn.Layer) -> np.ndarray:
    return norm.bias.numpy() - norm._mean.numpy() * _scale(norm)


@pytest.mark.parametrize(("name", "index", "groups"), [("RepVGG_A0", 1, 1), ("RepVGG_B1g4", 3, 4)])
def test_the_branches_of_a_repvgg_block_are_one_3x3_convolution(name: str, index: int, groups: int):
    """The identity that the architecture is named after (Ding et al., 2021, section 3.3)."""
    paddle.seed(0)
    block = create_model(name, class_num=2).stage1[index]
    block.eval()
    dense, point, same = block.rbr_dense, block.rbr_1x1, block.rbr_identity
    norms = (dense.bn, point.bn, same)
    for norm in norms:
        _disturb(norm)
    kernel = dense.conv.weight.numpy() * _scale(dense.bn)[:, None, None, None]
    kernel[:, :, 1, 1] += point.conv.weight.numpy()[:, :, 0, 0] * _scale(point.bn)[:, None]
    channels, seen = kernel.shape[:2]
    assert channels == groups * seen
    for channel in range(channels):
        kernel[channel, channel % seen, 1, 1] += _scale(same)[channel]
    bias = paddle.to_tensor(sum(_shift(norm) for norm in norms))
    x = paddle.randn([2, channels, 5, 6])
    merged = functional.relu(
        functional.conv2d(x, paddle.to_tensor(kernel), bias=bias, padding=1, groups=groups)
    )
    np.testing.assert_allclose(block(x).numpy(), merged.numpy(), rtol=1e-4, atol=1e-4)


def test_every_second_block_is_grouped_in_the_sizes_that_say_so():
    with paddle.LazyGuard():
        model = create_model("RepVGG_B2g4", class_num=2)
    blocks = [block for stage in range(1, 5) for block in getattr(model, f"stage{stage}")]
    assert [block.rbr_dense.conv._groups for block in blocks] == [1, 4] * 13 + [1]
    assert [block.rbr_1x1.conv._groups for block in blocks] == [1, 4] * 13 + [1]


def test_repvgg_d2se_weighs_the_sum_of_the_branches_before_the_activation():
    with paddle.LazyGuard():
        plain, block = (create_model(f"RepVGG_{size}", class_num=2).stage1[1] for size in ("A0", "D2se"))
    assert "se" not in dict(plain.named_children())
    assert next(iter(dict(block.named_children()))) == "se"  # its parameters come first
    for parameter in block.parameters():
        parameter.initialize()
    given, weighed = [], paddle.randn([1, 160, 4, 4])
    block.rbr_identity.register_forward_post_hook(lambda layer, inputs, output: paddle.full([1], 1.0))
    block.rbr_dense.register_forward_post_hook(lambda layer, inputs, output: paddle.full([1], 2.0))
    block.rbr_1x1.register_forward_post_hook(lambda layer, inputs, output: paddle.full([1], 4.0))
    block.se.register_forward_pre_hook(
        lambda layer, inputs: given.append(inputs[0]) or paddle.ones([1, 160, 1, 1])
    )
    block.se.register_forward_post_hook(lambda layer, inputs, output: weighed)
    assert (block(paddle.ones([1, 160, 4, 4])).numpy() == np.maximum(weighed.numpy(), 0)).all()
    assert [x.tolist() for x in given] == [[7.0]]


def test_hrnet_brings_every_branch_to_the_size_of_every_other():
    """Nearest up, strided convolutions down, as slowly as the paper says it (Wang et al., 2019, figure 2)."""
    paddle.seed(0)
    fuse = create_model("HRNet_W18_C", class_num=2).st3.stage_func_list[0].fuse_func
    fuse.eval()
    a, b, c = (paddle.randn([1, 18 * 2**index, 8 >> index, 8 >> index]) for index in range(3))
    ab, ac, ba, bc, ca_first, ca, cb = fuse.residual_func_list  # target, source

    def up(x: paddle.Tensor, times: int) -> paddle.Tensor:
        return paddle.to_tensor(x.numpy().repeat(times, axis=2).repeat(times, axis=3))

    expected = (
        a + up(ab(b), 2) + up(ac(c), 4),
        b + ba(a) + up(bc(c), 2),
        c + ca(functional.relu(ca_first.bn(ca_first.conv(a)))) + cb(b),
    )
    for mine, other in zip(fuse([a, b, c]), expected, strict=True):
        np.testing.assert_allclose(mine.numpy(), np.maximum(other.numpy(), 0), rtol=1e-4, atol=1e-5)


def test_hrnet_learns_from_images_that_need_not_be_square():
    paddle.seed(0)
    model = create_model("HRNet_W18_C", class_num=3)
    logits = model(paddle.randn([2, 3, 32, 64]))
    assert logits.shape == [2, 3]
    logits.square().sum().backward()
    dead = [key for key, p in model.named_parameters() if not p.stop_gradient and p.grad is None]
    assert dead == []


def test_images_whose_sides_no_branch_can_halve_are_refused_by_hrnet():
    with paddle.LazyGuard():
        model = create_model("HRNet_W18_C", class_num=2)
    with pytest.raises(ImageSizeError, match=r"sides that are multiples of 32, .*, got 64 × 48"):
        model(paddle.zeros([1, 3, 48, 64]))


@pytest.mark.parametrize(
    ("name", "linears"), [("HRNet_W18_C", 1), ("SE_HRNet_W64_C", 2 * 112 + 1), ("RepVGG_D2se", 1)]
)
def test_automatic_names_count_the_layers_without_a_gap(name: str, linears: int):
    """An optimizer state is read by these names; one layer too many would shift all behind it."""
    with paddle.LazyGuard():
        model = create_model(name, class_num=2)
    weights = [p.name for p in model.parameters() if len(p.shape) == 4]
    assert weights == [f"conv2d_{number}.w_0" for number in range(len(weights))]
    assert list(model.parameters())[-1].name == f"linear_{linears - 1}.b_0"


def test_paddle_can_compile_a_stage_of_hrnet_for_images_of_any_size():
    """As an export does."""
    stage = create_model("HRNet_W18_C", class_num=2).st2
    stage.eval()
    specs = [paddle.static.InputSpec([None, width, None, None], dtype="float32") for width in (18, 36)]
    compiled = paddle.jit.to_static(stage, input_spec=[specs], full_graph=True)
    outputs = compiled.forward.concrete_program.outputs
    assert [list(output.shape) for output in outputs] == [[-1, 18, -1, -1], [-1, 36, -1, -1]]
