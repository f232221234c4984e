from __future__ import annotations

import json

import numpy as np

from trainer.checkpoints.pdfiles import read_arrays


def files(workshop, output: str) -> dict[str, dict]:
    names = ("latest.pdparams", "latest.pdema", "best_model/model.pdparams", "best_model.pdema")
    return {name: read_arrays(workshop.folder / output / name) for name in names}


def same(one: dict, other: dict) -> bool:
    return all(np.array_equal(one[key], other[key]) for key in one)


def test_the_average_is_saved_evaluated_and_taken_up_again_bit_for_bit(workshop):
    workshop.train(Global__output_dir=str(workshop.folder / "plain"))
    workshop.train(EMA={"decay": 0.5})
    whole = files(workshop, "output")
    assert same(read_arrays(workshop.folder / "plain/latest.pdparams"), whole["latest.pdema"])
    assert not same(whole["latest.pdparams"], whole["latest.pdema"])
    assert same(whole["best_model/model.pdparams"], whole["best_model.pdema"])

    halves = {"EMA": {"decay": 0.5}, "Global__output_dir": str(workshop.folder / "halves")}
    workshop.train_and_stop(at=2, **halves)
    workshop.train(**halves, resume="latest")
    again = files(workshop, "halves")
    for name, arrays in whole.items():
        assert same(arrays, again[name]), name


def test_the_better_of_both_chooses_the_best_and_both_are_in_the_row(workshop):
    workshop.train(EMA={"decay": 1.0})  # the average stays what it was at first
    lines = (workshop.folder / "output/metrics.jsonl").read_text().splitlines()
    evaluations = [row for line in lines if (row := json.loads(line))["event"] == "eval"]
    assert len({row["ema_CELoss"] for row in evaluations}) == 1
    assert evaluations[0]["CELoss"] != evaluations[1]["CELoss"]
    printed = (workshop.folder / "output/train.log").read_text()
    best = max(max(row["top1"], row["ema_top1"]) for row in evaluations)
    assert f"[best metric: {best}]" in printed
