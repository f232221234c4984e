from __future__ import annotations

import shutil

import pytest

from trainer.data.bad_images import how_to_fix
from trainer.engine.image_report import read_images
from trainer.engine.lint import Machine, lint_config
from trainer.engine.setup import prepare
from trainer.errors import DataError
from trainer.ranks import Ranks


def findings(workshop, **changes):
    config = workshop.config(**changes)
    return list(lint_config(config, prepare(config, Ranks())))


def ops(size):
    return [{"DecodeImage": None}, {"ResizeImage": {"size": size}}, {"NormalizeImage": {"order": ""}}]


def test_a_usual_config_is_not_odd(workshop):
    assert findings(workshop) == []


def test_classes_without_images_are_told(workshop):
    first, second = findings(workshop, Arch__class_num=10)
    assert first == (
        "DataLoader.Train: expected images of all 10 classes of Arch.class_num, got none of 3, 4, 5, 6, 7, …"
    )
    assert second.startswith("DataLoader.Eval: ")


def test_sizes_that_disagree_are_told(workshop):
    changes = {
        "DataLoader__Train__dataset__transform_ops": ops(32),
        "DataLoader__Eval__dataset__transform_ops": ops(48),
    }
    (said,) = findings(workshop, Global__image_shape=[3, 32, 32], **changes)
    assert "DataLoader.Train 32 × 32, DataLoader.Eval 48 × 48, Global.image_shape 32 × 32" in said


def test_images_of_both_lists_are_found_by_their_content(workshop):
    shutil.copy(workshop.folder / "train3.png", workshop.folder / "val0.png")
    (said,) = findings(workshop)
    assert "got 1 that are: " in said
    assert said.count("val0.png is ") == 1
    assert "train3.png" in said


PRETRAINED = {"Arch__pretrained": "weights.pdparams", "Optimizer__lr": {"learning_rate": 0.1}}
ROOMY = Machine(ranks=1, cores=4, shared_memory=1 << 30)


def said(workshop, machine, **changes):
    config = workshop.config(**changes)
    return list(lint_config(config, prepare(config, Ranks()), machine))


def test_a_rate_for_training_from_scratch_is_told_where_weights_are_pretrained(workshop):
    (rate,) = said(workshop, ROOMY, **PRETRAINED)
    assert rate == (
        "Optimizer.lr.learning_rate: expected about 0.00016 to begin fine-tuning with, a tenth of what "
        "trains from scratch with 4 images a step, got 0.1; `trainer lr-find` proposes one"
    )
    assert said(workshop, ROOMY, Optimizer__lr={"learning_rate": 0.1}) == []
    assert said(workshop, ROOMY, Arch__pretrained="x", Optimizer__lr={"learning_rate": 0.0002}) == []
    many = Machine(ranks=64, cores=64, shared_memory=1 << 30)
    assert said(workshop, many, Arch__pretrained="x", Optimizer__lr={"learning_rate": 0.01}) == []


def test_a_narrow_machine_is_told(workshop):
    machine = Machine(ranks=2, cores=2, shared_memory=32 << 20)
    workers, shared = said(workshop, machine, DataLoader__Train__loader={"num_workers": 8})
    assert workers.startswith(
        "DataLoader.Train.loader.num_workers: expected about as many reader processes as"
    )
    assert "which are 2, got 8 in each of 2 ranks" in workers
    assert shared.startswith("/dev/shm: expected 64 MiB for several ranks, got 32")
    assert said(workshop, Machine(ranks=1, cores=2, shared_memory=None)) == []


def test_a_sample_of_the_images_is_decoded(workshop):
    config = workshop.config()
    lists = prepare(config, Ranks())
    assert read_images(config, lists, count=100).counts == (("training", 15, 15), ("evaluation", 6, 6))
    (workshop.folder / "train14.png").write_bytes(b"")
    (workshop.folder / "val0.png").write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        read_images(config, lists, count=100)
    assert [line.partition(": expected ")[2] for line in caught.value.problems] == [
        "an image, got an empty file; " + how_to_fix(skip=False),
        "an image, got 8 bytes that OpenCV cannot decode; " + how_to_fix(skip=False),
    ]
    with pytest.raises(DataError, match=r"val0\.png"):
        read_images(config, lists, count=1)  # the first of each list
    assert str(read_images(config, lists, count=0)) == (
        "decoded 0 of 15 training and 0 of 6 evaluation images; --images all decodes all"
    )


def test_a_list_too_short_for_the_jobs_ranks_is_a_warning_where_fewer_train(workshop):
    sampler = {"batch_size": 4, "drop_last": True}
    launch = {"nodes": 2, "gpus": 4}
    (told,) = [
        line
        for line in said(workshop, None, DataLoader__Train__sampler=sampler, Launch=launch)
        if "Launch" in line
    ]
    assert told.startswith("with the 8 ranks of Launch: ")
    assert "expected at least 32 samples for a batch of 4 on each of 8 ranks, got 15" in told
    assert not [line for line in said(workshop, None, Launch=launch) if "Launch" in line]
