from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from trainer.config.archs import ARCHS
from trainer.config.problems import ConfigError
from trainer.models.layers import sync_norms
from trainer.models.registry import BUILDERS, create_model

_BUFFERS = ("._mean", "._variance", ".relative_position_index")
KEYS = sorted((Path(__file__).parent / "keys").glob("*.txt"))


def test_what_is_declared_is_what_is_built():
    assert set(BUILDERS) == set(ARCHS)


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_keys_shapes_rates_and_decay_are_paddleclas_own(path: Path):
    """Lines of `key shape p(arameter)|b(uffer) rate decay`, as PaddleClas d178931 built the model."""
    with paddle.LazyGuard():
        model = create_model(path.stem)
    parameters = dict(model.named_parameters())
    found = []
    for key, tensor in model.state_dict().items():
        shape = "x".join(str(side) for side in tensor.shape)
        if key.endswith(_BUFFERS):
            found.append(f"{key} {shape} b 1 -")
            continue
        parameter = parameters[key]
        decay = "-" if parameter.regularizer is None else f"{parameter.regularizer._coeff:g}"
        found.append(f"{key} {shape} p {parameter.optimize_attr['learning_rate']:g} {decay}")
    assert found == path.read_text().splitlines()


@pytest.mark.parametrize(
    "name",
    [
        "ResNet18",
        "ResNet18_vd",
        "PPLCNet_x0_25",
        "MobileNetV3_small_x0_35",
        "PPHGNetV2_B0",
        "PPLCNetV2_small",
        "PPHGNet_tiny",
        "ResNeXt50_32x4d",
        "SE_ResNet18_vd",
        "Res2Net50_14w_8s",
        "MobileNetV1_x0_25",
        "MobileNetV2_x0_25",
        "ShuffleNetV2_swish",
        "DenseNet121",
        "RepVGG_A0",
        "EfficientNetB0",
        "SwinTransformer_tiny_patch4_window7_224",
        "ConvNeXt_tiny",
    ],
)
def test_images_of_any_size_become_logits_that_can_be_learnt_from(name: str):
    paddle.seed(0)
    model = create_model(name, class_num=3)
    for side in (32, 48):
        logits = model(paddle.randn([2, 3, side, side]))
        assert logits.shape == [2, 3]
    logits.sum().backward()
    dead = [key for key, p in model.named_parameters() if not p.stop_gradient and p.grad is None]
    assert dead == []


def test_automatic_names_are_those_of_a_fresh_process_every_time():
    first, second = (create_model("PPLCNet_x0_25", class_num=2) for _ in range(2))
    names = [parameter.name for parameter in first.parameters()]
    assert names[0] == "conv2d_0.w_0"
    assert names[-1] == "linear_0.b_0"
    assert names == [parameter.name for parameter in second.parameters()]


def test_rates_follow_lr_mult_list():
    model = create_model("PPLCNet_x0_25", lr_mult_list=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    rates = {key: p.optimize_attr["learning_rate"] for key, p in model.named_parameters()}
    assert rates["conv1.conv.weight"] == 0.1
    assert rates["blocks4.0.dw_conv.bn.bias"] == 0.4
    assert rates["last_conv.weight"] == rates["fc.weight"] == 1.0


def test_strides_follow_stride_list():
    model = create_model("ResNet18_vd", stride_list=[2, 2, 2, 1, 1])
    assert model.blocks(paddle.zeros([1, 64, 16, 16])).shape == [1, 512, 8, 8]


def test_strides_may_differ_by_direction():
    """As in PaddleClas's configs for lines of text, ppcls/configs/PULC/textline_orientation."""
    model = create_model("PPLCNet_x0_25", stride_list=[2, [2, 1], [2, 1], [2, 1], [2, 1]])
    features = model.conv1(paddle.zeros([1, 3, 32, 64]))
    for number in range(2, 7):
        features = getattr(model, f"blocks{number}")(features)
    assert features.shape[2:] == [1, 32]


def test_resnet50_computes_what_another_implementation_computes():
    """paddle.vision's ResNet50 has the same layers in the same order under other names."""
    paddle.seed(0)
    model, other = create_model("ResNet50", class_num=7), paddle.vision.models.resnet50(num_classes=7)
    for tensor, source in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        tensor.set_value(source)
    images = paddle.randn([2, 3, 64, 64])
    model.eval()
    other.eval()
    np.testing.assert_allclose(model(images).numpy(), other(images).numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["PPLCNet_x0_25", "ResNet18"])  # BatchNorm2D and BatchNorm
def test_frozen_statistics_neither_move_nor_depend_on_the_batch(name: str):
    model = create_model(name, class_num=2, freeze_norm_stats=True)
    before = {key: tensor.numpy().copy() for key, tensor in model.state_dict().items() if "._" in key}
    images = paddle.randn([4, 3, 32, 32])
    model.train()
    if hasattr(model, "dropout"):
        model.dropout.eval()
    together = model(images)
    alone = np.concatenate([model(images[index : index + 1]).numpy() for index in range(4)])
    np.testing.assert_allclose(together.numpy(), alone, rtol=1e-4, atol=1e-5)
    after = model.state_dict()
    assert all((after[key].numpy() == value).all() for key, value in before.items())
    together.square().sum().backward()
    norms = [p for key, p in model.named_parameters() if ".bn." in key and not p.stop_gradient]
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in norms)


@pytest.mark.parametrize("name", ["PPLCNet_x0_25", "ResNet18"])  # BatchNorm2D and BatchNorm
def test_synchronised_norms_keep_parameters_keys_and_order(name: str):
    model = create_model(name)
    before = dict(model.state_dict().items())
    sync_norms(model)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(after[key] is before[key] for key in before)
    kinds = {type(layer).__name__ for layer in model.sublayers() if "Norm" in type(layer).__name__}
    assert kinds == {"SyncBatchNorm"}


@pytest.mark.parametrize(
    ("name", "kwargs", "says"),
    [
        ("ResNet50_vdd", {}, "did you mean 'ResNet50_vd'"),
        ("ResNet50", {"class_num": 0}, "class_num"),
        ("ResNet50", {"dropout_prob": 0.1}, r"dropout_prob: expected a parameter that exists here"),
        ("ResNet50", {"lr_mult_lst": []}, r"did you mean 'lr_mult_list'\?"),
        ("ResNet50", {"lr_mult_list": [1.0]}, "expected at least 5 items"),
        ("ResNet50", {"lr_mult_list": [1.0, 1.0, -1.0, 1.0, 1.0]}, "expected a number of at least 0"),
        ("PPLCNet_x1_0", {"stride_list": [2] * 6}, "expected at most 5 items"),
        ("PPLCNet_x1_0", {"stride_list": [2, 2, 2, 2, 0]}, "expected a number above 0"),
        ("ResNet50", {"data_format": "CHWN"}, "expected 'NCHW' or 'NHWC', got 'CHWN'"),
    ],
)
def test_what_is_unknown_is_refused(name, kwargs, says):
    with pytest.raises(ConfigError, match=says):
        create_model(name, **kwargs)


@pytest.mark.parametrize(
    ("name", "last", "first_learning"),
    [("conv1", "conv1.", "blocks2.0."), ("blocks4", "blocks4.1.", "blocks5.0."),
     ("blocks5[2]", "blocks5.2.", "blocks5.3.")],
)  # fmt: skip
def test_freeze_befor_lets_nothing_learn_up_to_a_layer(name, last, first_learning):
    model = create_model("PPLCNet_x0_25", class_num=3, freeze_befor=name)
    learning = [key for key, parameter in model.named_parameters() if not parameter.stop_gradient]
    frozen = [key for key, parameter in model.named_parameters() if parameter.stop_gradient]
    weights = [key for key in frozen if not key.endswith(("._mean", "._variance"))]
    assert learning[0].startswith(first_learning)
    assert weights[-1].startswith(last)
    before = {key: value.numpy() for key, value in model.state_dict().items()}
    optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters(), weight_decay=0.1)
    model.train()
    model(paddle.ones([2, 3, 32, 32])).sum().backward()
    optimizer.step()
    for key, value in model.state_dict().items():
        if key in weights:
            assert (value.numpy() == before[key]).all(), key
    assert (model.fc.weight.numpy() != before["fc.weight"]).any()


@pytest.mark.parametrize("name", ["blocks9", "blocks4[2]", "fc", ""])
def test_freeze_befor_of_no_layer_is_refused(name):
    with pytest.raises(ConfigError, match="expected conv1, or one of blocks2 with 1, blocks3 with 2"):
        create_model("PPLCNet_x0_25", freeze_befor=name)
