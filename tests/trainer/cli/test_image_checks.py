"""`trainer check` and `make-lists` say what they read of images, and refuse what training refuses."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

SKIP = (
    "-o",
    "+DataLoader.Train.loader.bad_images=skip",
    "-o",
    "+DataLoader.Train.loader.bad_images_limit=0.1",
)


@pytest.fixture
def many(workshop):
    """Put 100 images into the training list."""
    lines = []
    for index in range(100):
        name = f"many{index}.png"
        (workshop.folder / name).write_bytes((workshop.folder / f"train{index % 15}.png").read_bytes())
        lines.append(f"{name} {index % 3}\n")
    (workshop.folder / "train.txt").write_text("".join(lines))
    return workshop.folder


def test_check_says_how_many_it_decoded_and_all_finds_the_rest(trainer, cfg, many):
    (many / "many50.png").write_bytes(b"no image")
    code, out, _ = trainer("check", "-c", cfg)
    assert code == 0
    assert f"{cfg}: decoded 32 of 100 training and 6 of 6 evaluation images; --images all decodes all" in out
    code, _, err = trainer("check", "-c", cfg, "--images", "all")
    assert code == 3
    assert f"{many}/train.txt:51: {many}/many50.png: expected an image, got 8 bytes" in err


def test_check_and_train_refuse_a_bad_image_in_the_same_words(trainer, cfg, workshop):
    (workshop.folder / "train3.png").write_bytes(b"no image")
    checked, _, said = trainer("check", "-c", cfg)
    trained, _, told = trainer("train", "-c", cfg)
    assert checked == trained == 3
    assert said == told


def test_bad_images_that_are_skipped_are_warnings_up_to_the_limit(trainer, cfg, workshop):
    (workshop.folder / "train3.png").write_bytes(b"no image")
    code, _, err = trainer("check", "-c", cfg, *SKIP)
    assert code == 0
    assert "warning: bad image, which is skipped: " in err
    (workshop.folder / "train4.png").write_bytes(b"no image")
    code, _, err = trainer("check", "-c", cfg, *SKIP)
    assert code == 3
    assert "expected at most 0.1 of the list's 15 images to be unreadable" in err
    assert "train3.png" in err
    assert "train4.png" in err


@pytest.mark.parametrize(
    ("override", "code"),
    [
        (("DataLoader.Train.sampler.batch_size=64", "+DataLoader.Train.sampler.drop_last=True"), 3),
        (("+Global.checkpoints=missing/latest",), 5),
        (("Arch.class_num=2",), 3),
        (("+Arch.pretrained=missing.pdparams",), 2),
    ],
    ids=["too few for a step", "no checkpoint", "labels", "weights"],
)
def test_check_refuses_what_train_refuses_with_the_same_words(trainer, cfg, override, code):
    overrides = [word for value in override for word in ("-o", value)]
    checked, _, said = trainer("check", "-c", cfg, *overrides)
    trained, _, told = trainer("train", "-c", cfg, *overrides)
    assert (checked, trained) == (code, code), said + told
    assert said.splitlines()[-1] == told.splitlines()[-1]


def test_both_lists_problems_are_said_at_once(trainer, cfg, workshop):
    for name in ("train", "val"):
        with (workshop.folder / f"{name}.txt").open("a") as file:
            file.write("missing.png 0\n")
    code, _, err = trainer("check", "-c", cfg)
    assert code == 3
    assert "train.txt:16: " in err
    assert "val.txt:7: " in err


def test_oddities_of_lists_are_warnings_in_check_and_in_training(trainer, cfg, workshop):
    with (workshop.folder / "train.txt").open("a") as file:
        file.write("train0.png 0\ntrain1.png 1 camera\n")
    code, _, err = trainer("check", "-c", cfg)
    assert code == 0
    assert "warning: " in err
    assert "got line 1 again (2 lines in all)" in err
    assert "got a further field 'camera'" in err
    code, out, _ = trainer("train", "-c", cfg)
    assert code == 0
    assert "got a further field 'camera'" in out


@pytest.mark.parametrize("value", ["none", "-1", "1.5", "", "٣"])
def test_another_number_of_images_is_refused(trainer, cfg, value):
    code, _, err = trainer("check", "-c", cfg, "--images", value)
    assert code == 2
    assert "expected a number of images or all" in err


@pytest.fixture
def classes(tmp_path):
    folder = tmp_path / "classes"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(4):
            pixels = np.full((8, 8, 3), 40 * index, np.uint8)
            cv2.imwrite(str(folder / name / f"{index}.png"), pixels)
    return folder


def test_make_lists_leaves_bad_images_out_and_names_them(trainer, classes):
    (classes / "cat" / "2.png").write_bytes(b"no image")
    code, _, err = trainer("make-lists", str(classes))
    assert code == 0
    assert f"left out: {classes}/cat/2.png: expected an image, got 8 bytes" in err
    assert "1 image cannot be read and stands in no list" in err
    listed = (classes / "train_list.txt").read_text() + (classes / "val_list.txt").read_text()
    assert "cat/2.png" not in listed
    assert len(listed.splitlines()) == 7


def test_make_lists_leads_to_the_line_that_comes_next(trainer, classes):
    spaced = classes.rename(classes.with_name("my cats"))
    code, _, err = trainer("make-lists", str(spaced))
    assert code == 0
    assert err.splitlines()[-2:] == [
        f"next: ftlaunch init --data '{spaced}'",
        f"or, in a config of yours: Arch.class_num 2, image_root {spaced}",
    ]


def test_make_lists_without_reading_says_so(trainer, classes):
    (classes / "cat" / "2.png").write_bytes(b"no image")
    code, _, err = trainer("make-lists", str(classes), "--no-read")
    assert code == 0
    assert "no image was read: `trainer check --images all` does so before training" in err
    assert "cat/2.png" in (classes / "train_list.txt").read_text() + (classes / "val_list.txt").read_text()


def test_a_class_without_any_readable_image_is_refused_with_their_names(trainer, classes):
    for file in (classes / "cat").iterdir():
        file.write_bytes(b"no image")
    code, _, err = trainer("make-lists", str(classes))
    assert code == 3
    assert f"{classes}/cat: expected images in the folder of a class, got none" in err
    assert f"{classes}/cat/3.png: expected an image, got 8 bytes" in err
    assert not (classes / "train_list.txt").exists()


def test_words_of_a_decoder_are_counted_and_not_shown(tmp_path):
    """In a process of its own: libjpeg writes to its standard error, past Python."""
    draws = np.random.default_rng(0)
    for label in range(2):
        (tmp_path / f"c{label}").mkdir()
        for index in range(3):
            image = draws.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            data = cv2.imencode(".jpg", image)[1].tobytes()
            end = data.rfind(b"\xff\xd9")
            (tmp_path / f"c{label}" / f"{index}.jpg").write_bytes(data[:end] + b"odd" * 20 + data[end:])
    typed = [sys.executable, "-m", "trainer", "make-lists", str(tmp_path), "--val", "0.4"]
    done = subprocess.run(typed, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("Corrupt JPEG data")] == []
    (said,) = [line for line in done.stderr.splitlines() if "Corrupt JPEG data" in line]
    assert said.startswith("an image decoder said: 'Corrupt JPEG data: ")
    assert "' and 5 more like it, of images that it read all the same" in said
