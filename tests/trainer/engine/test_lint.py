from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from trainer.config.step_memory import StepEstimate
from trainer.data.bad_images import how_to_fix
from trainer.engine.image_report import read_images
from trainer.engine.lint import Machine, lint_config, lint_memory
from trainer.engine.memory import estimate_step
from trainer.engine.setup import prepare
from trainer.errors import DataError
from trainer.models.registry import build_model
from trainer.ranks import Ranks

LONG = {"Global__epochs": 300}
"""As from scratch, with enough steps to learn something."""


def findings(workshop, **changes):
    config = workshop.config(**LONG, **changes)
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
    config = workshop.config(**{**LONG, **changes})
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


def test_a_rate_for_fine_tuning_is_told_where_nothing_is_pretrained(workshop):
    low = {"learning_rate": 0.00001}
    (rate,) = said(workshop, ROOMY, Optimizer__lr=low)
    assert rate.startswith("Optimizer.lr.learning_rate: expected about 0.0016 to train from scratch with 4 ")
    assert "because nothing is pretrained, got 1e-05, which is one for fine-tuning" in rate
    assert "`trainer weights list PPLCNet_x0_25`" in rate
    assert said(workshop, ROOMY, Optimizer__lr=low, Arch__pretrained="x") == []
    assert said(workshop, ROOMY, Optimizer__lr=low, Global__pretrained_model="x") == []
    assert said(workshop, ROOMY, Optimizer__lr={"learning_rate": 0.0005}) == []


@pytest.mark.parametrize(
    ("pretrained", "rate", "is_odd"),
    [(True, 0.005, True), (True, 0.001, False), (False, 0.003, False), (False, 2e-5, True)],
)
def test_the_rate_of_an_adaptive_optimizer_does_not_depend_on_the_batch(workshop, pretrained, rate, is_odd):
    for batch in (1, 4):
        changes = {
            "Optimizer": {"name": "AdamW", "lr": {"name": "Cosine", "learning_rate": rate}},
            "DataLoader__Train__sampler__batch_size": batch,
        }  # fmt: skip
        if pretrained:
            changes["Arch__pretrained"] = "x"
        assert bool(said(workshop, ROOMY, **changes)) is is_odd


def test_too_few_steps_to_learn_anything_from_scratch_are_told(workshop):
    (steps,) = said(workshop, ROOMY, Global__epochs=10)
    assert steps == (
        "Global.epochs: expected 700 steps for a quick try, 2,000 for a good model, to train from scratch, "
        "because nothing is pretrained, got 40: 10 epochs of 4; try 175 to 500 epochs, or begin with weights "
        "(Arch.pretrained)"
    )
    (steps,) = said(workshop, ROOMY, Global__epochs=10, DataLoader__Train__sampler__drop_last=True)
    assert "got 30: 10 epochs of 3; try 234 to 667 epochs" in steps  # the last batch is not whole
    assert said(workshop, ROOMY, Global__epochs=125) == []
    tuned = {**PRETRAINED, "Optimizer__lr": {"learning_rate": 1e-4}}
    assert said(workshop, ROOMY, Global__epochs=1, **tuned) == []


def test_classes_out_of_balance_are_told_with_what_helps(workshop):
    lines = [f"train{index}.png {0 if index < 13 else index - 12}\n" for index in range(15)]
    (workshop.folder / "train.txt").write_text("".join(lines))
    (told,) = said(workshop, ROOMY)
    assert told.startswith(
        "DataLoader.Train: expected about as many images of each class, got 13 of class 0 and 1 of class"
    )
    assert "try `CELoss: {class_weight: auto}` in Loss.Train, or ClassBalancedSampler" in told
    cured = {"Loss__Train": [{"CELoss": {"class_weight": "auto"}}]}
    assert said(workshop, ROOMY, **cured) == []


def test_a_batch_that_does_not_fit_is_told_by_the_memory_that_is_meant(workshop):
    config = workshop.config(DataLoader__Train__sampler__batch_size=8)
    estimate = StepEstimate(weights_bytes=10 << 20, image_bytes=100 << 20, multiplications=1)
    small = replace(ROOMY, memory=1000 << 20)
    (told,) = lint_memory(estimate, config, small)
    assert told.startswith(
        "DataLoader.Train.sampler.batch_size: expected a step within the 1,000 MiB that are free here, got 8 "
        "images, which take about 1,180 MiB (estimated); try "
    )
    assert list(lint_memory(estimate, config, replace(ROOMY, memory=2000 << 20))) == []
    assert list(lint_memory(None, config, small)) == []
    job = workshop.config(
        DataLoader__Train__sampler__batch_size=8, Launch={"gpus": 0, "resources": {"memory": "1Gi"}}
    )
    (told,) = lint_memory(estimate, job, replace(ROOMY, memory=9000 << 20))
    assert "within the 1,024 MiB of Launch.resources.memory" in told
    on_gpu = workshop.config(DataLoader__Train__sampler__batch_size=8, Launch={"gpus": 1})
    assert list(lint_memory(estimate, on_gpu, small)) == []  # nobody knows the cluster's GPUs
    (told,) = lint_memory(estimate, on_gpu, replace(small, gpu_memory=500 << 20))
    assert "within the 500 MiB of the GPU" in told


def test_what_a_step_takes_is_estimated_from_the_networks_own_layers(workshop):
    config = workshop.config(DataLoader__Train__dataset__transform_ops=ops(32))
    model = build_model(config.arch)
    before = {key: value.numpy() for key, value in model.state_dict().items()}
    small = estimate_step(config, model)
    larger = workshop.config(DataLoader__Train__dataset__transform_ops=ops(64))
    assert estimate_step(larger, model).image_bytes == pytest.approx(4 * small.image_bytes, rel=0.1)
    assert small.multiplications > 100_000
    sizes = [(int(tensor.size), not tensor.stop_gradient) for tensor in model.parameters()]
    assert small.weights_bytes == 4 * sum(size * (1 + 2 * trained) for size, trained in sizes)
    assert small.bytes_of(3) - small.bytes_of(1) == 2 * small.image_bytes
    assert all((before[key] == value.numpy()).all() for key, value in model.state_dict().items())
    assert model.training
