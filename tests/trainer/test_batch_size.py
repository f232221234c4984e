from __future__ import annotations

import json

import pytest

from trainer import batch_size
from trainer.batch_size import TriedBatch, describe, fit_batch, scale_rate, search, try_batch
from trainer.cli.main import main
from trainer.errors import TrainerError


@pytest.mark.parametrize("largest", [0, 1, 3, 15, 16, 17, 31, 100, 255, 256, 700, 4096, 9999])
@pytest.mark.parametrize("first", [1, 16, 64])
def test_the_search_finds_the_largest_to_an_eighth(largest, first):
    asked = []

    def fits(batch):
        asked.append(batch)
        return batch <= largest

    found = search(fits, first=first, most=4096)
    assert len(asked) == len(set(asked)) < 20
    if largest == 0:
        assert found is None
    elif largest >= 4096:
        assert found == 4096
    else:
        assert largest - max(1, largest // 4) <= found <= largest
        assert found == largest or largest - found < max(2, found // 8 + 1)


def test_the_search_tries_nothing_above_what_was_asked_for():
    asked = []
    assert search(lambda batch: asked.append(batch) is None, first=16, most=100) == 100
    assert asked == [16, 32, 64, 100]


@pytest.mark.parametrize(
    ("name", "rule", "scaled"), [("Momentum", "linear", 0.4), ("AdamW", "square root", 0.2)]
)
def test_the_rate_goes_with_the_batch_as_the_optimizer_asks_for(workshop, name, rule, scaled):
    config = workshop.config(Optimizer={"name": name, "lr": {"name": "Cosine", "learning_rate": 0.1}})
    found = scale_rate(config, 16)
    assert (found.rule, found.now, found.scaled) == (rule, 0.1, scaled)


def test_a_size_is_tried_with_images_of_the_list_repeated(workshop):
    workshop.config()
    tried = try_batch(workshop.folder / "cfg.yaml", batch=40, steps=2)  # the list has 15
    assert tried.fits
    assert tried.step_s > 0
    assert tried.memory_bytes > 50 << 20
    assert not (workshop.folder / "output").exists()


@pytest.fixture
def memory(monkeypatch):
    """Processes of a machine on which an image takes a megabyte and 100 are there."""
    started = []

    def start(self, batch):
        started.append(batch)
        return self._bound(
            TriedBatch(batch=batch, fits=True, memory_bytes=batch << 20, step_s=0.1 + batch / 100)
        )

    monkeypatch.setattr(batch_size._Trials, "_try", start)
    monkeypatch.setattr(batch_size, "free_memory", lambda: 1000 << 20)
    return started


def test_what_takes_more_than_there_is_does_not_fit(workshop, memory):
    workshop.config()
    said = []
    found = fit_batch(workshop.folder / "cfg.yaml", memory_bytes=100 << 20, say=said.append)
    assert 88 <= found.batch <= 100
    assert (found.configured, found.limit_bytes, found.is_most) == (4, 100 << 20, False)
    assert found.rate.scaled == pytest.approx(0.01 * found.batch / 4, rel=1e-2)
    assert [one.batch for one in found.tried] == sorted(memory)
    assert "does not fit: above the limit" in "\n".join(said)


def test_no_more_is_taken_than_is_free(workshop, memory):
    workshop.config()
    found = fit_batch(workshop.folder / "cfg.yaml", memory_bytes=1 << 40)
    assert found.limit_bytes == 750 << 20


@pytest.mark.parametrize(("most", "batch"), [(8, 8), (3, 3)])
def test_the_largest_that_was_asked_for_ends_the_search(workshop, memory, most, batch):
    workshop.config()
    found = fit_batch(workshop.folder / "cfg.yaml", most=most)
    assert (found.batch, found.is_most) == (batch, True)


def test_a_process_that_takes_more_than_the_limit_is_ended(workshop):
    workshop.config()
    found = fit_batch(workshop.folder / "cfg.yaml", memory_bytes=64 << 20, most=1)
    (tried,) = found.tried
    assert (found.batch, found.rate) == (None, None)
    assert tried.reason == "ended at the limit"
    assert tried.memory_bytes > 64 << 20


def test_steps_that_fail_for_another_reason_are_an_error(workshop):
    workshop.config()
    (workshop.folder / "train.txt").write_text("none.png 0\n" * 8)
    with pytest.raises(TrainerError, match=r"a batch of 4: expected training steps.*none\.png"):
        fit_batch(workshop.folder / "cfg.yaml", most=4)


def test_the_command_prints_what_to_write_into_the_config(workshop, memory, monkeypatch, capsys):
    workshop.config()
    args = ["trainer", "fit-batch", "-c", str(workshop.folder / "cfg.yaml"), "--memory", "100Mi"]
    for form in ("text", "json"):
        monkeypatch.setattr("sys.argv", [*args, "--output", form])
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr().out
        assert not ended.value.code
        if form == "json":
            assert json.loads(out)["limit_bytes"] == 100 << 20
        else:
            assert "DataLoader.Train.sampler.batch_size: " in out
            assert "by the linear rule" in out
            assert "already 64 has as many images a second, to a twentieth" in out
    assert describe(TriedBatch(batch=8, fits=False, reason="ended by signal 9")).endswith("ended by signal 9")


def test_an_estimate_tries_nothing_and_needs_no_lists(workshop, monkeypatch, capsys):
    ops = [{"DecodeImage": None}, {"ResizeImage": {"size": 32}}, {"NormalizeImage": {"order": ""}}]
    workshop.config(DataLoader__Train__dataset__transform_ops=ops)
    (workshop.folder / "train.txt").unlink()
    args = ["trainer", "fit-batch", "-c", str(workshop.folder / "cfg.yaml"), "--estimate"]
    said = []
    for form in ("text", "json"):
        monkeypatch.setattr("sys.argv", [*args, "--output", form])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        said.append(capsys.readouterr().out)
    found = json.loads(said[1])
    assert found["device_bytes"] == found["weights_bytes"] + 4 * found["image_bytes"]
    assert "with a batch of 4; of these 1 are weights" in said[0]


def test_images_of_no_one_size_cannot_be_estimated(workshop):
    workshop.config()
    with pytest.raises(TrainerError, match="expected operations that give images one size"):
        batch_size.estimate(workshop.folder / "cfg.yaml")


@pytest.mark.parametrize("amount", ["", "4 apples", "-1Gi", "0"])
def test_an_amount_that_is_none_is_refused(workshop, monkeypatch, capsys, amount):
    workshop.config()
    config = str(workshop.folder / "cfg.yaml")
    monkeypatch.setattr("sys.argv", ["trainer", "fit-batch", "-c", config, "--memory", amount])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "expected an amount such as 4Gi" in capsys.readouterr().err
