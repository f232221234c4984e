from __future__ import annotations

import json

import numpy as np
import pytest

from trainer.cli.main import main
from trainer.engine.ends import DivergedError
from trainer.engine.rate_test import find_rate
from trainer.models.weights_store import OFFLINE

STEPS = 30


def test_the_rate_grows_by_a_constant_factor_and_the_proposal_lies_where_the_loss_falls(workshop):
    done = []
    config = workshop.config(Arch__dropout_prob=0.0, DataLoader__Train__sampler__batch_size=15)
    found = find_rate(config, low=1e-4, high=1.0, steps=STEPS, store=OFFLINE, report=done.append)
    assert done == list(range(1, len(found.rates) + 1))
    ratios = np.array(found.rates[1:]) / np.array(found.rates[:-1])
    assert ratios == pytest.approx(1e4 ** (1 / (STEPS - 1)))
    assert found.rates[0] == 1e-4
    assert found.rates[5] * 0.9 <= found.proposal <= found.lowest * 1.1
    near = min(range(len(found.rates)), key=lambda index: abs(found.rates[index] - found.proposal))
    assert found.losses[near + 1] <= found.losses[near - 1]
    assert not (workshop.folder / "output").exists()


def test_it_ends_where_the_loss_grows(workshop):
    config = workshop.config(DataLoader__Train__sampler__batch_size=15)
    found = find_rate(config, low=1e-3, high=1e6, steps=60, store=OFFLINE)
    assert found.diverged
    assert len(found.rates) < 60


def test_a_loss_that_grows_at_once_is_told(workshop):
    with pytest.raises(DivergedError, match=r"expected a loss that falls at first.*lower --from"):
        find_rate(workshop.config(), low=1e5, high=1e9, steps=STEPS, store=OFFLINE)


def test_the_command_draws_and_proposes(workshop, monkeypatch, capsys):
    workshop.config(DataLoader__Train__sampler__batch_size=15)

    def trainer(*argv):
        monkeypatch.setattr("sys.argv", ["trainer", "lr-find", *argv])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    given = ["-c", str(workshop.folder / "cfg.yaml"), "--steps", "25", "--from", "1e-4"]
    code, out, err = trainer(*given)
    lines = out.splitlines()
    assert (code, lines[-1].split(": ")[0]) == (0, "Optimizer.lr.learning_rate"), err
    assert len(lines) == 27
    assert "one rank with batches of 15" in err
    document = json.loads(trainer(*given, "--output", "json")[1])
    assert document["proposal"] == float(lines[-1].split(": ")[1])
    code, _, err = trainer(*given, "--from", "1", "--to", "0.1")
    assert (code, "expected --from below --to" in err) == (2, True)
