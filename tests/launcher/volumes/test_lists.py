"""What `data push` says of a folder's lists is what the trainer says of them: one reader, one sentence."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from launcher.config.load import load_run_config
from launcher.errors import UsageError
from launcher.volumes import transfer
from launcher.volumes.lists import CheckedLists, ConfigList, find_lists, lists_of, require_listed
from tests.launcher.configs import config_values
from trainer.config.data import CustomLabelDataset, ImageNetDataset, MultiLabelDataset, listed_by
from trainer.data.lists import load_list
from trainer.errors import DataError
from trainer.protocol.lists import Grammar

CLASSES = 2
NORMALIZE: dict[str, Any] = {"NormalizeImage": {"scale": 1.0, "mean": [0.0], "std": [1.0], "order": ""}}
OPS: list[Any] = [{"DecodeImage": {}}, {"RandomRot90": {}}, NORMALIZE]
ONE = {"transform_ops": [OPS[0], NORMALIZE]}
NONE = {"transform_ops": OPS, "label_key": "random_rot90_orientation"}
IMAGES = ("a.jpg", "my b.jpg", "sub/c.jpg", "train/1.png", "it's,d;e.jpg", '"quoted".jpg')


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in IMAGES:
        (tmp_path / "flowers" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "flowers" / name).write_bytes(b"x")
    return tmp_path / "flowers"


def push(folder: Path, *named: ConfigList) -> CheckedLists:
    return require_listed(
        folder, find_lists(folder, named), {file.path for file in transfer.describe(folder)}
    )


def asked(dataset: Any) -> ConfigList:
    source, grammar = listed_by(dataset)
    return ConfigList(source=source, image_root=dataset.image_root, grammar=grammar, class_num=CLASSES)


CASES: list[tuple[str, type[Any], dict[str, Any], str]] = [
    ("space", ImageNetDataset, {}, "a.jpg 0\nmy b.jpg 1\nsub/../a.jpg 0\n./sub/c.jpg 1\n"),
    ("comma", ImageNetDataset, {"delimiter": ","}, "a.jpg,0\nmy b.jpg,1\n"),
    ("semicolon", ImageNetDataset, {"delimiter": ";"}, "a.jpg;0\nmy b.jpg; 1\n"),
    ("tab", ImageNetDataset, {"delimiter": "\t"}, "a.jpg\t0\nmy b.jpg\t1\n"),
    ("tab-not-said", ImageNetDataset, {}, "a.jpg\t0\nmy b.jpg\t1\n"),
    ("comma-not-said", ImageNetDataset, {}, "a.jpg,0\n"),
    ("third-column", ImageNetDataset, {}, "a.jpg 0 cam1\nsub/c.jpg 1 2\n"),
    ("third-column-comma", ImageNetDataset, {"delimiter": ","}, "a.jpg,0,x,y\n"),
    ("quotes-are-characters", ImageNetDataset, {}, '"quoted".jpg 0\nit\'s,d;e.jpg 1\n"a.jpg" 1\n'),
    ("no-label", CustomLabelDataset, {}, "a.jpg\nmy b.jpg\n"),
    ("no-label-ended", CustomLabelDataset, {"delimiter": ","}, "a.jpg,whatever\n"),
    ("no-label-not-said", ImageNetDataset, {}, "a.jpg\n"),
    ("flags", MultiLabelDataset, {}, "a.jpg\t0,1\nmy b.jpg\t1,1\tmore\n"),
    ("flags-of-three", MultiLabelDataset, {}, "a.jpg\t0,1\nmy b.jpg\t1,1,0\n"),
    ("flags-of-words", MultiLabelDataset, {}, "a.jpg\t0,yes\nmy b.jpg 1\n"),
    ("too-large", ImageNetDataset, {}, "a.jpg 0\nmy b.jpg 2\n"),
    ("negative", ImageNetDataset, {}, "a.jpg -1\n"),
    ("relabelled", ImageNetDataset, {"relabel": True}, "a.jpg 17\nmy b.jpg 40\n"),
    ("two-labels", ImageNetDataset, {}, "a.jpg 0\na.jpg 1\nsub/c.jpg 1\nsub/c.jpg 1\n"),
    ("missing", ImageNetDataset, {}, "a.jpg 0\nnot/there.jpg 1\nsub\\c.jpg 1\nsub 1\n"),
    ("name-too-long", ImageNetDataset, {}, f"a.jpg 0\n{'x' * 300}.jpg 1\n"),
    ("blank", ImageNetDataset, {}, "a.jpg 0\n\nmy b.jpg 1\n\n\n"),
    ("empty", ImageNetDataset, {}, "\n\n"),
    ("not-utf8", ImageNetDataset, {}, "a.jpg 0\n\udcff 1\n"),
    ("windows", ImageNetDataset, {}, "\ufeffa.jpg 0\r\nmy b.jpg 1\r\n"),
    ("outside", ImageNetDataset, {}, "../flowers/a.jpg 0\n"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "keys", "text"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_both_sides_say_the_same_of_a_list_that_a_config_names(
    kind: type[Any], keys: dict[str, Any], text: str, folder: Path
) -> None:
    listed = folder / "train_list.txt"
    listed.write_bytes(text.encode("utf-8", "surrogateescape"))
    key = "sample_list_path" if kind is CustomLabelDataset else "cls_label_path"
    more = NONE if kind is CustomLabelDataset else ONE
    dataset = kind.model_validate({"image_root": str(folder), key: str(listed), **more, **keys})
    trained: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    try:
        notes = load_list(dataset, class_num=CLASSES).notes
    except DataError as error:
        trained = error.problems
    # The same in a pod, where the folder is mounted.
    inside = kind.model_validate({"image_root": "/data/", key: "/data/train_list.txt", **more, **keys})
    if text.startswith("../"):
        assert trained == ()  # trains here, where the parent has that name; a claim has no parent
        with pytest.raises(
            UsageError, match=r"train_list\.txt:1: expected an image that is brought, got one out"
        ):
            push(folder, asked(inside))
    elif trained:
        with pytest.raises(UsageError) as caught:
            push(folder, asked(inside))
        assert str(caught.value).splitlines() == list(trained)
    else:
        assert push(folder, asked(inside)).notes == notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.jpg 0\nmy b.jpg 1\nsub/../a.jpg 0\n", ""),
        ("a.jpg\t0\nmy b.jpg\t1\n", 'path and label with "\\t" between: the config needs `delimiter: "\\t"`'),
        ("a.jpg,0\nmy b.jpg,1\n", 'path and label with "," between: the config needs `delimiter: ","`'),
        ("a.jpg;0\nmy b.jpg;1\n", 'path and label with ";" between: the config needs `delimiter: ";"`'),
        ("a.jpg\t0,1\nmy b.jpg\t1,0\n",
         "a path, a tab and a 0 or 1 for each class: the config needs a MultiLabelDataset"),
        ("a.jpg\nsub/c.jpg\n", "a path without a label: the config needs a CustomLabelDataset"),
    ],
    ids=["space", "tab", "comma", "semicolon", "flags", "none"],
)  # fmt: skip
def test_without_a_config_the_grammar_is_guessed_and_said(text: str, said: str, folder: Path) -> None:
    (folder / "train_list.txt").write_text(text)
    listed = push(folder)
    how = f"{folder}/train_list.txt: is read as {said}; `--config FILE` says how a job reads it"
    assert listed == CheckedLists(lists=1, lines=text.count("\n"), notes=(how,) if said else ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.jpg 0\nmy b.jpg one\n",
         "2: expected a whole number as label, got 'one'; classes are numbered from 0"),
        ("a.jpg,0\nmy b.jpg,one\nsub/c.jpg,1\n",
         "2: expected a whole number as label, got 'one'; classes are numbered from 0"),
        ("a.jpg\t0,1\nmy b.jpg\t1\nsub/c.jpg\t1,1\n",
         "2: expected 2 labels, got 1; as on the first line that is right"),
        ("a.jpg 0\nno.jpg 1\n",
         "2: expected an image file, got no such file: '{}/no.jpg'; correct image_root or remove the line"),
    ],
)  # fmt: skip
def test_without_a_config_a_bad_line_is_refused_by_what_the_others_mean(
    text: str, problem: str, folder: Path
) -> None:
    (folder / "val_list.txt").write_text(text)
    with pytest.raises(UsageError) as caught:
        push(folder)
    assert str(caught.value) == f"{folder}/val_list.txt:{problem.format(folder)}"


def test_a_list_of_windows_is_read(folder: Path) -> None:
    (folder / "train_list.txt").write_bytes(codecs.BOM_UTF8 + b"a.jpg 0\r\nmy b.jpg 1\r\n")
    assert push(folder).lines == 2


def test_of_each_list_twenty_lines_are_shown(folder: Path) -> None:
    (folder / "val_list.txt").write_text("\n".join(f"val/{number}.png 0" for number in range(30)))
    with pytest.raises(UsageError) as caught:
        push(folder)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (21, f"{folder}/val_list.txt: … and 10 lines more")


def test_a_config_names_lists_of_any_name_in_any_folder_and_where_their_images_are(folder: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "mine.csv").write_text("1.png,0\n")
    named = ConfigList(
        source="/data/lists/mine.csv", image_root="/data/train", class_num=2,
        grammar=Grammar(delimiter=","),
    )  # fmt: skip
    assert push(folder, named) == CheckedLists(lists=1, lines=1, notes=())
    (folder / "lists" / "mine.csv").write_text("1.png,0\n/data/sub/c.jpg,1\n/data/sub/no.jpg,1\n")
    with pytest.raises(UsageError, match=r"mine\.csv:3: expected an image that is brought, got no such file"):
        push(folder, named)


def test_images_that_lie_elsewhere_are_said_and_not_looked_for(folder: Path) -> None:
    (folder / "train_list.txt").write_text("0001.jpg 0\n")
    named = ConfigList(
        source="/lists/train_list.txt", image_root="/images", class_num=2,
        grammar=find_lists(folder)[0].grammar,
    )  # fmt: skip
    (note,) = push(folder, named).notes
    assert note == f"{folder}/train_list.txt: its images lie outside of the folder, and were not looked for"


def test_what_is_here_and_does_not_come_along_is_refused(folder: Path) -> None:
    (folder / "link.jpg").symlink_to(folder / "a.jpg")
    (folder / "bare").mkdir()
    (folder / "train_list.txt").write_text("link.jpg 0\nbare/../a.jpg 1\nsub/../a.jpg 1\n")
    with pytest.raises(UsageError) as caught:
        push(folder)
    assert str(caught.value).splitlines() == [
        f"{folder}/train_list.txt:1: expected an image that is brought, got a symbolic link, which is passed "
        "over: 'link.jpg'; put a copy in its place",
        f"{folder}/train_list.txt:2: expected an image that is brought, got a way through a folder that "
        "holds no file: 'bare/../a.jpg'",
    ]


def test_a_config_says_how_the_lists_of_its_data_sets_are_read(folder: Path, tmp_path: Path) -> None:
    (folder / "train_list.txt").write_text("a.jpg,0\nmy b.jpg,5\n")
    (folder / "val_list.txt").write_text("a.jpg 0\n")
    path = tmp_path / "cfg.yaml"
    path.write_text(json.dumps(config_values(DataLoader__Train__dataset__delimiter=",")))
    (named,) = lists_of(load_run_config(path).job)
    assert named == ConfigList(
        source="/data/train_list.txt", image_root="/data", grammar=Grammar(delimiter=","), class_num=4
    )
    with pytest.raises(UsageError) as caught:  # and val_list.txt, which it does not name, is guessed
        push(folder, named)
    assert str(caught.value) == (
        f"{folder}/train_list.txt:2: expected a label from 0 to 3, got 5; Arch.class_num is 4: raise it or "
        "correct the label"
    )
