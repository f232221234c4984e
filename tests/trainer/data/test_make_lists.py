from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from trainer.config.data import ImageNetDataset
from trainer.data.lists import load_list
from trainer.data.make_lists import LABELS, TEST, TRAIN, VAL, make_lists
from trainer.errors import DataError


def fill(folder: Path, **classes: int) -> Path:
    for name, count in classes.items():
        place = folder / name.replace("__", "/")
        place.mkdir(parents=True)
        for index in range(count):
            (place / f"{index}.jpg").write_bytes(b"x")
    return folder


def lines(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text(encoding="utf-8").splitlines()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def refusals(folder: Path, **options: Any) -> list[str]:
    before = names(folder)
    with pytest.raises(DataError) as caught:
        make_lists(folder, **options)
    assert names(folder) == before
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_each_class_is_split_and_labelled_by_its_sorted_name(tmp_path: Path) -> None:
    report = make_lists(fill(tmp_path, rose=10, aster=5, Zinnia=2), val=0.2)
    assert report.classes == ("Zinnia", "aster", "rose")
    assert lines(tmp_path, LABELS) == ["0 Zinnia", "1 aster", "2 rose"]
    train, val = lines(tmp_path, TRAIN), lines(tmp_path, VAL)
    assert (len(train), len(val)) == (report.train, report.val) == (13, 4)
    assert [sum(line.endswith(f" {label}") for line in val) for label in range(3)] == [1, 1, 2]
    assert len({*train, *val}) == 17
    assert all(line.startswith(f"{report.classes[int(line[-1])]}/") for line in train + val)


def test_the_lists_can_be_loaded(tmp_path: Path) -> None:
    make_lists(fill(tmp_path, **{"my rose": 4, "aster": 4}))
    dataset = ImageNetDataset.model_construct(
        image_root=str(tmp_path), cls_label_path=str(tmp_path / TRAIN), delimiter=None, relabel=False
    )
    assert load_list(dataset, class_num=2).labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_train_and_val_folders_are_kept_as_they_are(tmp_path: Path) -> None:
    fill(tmp_path, train__a=3, train__b=1, val__a=2, test__a=1)
    report = make_lists(tmp_path, val=0.9)
    assert lines(tmp_path, TRAIN) == [
        "train/a/0.jpg 0",
        "train/a/1.jpg 0",
        "train/a/2.jpg 0",
        "train/b/0.jpg 1",
    ]
    assert lines(tmp_path, VAL) == ["val/a/0.jpg 0", "val/a/1.jpg 0"]
    assert report.without_val == ("b",)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("train", "valid", "test"), ("Train", "Validation", "Test"), ("training", "val", "testing")],
)
def test_a_divided_data_set_is_taken_as_it_stands(tmp_path: Path, train: str, val: str, test: str) -> None:
    fill(tmp_path, **{f"{train}__a": 2, f"{train}__b": 1, f"{val}__a": 1, f"{val}__b": 1, f"{test}__b": 2})
    report = make_lists(tmp_path, val=0.5)
    assert report.classes == ("a", "b")
    assert report.parts == {"train": train, "val": val, "test": test}
    assert (report.train, report.val, report.test, report.ignored) == (3, 2, 2, ())
    assert lines(tmp_path, VAL) == [f"{val}/a/0.jpg 0", f"{val}/b/0.jpg 1"]
    assert lines(tmp_path, TEST) == [f"{test}/b/0.jpg 1", f"{test}/b/1.jpg 1"]


def test_without_a_validation_folder_a_share_of_train_is_held_out(tmp_path: Path) -> None:
    report = make_lists(fill(tmp_path, train__a=10, train__b=5, test__a=2), val=0.2)
    assert (report.train, report.val, report.test) == (12, 3, 2)
    assert report.parts == {"train": "train", "test": "test"}
    assert all(line.startswith("train/") for line in lines(tmp_path, VAL))
    assert set(lines(tmp_path, VAL)).isdisjoint(lines(tmp_path, TRAIN))


def test_a_test_folder_without_classes_and_other_folders_are_left_out_by_name(tmp_path: Path) -> None:
    report = make_lists(fill(tmp_path, train__a=2, valid__a=1, test=3, docs__x=1))
    assert report.ignored == ("docs", "test")
    assert report.test is None
    assert not (tmp_path / TEST).exists()


def test_a_part_that_stands_there_twice_or_has_classes_of_its_own_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, train__a=2, val__a=1, valid__a=1)
    assert refusals(tmp_path) == [f"{tmp_path}: expected one folder for val, got val/ and valid/; rename one"]
    fill(tmp_path / "2", train__a=2, valid__a=1, test__z=1)
    assert refusals(tmp_path / "2") == ["test/z: expected a class that train/ has too, got one of test/ only"]


def test_a_test_list_is_not_replaced_unless_that_is_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, train__a=2, val__a=1, test__a=1)
    (tmp_path / TEST).write_text("mine")
    (refusal,) = refusals(tmp_path)
    assert refusal.startswith(f"{TEST}: expected no such file yet")
    assert make_lists(tmp_path, overwrite=True).test == 1


def test_train_and_val_that_hold_images_are_classes(tmp_path: Path) -> None:
    assert make_lists(fill(tmp_path, train=4, val=4)).classes == ("train", "val")


def test_the_same_seed_gives_the_same_lists_whatever_the_folder_s_order(
    tmp_path: Path, monkeypatch: Any
) -> None:
    fill(tmp_path, a=20, b=20)
    make_lists(tmp_path, seed=3)
    first = lines(tmp_path, VAL)
    scandir = os.scandir

    class Reversed:
        def __init__(self, path: Any) -> None:
            with scandir(path) as entries:
                self.entries = list(entries)[::-1]

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self.entries

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(os, "scandir", Reversed)
    make_lists(tmp_path, seed=3, overwrite=True)
    assert lines(tmp_path, VAL) == first
    make_lists(tmp_path, seed=4, overwrite=True)
    assert lines(tmp_path, VAL) != first


def test_a_class_s_choice_depends_on_no_other_class(tmp_path: Path) -> None:
    make_lists(fill(tmp_path, b=20))
    before = {line.split()[0] for line in lines(tmp_path, VAL)}
    make_lists(fill(tmp_path, a=20), overwrite=True)
    assert before <= {line.split()[0] for line in lines(tmp_path, VAL)}


def test_classes_of_one_size_do_not_hold_out_the_same_numbers(tmp_path: Path) -> None:
    make_lists(fill(tmp_path, a=40, b=40))
    held_out = [line.split("/")[1].split()[0] for line in lines(tmp_path, VAL)]
    assert set(held_out[:8]) != set(held_out[8:])


def test_other_files_are_counted_and_hidden_ones_skipped(tmp_path: Path) -> None:
    fill(tmp_path, a=3)
    for name in ("notes.txt", "Thumbs.db", ".DS_Store", ".hidden.jpg", "UPPER.JPG", "with space.png"):
        (tmp_path / "a" / name).write_bytes(b"x")
    (tmp_path / "a" / "deeper").mkdir()
    (tmp_path / ".cache").mkdir()
    report = make_lists(tmp_path)
    assert report.other_files == 2
    assert report.train + report.val == 5
    assert report.with_space == 1


def test_existing_lists_are_refused_by_name_and_replaced_on_request(tmp_path: Path) -> None:
    make_lists(fill(tmp_path, a=3))
    (tmp_path / LABELS).unlink()
    assert refusals(tmp_path) == [
        "train_list.txt: expected no such file yet; pass --overwrite to replace it",
        "val_list.txt: expected no such file yet; pass --overwrite to replace it",
    ]
    make_lists(tmp_path, overwrite=True)
    assert (tmp_path / LABELS).exists()


def test_images_a_folder_deeper_are_no_class_s(tmp_path: Path) -> None:
    fill(tmp_path, a=3, b=3)
    fill(tmp_path / "c", camera=3)
    (found,) = refusals(tmp_path)
    assert "expected images in the folder of a class, got only folders, such as 'camera'; move the" in found


def test_all_refusals_are_told_at_once(tmp_path: Path) -> None:
    fill(tmp_path, a=1, b=0, c=3)
    (tmp_path / "c" / "line\nbreak.jpg").write_bytes(b"x")
    (tmp_path / " d").mkdir()
    found = refusals(tmp_path)
    assert len(found) == 4
    assert any("expected at least 2 images" in line and line.startswith("a: ") for line in found)
    assert any(
        "expected images in the folder of a class, got none" in line and line.startswith("b: ")
        for line in found
    )
    assert any("got a line break; rename it" in line and r"line\nbreak.jpg" in line for line in found)
    assert any("got white space at its beginning or end; rename it" in line for line in found)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, a=3)
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff.jpg")).write_bytes(b"x")
    (line,) = refusals(tmp_path)
    assert line.endswith("expected a name that a list file can hold, got bytes that are not UTF-8; rename it")
    line.encode("utf-8")


def test_a_name_that_would_be_read_back_as_another_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, a=3)
    (tmp_path / "a" / "cat.v1 2 b.jpg").write_bytes(b"x")
    (tmp_path / "a" / "cat 2 b.jpg").write_bytes(b"x")
    (line,) = refusals(tmp_path)
    assert line == (
        "a/cat.v1 2 b.jpg: expected a name that a list file can hold, got what reads as a path, a label and "
        "more; rename it"
    )


@pytest.mark.parametrize("val", [0, 1, -0.5, float("nan")])
def test_a_share_that_leaves_nothing_is_refused(val: float, tmp_path: Path) -> None:
    (line,) = refusals(fill(tmp_path, a=3), val=val)
    assert line.startswith("val: expected a share above 0 and below 1")


def test_each_part_gets_one_image_however_small_the_share(tmp_path: Path) -> None:
    for index, val in enumerate((0.001, 0.999)):
        folder = tmp_path / str(index)
        report = make_lists(fill(folder, a=2), val=val)
        assert (report.train, report.val) == (1, 1)


def test_a_class_of_val_only_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, train__a=1, val__a=1, val__b=1)
    assert refusals(tmp_path) == ["val/b: expected a class that train/ has too, got one of val/ only"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "got no such folder"),
        (lambda path: path.write_bytes(b""), "got a file"),
        (lambda path: path.mkdir(), "expected a folder of images for each class, got no folders"),
    ],
    ids=["missing", "file", "empty"],
)
def test_what_is_no_folder_of_classes_is_refused(make: Any, message: str, tmp_path: Path) -> None:
    make(tmp_path / "data")
    (line,) = refusals(tmp_path / "data")
    assert message in line


def test_a_failed_write_leaves_the_old_lists(tmp_path: Path, monkeypatch: Any) -> None:
    make_lists(fill(tmp_path, a=8))
    before = {name: lines(tmp_path, name) for name in (TRAIN, VAL, LABELS)}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="expected to write the lists there: no space left on device"):
        make_lists(tmp_path, seed=1, overwrite=True)
    assert before == {name: lines(tmp_path, name) for name in (TRAIN, VAL, LABELS)}
    assert names(tmp_path) == sorted(["a", *before])


def test_progress_is_told_after_each_class(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    make_lists(fill(tmp_path, b=2, a=3), progress=lambda place, count: told.append((place, count)))
    assert told == [("a", 3), ("b", 2)]
