from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import paddle
import pytest

from trainer.checkpoints.durable import write_file
from trainer.checkpoints.safetensors import write_safetensors
from trainer.errors import WeightsError
from trainer.models.registry import create_model
from trainer.models.weights import apply_weights, model_weights, read_weights


def test_a_model_takes_back_all_of_what_it_gave():
    source, target = create_model("PPLCNet_x0_25", class_num=3), create_model("PPLCNet_x0_25", class_num=3)
    weights = model_weights(source)
    report = apply_weights(target, weights)
    assert report.loaded == tuple(weights)
    assert report.missing == report.unexpected == report.reshaped == ()
    for key, array in model_weights(target).items():
        np.testing.assert_array_equal(array, weights[key])


def test_what_is_missing_and_what_is_unexpected_is_named():
    target = create_model("PPLCNet_x0_25", class_num=3)
    weights = model_weights(target)
    weights["head.bias"] = weights.pop("fc.bias")
    report = apply_weights(target, weights)
    assert (report.missing, report.unexpected) == (("fc.bias",), ("head.bias",))


def test_weights_of_another_precision_are_converted():
    target = create_model("PPLCNet_x0_25", class_num=3)
    halves = {key: array.astype(np.float16) for key, array in model_weights(target).items()}
    apply_weights(target, halves)
    assert target.fc.weight.dtype == paddle.float32
    np.testing.assert_array_equal(target.fc.weight.numpy(), halves["fc.weight"].astype(np.float32))


def test_bfloat16_that_paddle_saved_keeps_its_values(tmp_path: Path):
    source, target = create_model("PPLCNet_x0_25", class_num=3), create_model("PPLCNet_x0_25", class_num=3)
    halves = {
        key: tensor.astype("bfloat16") if "float32" in str(tensor.dtype) else tensor
        for key, tensor in source.state_dict().items()
    }
    paddle.save(halves, str(tmp_path / "half.pdparams"))
    report = apply_weights(target, read_weights(tmp_path / "half.pdparams"))
    assert not report.misfits
    np.testing.assert_array_equal(
        target.fc.weight.numpy(), halves["fc.weight"].astype("float32").numpy()
    )  # paddle's own way back


def test_complex_numbers_fit_into_no_parameter():
    target = create_model("PPLCNet_x0_25", class_num=3)
    before = model_weights(target)
    weights = {**before, "fc.bias": (before["fc.bias"] + 1).astype(np.complex64)}
    assert apply_weights(target, weights).missing == ("fc.bias",)
    np.testing.assert_array_equal(target.fc.bias.numpy(), before["fc.bias"])


def test_weights_of_another_head_leave_the_head_fresh(tmp_path: Path):
    source, target = create_model("PPLCNet_x0_25", class_num=5), create_model("PPLCNet_x0_25", class_num=3)
    path = tmp_path / "five.pdparams"
    paddle.save(source.state_dict(), str(path))
    fresh = target.fc.weight.numpy().copy()
    report = apply_weights(target, read_weights(tmp_path / "five"))
    assert [str(item) for item in report.reshaped] == [
        "fc.weight (expected [1280, 3], got [1280, 5])",
        "fc.bias (expected [3], got [5])",
    ]
    assert report.missing == report.unexpected == ()
    assert (target.fc.weight.numpy() == fresh).all()
    np.testing.assert_array_equal(target.conv1.conv.weight.numpy(), source.conv1.conv.weight.numpy())


def test_weights_that_are_not_there_are_refused_by_name(tmp_path: Path):
    with pytest.raises(
        WeightsError, match=r"none: expected a \.pdparams or \.safetensors file, got no such file"
    ):
        read_weights(tmp_path / "none")


def test_weights_that_would_run_code_are_refused(tmp_path: Path):
    path = tmp_path / "evil.pdparams"
    path.write_bytes(pickle.dumps({"fc.weight": Path}))
    with pytest.raises(WeightsError, match="which could run code"):
        read_weights(path)


@pytest.mark.parametrize("ending", ["", ".safetensors"], ids=["without its ending", "with it"])
def test_safetensors_are_read_where_weights_are(tmp_path: Path, ending: str):
    arrays = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
    write_file(tmp_path / "mine.safetensors", write_safetensors(arrays))
    found = read_weights(tmp_path / f"mine{ending}")
    np.testing.assert_array_equal(found["fc.weight"], arrays["fc.weight"])
