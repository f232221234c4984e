from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from trainer.data.lists import Paths, load_list
from trainer.errors import DataError
from trainer.protocol.pathmap import PathMap

HUGE = "9" * 20
NUMBERED = "; classes are numbered from 0"
RAISE = ": raise it or correct the label"
CORRECT = "; correct image_root or remove the line"


@pytest.fixture
def refuse(folder: Any) -> Any:
    """Make the images, write a list, and return the problems without the folder's path."""

    def run(
        text: str, *, images: tuple[str, ...] = ("a.jpg", "b.jpg"), class_num: int = 3, **keys: Any
    ) -> list[str]:
        for name in images:
            place = folder.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"x")
        folder.list.write_text(text)
        with pytest.raises(DataError) as caught:
            load_list(folder.dataset(**keys), class_num=class_num)
        return [problem.replace(f"{folder.path}/", "") for problem in caught.value.problems]

    return run


def make(folder: Any, *names: str) -> None:
    for name in names:
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_bytes(b"x")


def test_paths_are_joined_to_the_image_root_and_keep_the_order(folder: Any) -> None:
    make(folder, "b/2.jpg", "a/1.jpg")
    folder.list.write_text("b/2.jpg 1\na/1.jpg 0\n")
    samples = load_list(folder.dataset(), class_num=2)
    assert samples.paths == (f"{folder.path}/b/2.jpg", f"{folder.path}/a/1.jpg")
    assert samples.labels.tolist() == [1, 0]
    assert samples.labels.dtype == "int64"
    assert len(samples) == 2
    assert samples.place(1) == f"{folder.list}:2"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("my cat.jpg 1\n", {}), ("my cat.jpg  1  \r\n", {}), ("\ufeffmy cat.jpg 1", {}),
        ("my cat.jpg 1\n\n\n", {}),
        ("my cat.jpg\t1\n", {"delimiter": "\t"}), ("my cat.jpg,1,ignored\n", {"delimiter": ","}),
        ("my cat.jpg 1\n", {"delimiter": " "}),
    ],
    ids=["space", "crlf", "bom", "blank-end", "tab", "comma", "said-space"],
)  # fmt: skip
def test_a_path_may_hold_spaces(text: str, keys: dict[str, Any], folder: Any) -> None:
    make(folder, "my cat.jpg")
    folder.list.write_bytes(text.encode())
    samples = load_list(folder.dataset(**keys), class_num=2)
    assert samples.paths == (f"{folder.path}/my cat.jpg",)
    assert samples.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "expected 'path label', got a blank line; remove it"),
        ("b.jpg", "expected 'path label', got 'b.jpg'; the label is missing"),
        ("b.jpg\t1",
         r"""expected 'path label', got 'b.jpg\t1'; is "\t" the delimiter? then set `delimiter: "\t"`"""),
        ("b.jpg,1",
         """expected 'path label', got 'b.jpg,1'; is "," the delimiter? then set `delimiter: ","`"""),
        ("b.jpg one", "expected a whole number as label, got 'one'" + NUMBERED),
        ("b.jpg 1.0", "expected a whole number as label, got '1.0'" + NUMBERED),
        ("b.jpg ١", "expected a whole number as label, got '١'" + NUMBERED),
        (f"b.jpg {HUGE}", f"expected a whole number as label, got '{HUGE}'" + NUMBERED),
        ("b.jpg 3", "expected a label from 0 to 2, got 3; Arch.class_num is 3" + RAISE),
        ("b.jpg -1", "expected a label from 0 to 2, got -1; Arch.class_num is 3" + RAISE),
        ("/b.jpg 1", "expected an image file, got no such file: '/b.jpg'" + CORRECT),
        ("b.jpg one more", "expected a whole number as label, got 'more'" + NUMBERED),
        ("c.jpg 1", "expected an image file, got no such file: 'c.jpg'" + CORRECT),
        ("dir 1", "expected an image file, got a folder: 'dir'" + CORRECT),
        ("dir\\b.jpg 1", "expected an image file, got no such file: 'dir\\\\b.jpg'; write / instead of \\"),
        ("a.jpg 1", "expected label 0 as on line 1 for the same image, got 1; remove the wrong line"),
    ],
)  # fmt: skip
def test_a_bad_line_is_told_with_its_number(line: str, message: str, refuse: Any, folder: Any) -> None:
    (folder.path / "dir").mkdir()
    assert refuse(f"a.jpg 0\n{line}\ndir/x.jpg 1\n", images=("a.jpg", "b.jpg", "dir/x.jpg")) == [
        f"train_list.txt:2: {message}"
    ]


@pytest.mark.parametrize(
    ("line", "keys", "path", "label", "further"),
    [
        ("a.jpg 1 cam1", {}, "a.jpg", 1, "cam1"), ("a.jpg 1 2", {}, "a.jpg", 1, "2"),
        ("a.jpg 1  # a comment of some words", {}, "a.jpg", 1, "# a comment of some words"),
        ("dir/a.jpg 1 3 4", {"delimiter": " "}, "dir/a.jpg", 1, "3 4"),
        ("a.jpg,1,x,y", {"delimiter": ","}, "a.jpg", 1, "x,y"),
        ("a.jpg\t1\t0.7", {"delimiter": "\t"}, "a.jpg", 1, "0.7"),
        ("my cat 2 b.jpg 1", {}, "my cat 2 b.jpg", 1, None), ("no 2 1", {}, "no 2", 1, None),
        ("a b.jpg 1", {}, "a b.jpg", 1, None),
    ],
)  # fmt: skip
def test_what_follows_the_label_is_left_out_and_named(
    line: str, keys: dict[str, Any], path: str, label: int, further: str | None, folder: Any
) -> None:
    make(folder, path, "x.jpg")
    folder.list.write_text(f"x.jpg{keys.get('delimiter', ' ')}0\n{line}\n")
    samples = load_list(folder.dataset(**keys), class_num=3)
    assert samples.paths[1] == f"{folder.path}/{path}"
    assert samples.labels.tolist() == [0, label]
    said = [] if further is None else [
        f"{folder.list}:2: expected a path and a label, got a further field {further!r} (1 line in all); "
        "such fields are left out, as PaddleClas does"
    ]  # fmt: skip
    assert list(samples.notes) == said


def test_repeated_lines_are_kept_as_often_and_said_once(folder: Any) -> None:
    make(folder, "a.jpg", "b.jpg")
    folder.list.write_text("a.jpg 0\nb.jpg 1\na.jpg 0\na.jpg 0\n")
    samples = folder.samples(class_num=2)
    assert samples.labels.tolist() == [0, 1, 0, 0]
    assert samples.notes == (
        f"{folder.list}:3: expected each line once, got line 1 again (2 lines in all); their images "
        "count as often as they are listed",
    )


def test_an_absolute_path_is_taken_as_it_is_or_where_its_mount_is_here(folder: Any) -> None:
    elsewhere = folder.path / "elsewhere"
    make(folder, "a.jpg", "elsewhere/b.jpg")
    folder.list.write_text(f"a.jpg 0\n{elsewhere}/b.jpg 1\n")
    samples = folder.samples(class_num=2)
    assert samples.paths == (f"{folder.path}/a.jpg", f"{elsewhere}/b.jpg")
    (note,) = samples.notes
    assert note.startswith(f"{folder.list}:2: expected a path relative to image_root, got an absolute one")
    folder.list.write_text("a.jpg 0\n/mount/images/b.jpg 1\n")
    with pytest.raises(DataError, match=r"no such file: '/mount/images/b\.jpg'"):
        folder.samples(class_num=2)
    mapped = load_list(folder.dataset(), class_num=2, path_map=PathMap({"/mount/images": str(elsewhere)}))
    assert mapped.paths[1] == f"{elsewhere}/b.jpg"


def test_all_bad_lines_are_told_in_their_order(refuse: Any) -> None:
    assert [line.split(":")[1] for line in refuse("c.jpg 0\na.jpg x\nb.jpg 9\nb.jpg\n")] == [
        "1",
        "2",
        "3",
        "4",
    ]


def test_a_message_shows_twenty_problems_and_counts_the_others() -> None:
    error = DataError(f"line {number}" for number in range(23))
    assert len(error.problems) == 23
    assert str(error).split("\n")[-2:] == ["line 19", "and 3 more problems"]


def test_missing_images_of_a_large_folder_are_found_by_one_listing(refuse: Any) -> None:
    names = [f"x/{index}.jpg" for index in range(40)]
    text = "".join(f"{name} 0\n" for name in names)
    assert refuse(text, images=tuple(names[:39])) == [
        "train_list.txt:40: expected an image file, got no such file: 'x/39.jpg'" + CORRECT
    ]


@pytest.mark.parametrize("text", ["", "\n\n"], ids=["nothing", "blank"])
def test_an_empty_list_is_refused(text: str, refuse: Any, folder: Any) -> None:
    cure = f"`trainer make-lists {folder.path}` writes them"
    assert refuse(text) == [f"train_list.txt: expected 'path label' lines, got none; {cure}"]


def test_a_list_that_cannot_be_read_is_refused(folder: Any) -> None:
    with pytest.raises(DataError, match="expected a list file, got no such file"):
        folder.samples()
    folder.list.mkdir()
    with pytest.raises(DataError, match="expected a list file, got a folder"):
        folder.samples()
    folder.list.rmdir()
    folder.list.write_bytes(b"a.jpg 0\n\xff.jpg 1\n")
    with pytest.raises(DataError, match=r"train_list.txt:2: expected UTF-8, got other bytes"):
        folder.samples()


def test_relabel_numbers_the_labels_anew_in_increasing_order(folder: Any) -> None:
    make(folder, "a.jpg", "b.jpg", "c.jpg")
    folder.list.write_text("a.jpg 70\nb.jpg -5\nc.jpg 12\n")
    assert load_list(folder.dataset(relabel=True), class_num=3).labels.tolist() == [2, 0, 1]


def test_relabel_refuses_more_labels_than_classes(refuse: Any) -> None:
    assert refuse("a.jpg 5\nb.jpg 9\n", class_num=1, relabel=True) == [
        "train_list.txt:2: expected a label from 0 to 0, got 1; Arch.class_num is 1" + RAISE
    ]


def test_an_image_may_be_a_link(folder: Any, tmp_path: Path) -> None:
    make(folder, *[f"x/{index}.jpg" for index in range(20)])
    (tmp_path / "x" / "link.jpg").symlink_to(tmp_path / "x" / "0.jpg")
    names = [f"x/{index}.jpg 0\n" for index in range(20)]
    folder.list.write_text("".join([*names, "x/link.jpg 0\n"]))
    assert len(folder.samples()) == 21


def test_a_pipe_or_a_device_is_no_list_and_is_not_waited_for(folder: Any) -> None:
    os.mkfifo(folder.list)  # to open one that nobody writes to would wait for ever
    with pytest.raises(DataError, match="expected a list file, got a pipe, a socket or a device"):
        load_list(folder.dataset(), class_num=2)
    folder.list.unlink()
    folder.list.symlink_to("/dev/zero")  # which has no end
    with pytest.raises(DataError, match="expected a list file, got a pipe, a socket or a device"):
        load_list(folder.dataset(), class_num=2)


def test_a_list_larger_than_any_is_refused_before_it_is_read(folder: Any) -> None:
    with folder.list.open("wb") as file:
        file.truncate(3 << 30)  # takes no room on the disk
    with pytest.raises(DataError, match="expected a list of at most 2,147,483,648 bytes, got 3,221,225,472"):
        load_list(folder.dataset(), class_num=2)


def test_paths_are_texts_in_a_few_bytes_each() -> None:
    names = ["a/1.jpg", "ü/ä b.png", "/elsewhere/x.bmp", "9" * 300]
    paths = Paths("/data", names)
    whole = ["/data/a/1.jpg", "/data/ü/ä b.png", "/elsewhere/x.bmp", f"/data/{'9' * 300}"]
    assert list(paths) == whole
    assert paths == tuple(whole)
    assert paths != whole[:3]
    assert (paths[-1], paths[1:3], len(paths)) == (whole[3], whole[1:3], 4)
    with pytest.raises(IndexError):
        paths[4]
    assert pickle.loads(pickle.dumps(paths)) == paths
    many = Paths("/data", [f"train/{index:06d}.jpg" for index in range(10_000)])
    assert len(pickle.dumps(many)) < 30 * 10_000
    assert len(Paths("/data", [])) == 0
