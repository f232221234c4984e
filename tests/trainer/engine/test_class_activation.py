"""Maps of where a network looked: equations 1 and 2 of Grad-CAM, and networks that have no such features."""

from __future__ import annotations

import cv2
import numpy as np
import paddle
import pytest

from trainer.engine.class_activation import explain_answers


class Halves(paddle.nn.Layer):
    """Class 0 is red anywhere, class 1 green anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 2, 1, bias_attr=False)
        self.conv.weight.set_value(np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32).reshape(2, 3, 1, 1))
        self.act = paddle.nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x)).mean(axis=[2, 3])


class Tokens(paddle.nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.cut = paddle.nn.Conv2D(3, 4, 4, stride=4)
        self.mix = paddle.nn.Linear(4, 2)

    def forward(self, x):
        return self.mix(self.cut(x).flatten(2).transpose([0, 2, 1])).mean(axis=1)


@pytest.fixture
def images(tmp_path):
    """An image that is red at its top left, one that is green at its bottom right, and one that is none."""
    for name, channel, rows in (("red", 0, slice(0, 4)), ("green", 1, slice(4, 8))):
        image = np.zeros((8, 8, 3), dtype=np.uint8)
        image[rows, rows, channel] = 200
        cv2.imwrite(str(tmp_path / f"{name}.png"), image[..., ::-1])
    (tmp_path / "none.png").write_text("no image")
    return [str(tmp_path / f"{name}.png") for name in ("red", "none", "green")]


def ops(workshop):
    return workshop.config().data.Eval.dataset.transform_ops


def test_the_map_is_where_the_answer_comes_from(images, workshop):
    network = Halves()
    made = explain_answers(network, images, [0, 1, 2], ops(workshop))
    assert made.indices.tolist() == [0, 2]
    assert made.layer == "act"
    assert made.maps.shape == (2, 8, 8)
    for number, rows in enumerate((slice(0, 4), slice(4, 8))):
        inside = made.maps[number][rows, rows]
        assert (inside == 255).all()
        outside = made.maps[number].copy()
        outside[rows, rows] = 0
        assert outside.max() < 255
    assert made.pictures[0, 0, 0].tolist() == [200, 0, 0]
    assert network.conv.weight.grad is None


def test_weights_that_are_frozen_have_maps(images, workshop):
    network = Halves()
    network.conv.weight.stop_gradient = True
    assert len(explain_answers(network, images, [0], ops(workshop)).maps) == 1


def test_a_network_of_tokens_has_none_and_says_why(images, workshop):
    made = explain_answers(Tokens(), images, [0, 2], ops(workshop))
    assert len(made.maps) == 0
    assert "ends in tokens" in made.why_not


def test_images_that_cannot_be_read_have_none(images, workshop):
    assert explain_answers(Halves(), images, [1], ops(workshop)).why_not == "none of the images can be read"
