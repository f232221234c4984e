from __future__ import annotations

import json

import numpy as np
import pytest

from trainer.cli.main import main
from trainer.engine.lr_finder import choose_rates, find_rate
from trainer.errors import DivergedError
from trainer.models.weights_store import OFFLINE

STEPS = 80


def test_the_rate_grows_by_a_constant_factor_and_the_proposal_lies_where_the_loss_falls(workshop):
    done = []
    config = workshop.config(Arch__dropout_prob=0.0, DataLoader__Train__sampler__batch_size=15)
    found = find_rate(config, low=1e-4, high=1.0, steps=STEPS, store=OFFLINE, report=done.append)
    assert done == list(range(1, len(found.rates) + 1))
    ratios = np.array(found.rates[1:]) / np.array(found.rates[:-1])
    assert ratios == pytest.approx(1e4 ** (1 / (STEPS - 1)))
    assert found.rates[0] == 1e-4
    assert found.rates[3] * 0.9 <= found.proposal <= found.lowest * 1.1
    near = min(range(len(found.rates)), key=lambda index: abs(found.rates[index] - found.proposals["steep"]))
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


RATES = np.geomspace(1e-6, 1.0, 100)


def noisy(losses, deviation, seed=0):
    return list(np.asarray(losses) + np.random.default_rng(seed).normal(0, deviation, len(losses)))


def falling(*, begin, end, high=2.3, low=0.5):
    """A loss that is flat up to a rate, falls until another one, and grows behind it."""
    place = np.log10(RATES)
    down = np.clip((place - np.log10(begin)) / (np.log10(end) - np.log10(begin)), 0, 1)
    up = np.clip(place - np.log10(end) - 0.3, 0, None)
    return high - (high - low) * down + 20 * up**2


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_with_a_valley_is_proposed_from_within_it(seed):
    found = choose_rates(RATES, noisy(falling(begin=1e-4, end=3e-2), 0.1, seed), diverged=False)
    for name, rate in found.proposals.items():
        assert 1e-4 < rate < 6e-2, name
    assert found.proposals["minimum"] == pytest.approx(found.lowest / 10, rel=0.1)
    assert 5e-4 < found.proposal < 3e-2


@pytest.mark.parametrize("seed", range(20))
def test_a_flat_curve_gives_no_proposal_however_it_ends(seed):
    flat = np.full(100, 1.386)
    found = choose_rates(RATES, noisy(flat, 0.08, seed), diverged=False)
    assert (found.proposal, found.grows_from, found.guess) == (None, None, None)
    growing = np.where(RATES < 0.1, 1.386, 1.386 + 30 * np.log10(RATES / 0.1) ** 2)
    found = choose_rates(RATES, noisy(growing, 0.08, seed), diverged=True)
    assert found.proposals == {}
    assert found.fall < 7 * found.noise
    assert 0.1 < found.grows_from < 0.4  # it is seen late: the mean is of some ten steps
    assert found.guess == pytest.approx(found.grows_from / 3, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_a_fall_from_where_too_large_a_rate_has_brought_the_loss_is_no_way_down(seed):
    place = np.log10(RATES)
    hump = 2.3 + 3.0 * np.exp(-(((place + 1.5) / 0.5) ** 2))  # up to 5.3 at 0.03, and back to where it began
    found = choose_rates(RATES, noisy(hump, 0.1, seed), diverged=False)
    assert found.proposal is None
    assert 3e-3 < found.grows_from < 3e-2
    learning = falling(begin=1e-4, end=1e-3) + 3.0 * np.exp(-(((place + 1.0) / 0.4) ** 2))
    found = choose_rates(RATES, noisy(learning, 0.05, seed), diverged=False)
    assert 1e-4 < found.proposal < 3e-3


def test_one_lucky_batch_is_no_fall():
    losses = noisy(np.full(100, 1.386), 0.01)
    losses[40] = 0.2
    assert choose_rates(RATES, losses, diverged=False).proposal is None


def test_the_first_steps_are_not_proposed_though_the_loss_falls_fastest_there():
    losses = falling(begin=1e-3, end=1e-1)
    losses[:4] += [4, 2, 1, 0.5]  # a network's very first steps
    found = choose_rates(RATES, noisy(losses, 0.02), diverged=False)
    assert min(found.proposals.values()) > 1e-4


def test_a_slow_fall_over_all_rates_is_told_from_noise():
    losses = noisy(np.linspace(2.3, 1.9, 100), 0.05)
    assert choose_rates(RATES, losses, diverged=False).proposal is not None


def test_a_curve_that_only_grows_is_not_called_flat():
    grows = choose_rates(RATES, noisy(np.linspace(1.4, 3.0, 100), 0.02, 0), diverged=False)
    assert (grows.proposal, grows.rises) == (None, True)
    assert grows.guess < 1e-2
    assert not choose_rates(RATES, noisy(np.full(100, 1.386), 0.08, 0), diverged=False).rises


def test_the_command_says_that_a_flat_curve_tells_nothing(workshop, monkeypatch, capsys):
    workshop.config(DataLoader__Train__sampler__batch_size=15)
    for form in ("text", "json"):
        monkeypatch.setattr("sys.argv", [
            "trainer", "lr-find", "-c", str(workshop.folder / "cfg.yaml"), "--from", "1e-12", "--to", "1e-11",
            "--steps", "25", "--output", form,
        ])  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            main()
        out = capsys.readouterr().out
        assert not ended.value.code
        if form == "json":
            document = json.loads(out)
            assert (document["proposal"], document["proposals"]) == (None, {})
        else:
            assert "no proposal: the loss is flat from 1e-12 to 1e-11, I cannot tell" in out
            assert "Optimizer.lr" not in out


def test_the_command_says_from_where_a_flat_loss_grows(workshop, monkeypatch, capsys):
    workshop.config(DataLoader__Train__sampler__batch_size=15)
    given = ["-c", str(workshop.folder / "cfg.yaml"), "--from", "1e-6", "--to", "1e6", "--steps", "60"]
    for form in ("json", "text"):
        picture = ["--svg", str(workshop.folder / "curve.svg")]
        monkeypatch.setattr("sys.argv", ["trainer", "lr-find", *given, *picture, "--output", form])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        out = capsys.readouterr().out
        if form == "json":
            document = json.loads(out)
            assert document["diverged"]
            assert document["proposal"] is None
            assert 3e-3 < document["grows_from"] < 1e2
        else:
            assert f"the loss grows from {document['grows_from']:.2g} on; the best rate lies below" in out
            assert f"around {document['guess']:g}, a third of it" in out
            (marks,) = [line for line in out.splitlines() if "│" in line and line.rstrip().endswith("g")]
            assert 0.5 < marks.index("g") / 70 < 1.0
            assert "grows from" in (workshop.folder / "curve.svg").read_text()


def test_the_command_draws_and_proposes(workshop, monkeypatch, capsys):
    workshop.config(Arch__dropout_prob=0.0, DataLoader__Train__sampler__batch_size=15)

    def trainer(*argv):
        monkeypatch.setattr("sys.argv", ["trainer", "lr-find", *argv])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    given = ["-c", str(workshop.folder / "cfg.yaml"), "--steps", "80", "--from", "1e-4"]
    code, out, err = trainer(*given)
    lines = out.splitlines()
    assert (code, lines[-1].split(": ")[0]) == (0, "Optimizer.lr.learning_rate"), err
    assert "•" in lines[0] or "│" in lines[0]
    assert max(map(len, lines[:-1])) <= 80
    assert [line.split()[0] for line in lines[-4:-1]] == ["valley", "steep", "minimum"]
    assert "one rank with batches of 15" in err
    document = json.loads(trainer(*given, "--output", "json")[1])
    assert document["proposal"] == float(lines[-1].split(": ")[1])
    picture = workshop.folder / "curve.svg"
    assert trainer(*given, "--svg", str(picture))[0] == 0
    assert picture.read_text().startswith("<svg ")
    code, _, err = trainer(*given, "--svg", str(workshop.folder / "none" / "curve.svg"))
    assert (code, "expected a file to draw the curve into" in err) == (5, True)
    code, _, err = trainer(*given, "--from", "1", "--to", "0.1")
    assert (code, "expected --from below --to" in err) == (2, True)
