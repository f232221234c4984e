"""What is varied, and what a trial's job is submitted with."""

from __future__ import annotations

import pytest
import yaml

from launcher.errors import UsageError
from launcher.sweep.space import Repeat, overrides_of, parse_space
from tests.launcher.configs import config_values
from trainer.config.problems import ConfigError

RATE = "Optimizer.lr.learning_rate"


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("[0.1,0.2]", (0.1, 0.2)),
        ("[ResNet50, PPLCNet_x1_0]", ("ResNet50", "PPLCNet_x1_0")),
        ("[null, 0.1]", (None, 0.1)),
        ("[[1,2],[3]]", ([1, 2], [3])),
        ("log(1e-4,1e-1,4)", (0.0001, 0.001, 0.01, 0.1)),
        ("uniform(0,1,3)", (0.0, 0.5, 1.0)),
        ("int(160, 224, 32)", (160, 192, 224)),
    ],
)
def test_a_list_of_values_is_read(spec, values):
    (dimension,) = parse_space([f"{RATE}={spec}"]).dimensions
    assert dimension.values == values


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr", "expected KEY=VALUES"),
        (f"{RATE}=0.1", "expected [a,b,c], log(a,b)"),
        (f"{RATE}=log(0,1)", "both above 0"),
        (f"{RATE}=log(1,0.1)", "FROM below TO"),
        (f"{RATE}=uniform(1)", "expected two numbers"),
        (f"{RATE}=int(0.5,2)", "whole numbers"),
        (f"{RATE}=[]", "1 to 1000 values"),
        (f"{RATE}=[1,1]", "each value once"),
        ("image_size=[7.5]", "pixels from 8 to 4096"),
        ("image_size=log(8,64)", "pixels from 8 to 4096"),
        ("seed=0", "a number of seeds from 1"),
        ("seed=[1,1]", "a number of seeds from 1"),
        ("folds=1", "a number of folds from 2"),
        ("..=[1]", "a key such as"),
        (f"{RATE}=int(1,1e20)", "at most 16 digits"),
        (f"{RATE}=int(1,{10**400})", "expected two numbers"),
        (f"{RATE}=int(0,1000000000,1)", "at most 1000 values"),
        (f"{RATE}=uniform(-1e308,1e308,3)", "whose distance is a number"),
        (f"{RATE}=log(1e-300,1e300,3)", "whose distance is a number"),
        (f"{RATE}=log(1,1.0001,50)", "differ in their first 4 digits"),
        ("seed=99999999999", "a number of seeds from 1 to 20"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_could(text, said):
    with pytest.raises(UsageError) as caught:
        parse_space([text])
    assert said in str(caught.value)
    assert f"--over {text}" in str(caught.value)


def test_all_problems_are_named_at_once():
    with pytest.raises(UsageError) as caught:
        parse_space(["seed=0", f"{RATE}=1", f"{RATE}=[1]", f"{RATE}=[2]"])
    assert len(caught.value.problems) == 3


def test_seeds_and_folds_make_the_jobs_of_a_trial():
    assert [repeat.label for repeat in parse_space(["seed=2", "folds=2"]).repeats] == [
        "f1s0",
        "f1s1",
        "f2s0",
        "f2s1",
    ]
    assert parse_space(["seed=[7,9]"]).repeats == (Repeat(label="s7", seed=7), Repeat(label="s9", seed=9))
    assert parse_space(["image_size=[32]"]).repeats == (Repeat(),)


def test_a_grid_has_every_point_once():
    space = parse_space(["a.b=[1,2]", "a.c=int(0,2)"])
    points = [tuple(space.grid_point(number).values()) for number in range(space.grid_size or 0)]
    assert points == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert parse_space(["a.b=log(1,2)"]).grid_size is None


def test_a_point_of_a_huge_grid_is_found_without_holding_the_grid():
    space = parse_space(["a.b=[1,2]", "a.c=int(0,1000000000)"])
    assert space.grid_point(1_000_000_002) == {"a.b": 2, "a.c": 1}


def test_what_is_drawn_depends_on_seed_and_number_alone():
    space = parse_space([f"{RATE}=log(1e-4,1e-1)", "a.b=int(1,9)"])
    first = [space.draw(seed=3, number=number) for number in range(20)]
    assert first == [space.draw(seed=3, number=number) for number in range(20)]
    assert first != [space.draw(seed=4, number=number) for number in range(20)]
    assert all(1e-4 <= point[RATE] <= 1e-1 for point in first)
    assert len({point[RATE] for point in first}) == 20


def test_a_size_moves_every_place_that_must_agree():
    ops = "[{RandCropImage: {size: &side 224}}, {TimmAutoAugment: {img_size: *side}}]"
    evaluated = "[{ResizeImage: {resize_short: 256}}, {CropImage: {size: 224}}]"
    text = (
        f"Global: {{image_shape: [3, 224, 224]}}\nDataLoader:\n"
        f"  Train: {{dataset: {{transform_ops: {ops}}}}}\n"
        f"  Eval: {{dataset: {{transform_ops: {evaluated}}}}}\n"
    )
    found = overrides_of({"image_size": 112}, Repeat(), content=text.encode(), name="cfg.yaml")
    assert sorted(found) == [
        "DataLoader.Eval.dataset.transform_ops.0.ResizeImage.resize_short=128",
        "DataLoader.Eval.dataset.transform_ops.1.CropImage.size=112",
        "DataLoader.Train.dataset.transform_ops.0.RandCropImage.size=112",
        "DataLoader.Train.dataset.transform_ops.1.TimmAutoAugment.img_size=112",
        "Global.image_shape.1=112",
        "Global.image_shape.2=112",
    ]


def test_a_size_that_has_no_place_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"cfg.yaml: expected sizes of images"):
        overrides_of({"image_size": 112}, Repeat(), content=b"Global: {}\n", name="cfg.yaml")


def test_a_fold_has_lists_of_its_own_and_a_seed_its_number():
    values = config_values()
    values["DataLoader"]["Eval"] = {"dataset": {"cls_label_path": "/data/val_list.txt"}}
    content = yaml.safe_dump(values).encode()
    assert overrides_of({}, Repeat(seed=4, fold=2), content=content, name="cfg.yaml") == (
        "Global.seed=4",
        "DataLoader.Train.dataset.cls_label_path='/data/train_list_fold2.txt'",
        "DataLoader.Eval.dataset.cls_label_path='/data/val_list_fold2.txt'",
    )
    for part, path in (("Train", "../v1.5/train_list"), ("Eval", "./val_list.txt")):
        values["DataLoader"][part]["dataset"]["cls_label_path"] = path
    content = yaml.safe_dump(values).encode()
    assert overrides_of({}, Repeat(fold=1), content=content, name="cfg.yaml") == (
        "DataLoader.Train.dataset.cls_label_path='../v1.5/train_list_fold1'",
        "DataLoader.Eval.dataset.cls_label_path='./val_list_fold1.txt'",
    )
    with pytest.raises(
        UsageError, match=r"DataLoader.Eval.dataset.cls_label_path: expected a list, for `folds`"
    ):
        overrides_of({}, Repeat(fold=1), content=yaml.safe_dump(config_values()).encode(), name="cfg.yaml")
