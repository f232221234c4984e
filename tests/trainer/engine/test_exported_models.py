"""Networks whose shapes are computed from the images' can be written out as well."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from trainer.engine.export import open_exported, write_model
from trainer.models.registry import create_model


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("DeiT_tiny_patch16_224", (3, None, None)), ("ConvNeXt_tiny", (3, None, None)),
        ("SwinTransformer_tiny_patch4_window7_224", (3, 224, 224)), ("HRNet_W18_C", (3, None, None)),
    ],
    ids=lambda value: str(value).partition("_")[0],
)  # fmt: skip
@pytest.mark.timeout(600)  # Paddle compiles HRNet for a minute of one core
def test_the_written_network_answers_as_the_one_in_memory(name, shape, tmp_path):
    model = create_model(name, class_num=3)
    model.eval()
    images = np.random.default_rng(0).standard_normal((2, 3, 224, 224), dtype=np.float32)
    with paddle.no_grad():
        expected = model(paddle.to_tensor(images)).numpy()
    write_model(model, tmp_path, shape=shape)
    assert np.abs(open_exported(tmp_path)(images) - expected).max() <= 1e-4
