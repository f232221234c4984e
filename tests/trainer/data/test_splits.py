"""Folds, test lists and groups of `trainer make-lists`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.data.test_make_lists import fill, lines, names, refusals
from trainer.data.make_lists import TEST, TRAIN, VAL, make_lists


def people(folder: Path, **classes: dict[str, int]) -> Path:
    """Write so many pictures of each person into a class: `cat/ann_0.jpg`."""
    for name, of in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for person, count in of.items():
            for index in range(count):
                (folder / name / f"{person}_{index}.jpg").write_bytes(b"x")
    return folder


def label_counts(found: list[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for line in found:
        counts[line.split()[1]] += 1
    return dict(counts)


def test_each_image_is_held_out_once_and_each_class_evenly(tmp_path: Path) -> None:
    report = make_lists(fill(tmp_path, a=23, b=10, c=5), folds=5)
    everything: list[str] = []
    for fold in range(1, 6):
        train, val = (lines(tmp_path, f"{part}_list_fold{fold}.txt") for part in ("train", "val"))
        assert len(set(train) | set(val)) == len(train) + len(val) == 38
        counts = label_counts(val)
        assert counts["0"] in (4, 5)
        assert (counts["1"], counts["2"]) == (2, 1)
        everything += val
    assert len(set(everything)) == len(everything) == 38
    assert lines(tmp_path, TRAIN) == lines(tmp_path, "train_list_fold1.txt")
    assert lines(tmp_path, VAL) == lines(tmp_path, "val_list_fold1.txt")
    assert report.counts["val_list_fold3.txt"][1:] == (2, 1)
    assert report.without_val == ()


def test_a_test_list_has_its_share_of_each_class_and_shares_no_image(tmp_path: Path) -> None:
    report = make_lists(fill(tmp_path, a=40, b=20, c=3), test=0.1, val=0.25)
    train, val, test = (set(lines(tmp_path, name)) for name in (TRAIN, VAL, TEST))
    assert label_counts(list(test)) == {"0": 4, "1": 2, "2": 1}
    assert label_counts(list(val)) == {"0": 9, "1": 5, "2": 1}
    assert len(train | val | test) == len(train) + len(val) + len(test) == 63
    assert (report.train, report.val, report.test) == (41, 15, 7)
    again = make_lists(tmp_path, folds=2, test=0.1, overwrite=True)
    assert set(lines(tmp_path, TEST)) == test  # chosen first: the same for any way to hold out the rest
    assert again.counts[TEST] == (4, 2, 1)


def test_the_same_seed_gives_the_same_folds_and_a_class_does_not_depend_on_others(tmp_path: Path) -> None:
    fill(tmp_path, b=20)
    make_lists(tmp_path, folds=3, test=0.2, seed=5)
    first = [lines(tmp_path, name) for name in ("val_list_fold2.txt", TEST)]
    make_lists(tmp_path, folds=3, test=0.2, seed=5, overwrite=True)
    assert [lines(tmp_path, name) for name in ("val_list_fold2.txt", TEST)] == first
    make_lists(tmp_path, folds=3, test=0.2, seed=6, overwrite=True)
    assert [lines(tmp_path, name) for name in ("val_list_fold2.txt", TEST)] != first
    fill(tmp_path, a=9)
    make_lists(tmp_path, folds=3, test=0.2, seed=5, overwrite=True)
    later = lines(tmp_path, "val_list_fold2.txt")
    assert {line.split()[0] for line in first[0]} <= {line.split()[0] for line in later}


SIZES = {f"p{k}": size for k, size in enumerate([30, 12, 9, 8, 8, 7, 6, 5, 5, 4, 3, 3, 2, 2, 1, 1])}


@pytest.mark.parametrize("options", [{"folds": 4}, {"val": 0.25}, {"folds": 3, "test": 0.2}])
def test_no_group_is_torn_apart_and_shares_are_near(tmp_path: Path, options: dict[str, Any]) -> None:
    other = {person: 1 + size % 4 for person, size in SIZES.items()}
    people(tmp_path, cat=SIZES, dog=other)
    report = make_lists(tmp_path, groups=r"([^/_]+)_\d+\.jpg$", **options)
    assert report.groups == 16
    total = sum(SIZES.values()) + sum(other.values())
    wanted = 1 / options.get("folds", 1 / options.get("val", 1))
    folds = [
        (lines(tmp_path, f"train_list_fold{k}.txt"), lines(tmp_path, f"val_list_fold{k}.txt"))
        for k in range(1, options.get("folds", 0) + 1)
    ] or [(lines(tmp_path, TRAIN), lines(tmp_path, VAL))]
    tested = lines(tmp_path, TEST) if "test" in options else []
    for train, val in folds:
        people_in = [{line.split("/")[1].split("_")[0] for line in part} for part in (train, val, tested)]
        assert not people_in[0] & people_in[1]
        assert not people_in[2] & (people_in[0] | people_in[1])
        assert len(train) + len(val) + len(tested) == total
        assert abs(len(val) - wanted * (total - len(tested))) <= 0.12 * total
        assert set(label_counts(val)) == {"0", "1"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folds": 6}, ["b: expected at least 6 images, so that each of 6 folds have one, got 5; add images, "
                        "or remove the class"]),
        ({"folds": 5, "test": 0.1}, ["b: expected at least 6 images, so that each of 5 folds and test have "
                                     "one, got 5; add images, or remove the class"]),
        ({"folds": 1}, ["folds: expected 2 or more, got 1"]),
        ({"folds": 1_000_001}, ["folds: expected at most 1000, got 1000001"]),
        ({"test": 1.0, "val": 0.0}, ["val: expected a share above 0 and below 1, got 0.0",
                                     "test: expected a share from 0 to below 1, got 1.0"]),
        ({"groups": "(["}, ["groups: expected a regular expression, got '([': unterminated character set at "
                            "position 1"]),
        ({"groups": "a/(.)"}, ["groups: expected 'a/(.)' to name a group of each path, got none of 5: "
                               "b/0.jpg, b/1.jpg, b/2.jpg, b/3.jpg, b/4.jpg; correct the expression"]),
        ({"groups": "^.", "folds": 2}, [
            f"{name}: expected at least 2 groups, so that each of 2 folds have one, got 1; name smaller "
            "groups, or remove the class" for name in "ab"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, options: dict[str, Any], said: list[str]
) -> None:
    assert refusals(fill(tmp_path, a=9, b=5), **options) == said


def test_what_is_divided_already_is_not_divided_again(tmp_path: Path) -> None:
    fill(tmp_path, train__a=9, val__a=2, test__a=2)
    first, second = refusals(tmp_path, folds=2, test=0.1)
    assert first.startswith("val: expected no folder for validation beside folds")
    assert second.startswith("test: expected no folder for test beside a share for it")
    fill(tmp_path / "2", train__a=9, val__a=2)
    assert make_lists(tmp_path / "2", test=0.2).test == 2


def test_a_group_in_two_folders_is_refused(tmp_path: Path) -> None:
    people(tmp_path, **{"train/a": {"ann": 3, "bob": 2}, "val/a": {"bob": 1, "cy": 1}})
    (said,) = refusals(tmp_path, groups=r"([a-z]+)_\d")
    assert said == "groups: expected each in one folder, got 'bob' in train/ and val/"


def test_a_group_that_leaves_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    people(tmp_path, a={"ann": 50, "bob": 1}, b={"ann": 1, "bob": 50})
    assert [text.partition(":")[0] for text in refusals(tmp_path, groups=r"([a-z]+)_\d", val=0.9)] == [
        "a",
        "b",
    ]
    make_lists(tmp_path, groups=r"([a-z]+)_\d", val=0.5)
    assert [len(lines(tmp_path, name)) for name in (TRAIN, VAL)] == [51, 51]


def test_groups_that_are_too_few_once_some_are_tested_are_refused(tmp_path: Path) -> None:
    people(tmp_path, a=dict.fromkeys(("ann", "bob", "cy", "dan"), 1))
    (said,) = refusals(tmp_path, groups=r"([a-z]+)_\d", folds=3, test=0.5)
    assert said.startswith("groups: expected images in every list, got none in that of fold 3; ask for fewer")


def test_lists_of_another_split_are_said_and_kept(tmp_path: Path) -> None:
    fill(tmp_path, a=9, b=9)
    make_lists(tmp_path, folds=3, test=0.2)
    (said,) = {problem.partition(":")[0] for problem in refusals(tmp_path, folds=2)} - {
        "train_list.txt", "val_list.txt", "labels.txt", "train_list_fold1.txt", "val_list_fold1.txt",
        "train_list_fold2.txt",
    }  # fmt: skip
    assert said == "val_list_fold2.txt"
    report = make_lists(tmp_path, folds=2, overwrite=True)
    assert report.stale == ("test_list.txt", "train_list_fold3.txt", "val_list_fold3.txt")
    assert set(report.stale) <= set(names(tmp_path))
