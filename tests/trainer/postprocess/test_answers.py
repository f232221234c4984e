from __future__ import annotations

import numpy as np
import pytest

from trainer.config.infer import POST_PROCESSES
from trainer.config.postprocess import (
    MultiLabelThreshOutput,
    PersonAttribute,
    TableAttribute,
    ThreshOutput,
    Topk,
    VehicleAttribute,
)
from trainer.errors import NamesError
from trainer.postprocess.build import BUILDERS, SIZES, activation_of, answer, read_names


def one(spec, *values, names=None):
    (found,) = answer(spec, np.array([values], dtype=np.float32), names or {})
    return found


def test_what_is_declared_is_implemented():
    assert set(BUILDERS) == set(POST_PROCESSES)
    assert set(SIZES) <= set(POST_PROCESSES)


def test_topk_names_the_most_probable_first():
    found = one(Topk(topk=(2,)), 0.2, 0.123456, 0.7, names={2: "rose"})
    assert found == {"class_ids": [2, 0], "scores": [0.7, 0.2], "label_names": ["rose", "class 0"]}
    assert one(Topk(topk=(5,)), 0.4, 0.6)["class_ids"] == [1, 0]


@pytest.mark.parametrize(("second", "ids", "score", "name"), [(0.3, [0], 0.7, "no"), (0.5, [1], 0.5, "yes")])
def test_a_threshold_chooses_of_two(second, ids, score, name):
    found = one(ThreshOutput(threshold=0.5, label_0="no", label_1="yes"), 1 - second, second)
    assert found == {"class_ids": ids, "scores": [score], "label_names": [name]}


def test_several_labels_may_be_right_or_none():
    spec = MultiLabelThreshOutput(threshold=0.5)
    assert one(spec, 0.6, 0.1, 0.5) == {"class_ids": [0, 2], "scores": [0.6, 0.5]}
    assert one(spec, 0.1, 0.1) == {"class_ids": [], "scores": []}


def test_no_post_process_gives_the_probabilities():
    assert one(None, 0.25, 0.75) == {"probabilities": [0.25, 0.75]}


def test_a_persons_attributes():
    row = np.zeros(26)
    row[[0, 1, 3, 5, 11, 16, 18, 20, 22, 25]] = 0.55
    assert one(PersonAttribute(), *row)["attributes"] == [
        "Female", "Age18-60", "Back", "Glasses: True", "Hat: True", "HoldObjectsInFront: False",
        "ShoulderBag", "Upper: LongSleeve UpperLogo", "Lower: Trousers", "No boots",
    ]  # fmt: skip
    assert sum(one(PersonAttribute(), *row)["output"]) == 9
    nobody = one(PersonAttribute(), *np.zeros(26))["attributes"]
    assert (nobody[0], nobody[6], nobody[8]) == ("Male", "No bag", "Lower: LowerStripe")


def test_a_vehicles_attributes():
    row = np.full(19, 0.1)
    row[4], row[12] = 0.9, 0.8
    assert one(VehicleAttribute(), *row)["attributes"] == [
        "Color: (red, prob: 0.90000)", "Type: (van, prob: 0.80000)"
    ]  # fmt: skip
    assert one(VehicleAttribute(), *np.full(19, 0.1))["attributes"] == ["Color unknown", "Type unknown"]


def test_a_tables_attributes_go_each_by_its_own_threshold():
    spec = TableAttribute(number_threshold=0.9, angle_threshold=0.1)
    assert one(spec, 0.6, 0.6, 0.4, 0.4, 0.6, 0.2) == {
        "attributes": ["Scanned", "Numerous", "Multicolor", "Blurry", "Without-Obstacles", "Horizontal"],
        "output": [1, 0, 0, 0, 1, 1],
    }


@pytest.mark.parametrize(
    "spec", [PersonAttribute(), VehicleAttribute(), TableAttribute(), MultiLabelThreshOutput()]
)
def test_attributes_are_independent_probabilities(spec):
    assert activation_of(spec) == "sigmoid"
    assert activation_of(Topk()) == activation_of(None) == "softmax"


def test_names_are_read_and_bad_lines_refused(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("0 red rose\n\n1 tulip\n")
    assert read_names(path) == {0: "red rose", 1: "tulip"}
    path.write_text("rose\n")
    with pytest.raises(NamesError, match=r"labels.txt:1: expected `id name`, got 'rose'"):
        read_names(path)
