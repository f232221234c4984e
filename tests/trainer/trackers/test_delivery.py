"""Rows reach a tracker once, whatever ends between two of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.trackers.conftest import Output
from trainer.protocol.tracking import Ending, Told
from trainer.trackers import Row, Run, Tracker, TrackerError
from trainer.trackers.delivery import Delivery

BATCH = 5
DONE = Ending(state="finished", reason="trained")


class KilledError(BaseException):
    """Stands for SIGKILL: nothing of ours runs after it."""


@dataclasses.dataclass
class Service:
    """Keeps what it was sent, over lives of the tracker.

    `faults` come one a call: what is raised, and whether what the call brought was taken before.
    """

    taken: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    facts: dict[str, str] = dataclasses.field(default_factory=dict)
    files: list[str] = dataclasses.field(default_factory=list)
    endings: list[Ending] = dataclasses.field(default_factory=list)
    runs: list[Run] = dataclasses.field(default_factory=list)
    faults: list[tuple[type[BaseException], bool] | None] = dataclasses.field(default_factory=list)
    can_be_asked: bool = True
    name: str = "run-1"
    takes_files: bool = True

    def fault(self) -> tuple[type[BaseException], bool] | None:
        return self.faults.pop(0) if self.faults else None


class FakeTracker(Tracker):
    def __init__(self, service: Service) -> None:
        self.service = service

    def _meet(self, *, take: Callable[[], object] = lambda: None) -> None:
        fault = self.service.fault()
        if fault is None or fault[1]:
            take()
        if fault is not None:
            raise fault[0]("the service is not well")

    def start(self, run: Run) -> str:
        self._meet()
        self.service.runs.append(run)
        return self.service.name

    def log(self, rows: Sequence[Row]) -> None:
        new = [(name, row.step) for row in rows for name in row.values]
        self._meet(take=lambda: self.service.taken.extend(new))

    def missing(self, rows: Sequence[Row]) -> Sequence[Row]:
        if not self.service.can_be_asked:
            return rows
        self._meet()
        there = set(self.service.taken)
        return [row for row in rows if not {(name, row.step) for name in row.values} & there]

    def describe(self, facts: Mapping[str, str]) -> None:
        self._meet(take=lambda: self.service.facts.update(facts))

    def artifact(self, path: Path) -> None:
        if not self.service.takes_files:
            raise OSError("no place for files")
        self._meet(take=lambda: self.service.files.append(path.name))

    def end(self, ending: Ending) -> None:
        self._meet(take=lambda: self.service.endings.append(ending))


class Life:
    """One life of the sending process, whose time goes by as it waits."""

    def __init__(
        self, output: Output, service: Service, *, events: Sequence[Callable[[], object]] = (),
        ending: Ending | None = None,
    ) -> None:  # fmt: skip
        self.told: list[Told] = []
        self.pauses: list[float] = []
        self.now_s = 0.0
        left = list(events)

        def wait(seconds: float) -> Ending | None:
            self.pauses.append(seconds)
            self.now_s += seconds
            if not left:
                return DONE
            left.pop(0)()
            return None

        self.delivery = Delivery(
            request=output.request(ending=ending), tracker=FakeTracker(service), tell=self.told.append,
            wait=wait, clock=lambda: self.now_s, most_rows=BATCH,
        )  # fmt: skip

    def said(self, event: str) -> list[str]:
        return [one.text for one in self.told if one.event == event]


def live(output: Output, service: Service, **more: Any) -> Life:
    life = Life(output, service, **more)
    assert life.delivery.run()
    return life


def test_a_run_is_sent_from_its_start_to_its_end(output: Output) -> None:
    output.describe()
    service = Service()

    def train() -> None:
        output.steps(1, 2)
        output.row("eval", step=2, loss=0.5, top1=0.7, largest_class=0.3)
        output.row("checkpoint", step=2, path="/output/e001", best=1.0)
        (output.folder / "report.html").write_text("<p>")

    live(output, service, events=[train])
    assert service.taken == [
        ("train/loss", 1), ("train/loss", 2), ("eval/loss", 2), ("eval/top1", 2), ("eval/largest_class", 2),
    ]  # fmt: skip
    assert service.facts == {"best_checkpoint": "/output/e001"}
    assert service.files == ["report.html"]
    assert service.endings == [DONE]
    assert service.runs[0].parameters == {
        "job": "flowers-a3f9k", "run_id": "0123456789abcdef" * 2, "Global.epochs": "3",
        "NumPy, OpenCV": "2, 4", "git.commit": "a" * 40,
    }  # fmt: skip


def test_nothing_is_started_before_the_training_is(output: Output) -> None:
    service = Service()
    seen: list[int] = []
    live(output, service, events=[lambda: seen.append(len(service.runs)), output.describe])
    assert seen == [0]
    assert len(service.runs) == 1


def test_what_was_sent_is_not_sent_again(output: Output) -> None:
    output.steps(1, 2)
    service = Service(can_be_asked=False)
    for _ in range(2):
        live(output, service, ending=DONE)
    assert service.endings == [DONE]
    output.steps(3)
    live(output, service)
    assert [step for _, step in service.taken] == [1, 2, 3]
    assert [ending.state for ending in service.endings] == ["finished", "running", "finished"]


def test_steps_that_were_done_again_are_sent_once(output: Output) -> None:
    output.steps(1, 2, 3, 4)
    output.row("resumed", step=2)
    output.steps(3, 4, 5, attempt=2)
    service = Service()
    live(output, service)
    assert [step for _, step in service.taken] == [1, 2, 3, 4, 5]


def test_the_steps_of_an_hour_of_500_all_come(output: Output) -> None:
    output.steps(1, 2)
    service = Service(faults=[(ConnectionError, False)] * 70)
    life = Life(output, service, events=[lambda: None] * 100)
    assert life.delivery.run()
    assert [step for _, step in service.taken] == [1, 2]
    assert max(life.pauses) == 60.0
    assert life.now_s > 3600
    assert len(life.said("failed")) <= 8  # once in ten minutes
    assert life.said("failed")[0].startswith("ConnectionError: the service is not well; tries again in 1 s")
    assert life.said("said")[0].startswith("goes on after ")


def test_rows_whose_answer_is_lost_come_once(output: Output) -> None:
    output.steps(1, 2)
    service = Service(faults=[None, None, (TimeoutError, True), (TimeoutError, False)])
    live(output, service)
    assert [step for _, step in service.taken] == [1, 2]


def test_a_run_that_is_gone_there_is_sent_anew(output: Output) -> None:
    output.steps(1, 2)
    live(output, Service())
    other = Service(name="run-2")
    live(output, other)
    assert [step for _, step in other.taken] == [1, 2]


def test_another_machine_that_has_sent_all_leaves_nothing_to_send(output: Output, tmp_path: Path) -> None:
    many = range(1, 3 * BATCH)
    output.steps(*many)
    service = Service()
    live(output, service)
    (output.state / f"{output.request().target.key}.json").unlink()
    live(output, service)
    assert [step for _, step in service.taken] == list(many)


def test_what_cannot_be_done_is_refused_at_once(output: Output) -> None:
    output.steps(1)
    life = Life(output, Service(faults=[(TrackerError, False)]))
    assert not life.delivery.run()
    assert life.said("refused") == ["the service is not well"]
    assert life.delivery.left == 1


def test_a_report_that_is_not_taken_keeps_nothing_else(output: Output) -> None:
    output.steps(1)
    (output.folder / "report.html").write_text("<p>")
    service = Service(takes_files=False)
    life = live(output, service)
    assert service.endings == [DONE]
    assert life.said("said")[0] == "report.html was not taken: OSError: no place for files"


def test_a_broken_row_is_passed_over_and_a_half_one_is_waited_for(output: Output) -> None:
    output.write('{"event": "st{"event": "resumed"}\n[1]\n{"event": "step", "step": 1e999}\n\xff\n')
    output.row(step=1, loss=None, top1=True, lr=10**400)
    output.steps(2)
    output.write('{"event": "step", "step": 3,')
    service = Service()
    live(output, service)
    assert service.taken == [("train/loss", 2)]
    output.write(' "loss": 0.1}\n')
    live(output, service)
    assert service.taken == [("train/loss", 2), ("train/loss", 3)]


FAULT = st.sampled_from(
    [None, None, (OSError, False), (OSError, True), (KilledError, False), (KilledError, True)]
)


@settings(max_examples=25, deadline=None)
@given(faults=st.lists(FAULT, max_size=12), parts=st.lists(st.integers(0, 2 * BATCH), max_size=3))
def test_each_row_comes_once_whatever_ends_between_two(
    tmp_path_factory: pytest.TempPathFactory,
    faults: list[tuple[type[BaseException], bool] | None],
    parts: list[int],
) -> None:
    output, service = Output(tmp_path_factory.mktemp("t") / "out"), Service(faults=faults)
    last = 0
    for part in parts:
        output.steps(*range(max(1, last - 2), last + part + 1))  # some again, as after a restart
        last = max(last, last + part)
        for _ in range(len(faults) + 1):
            try:
                if Life(output, service).delivery.run():
                    break
            except KilledError:
                continue
    assert [step for _, step in service.taken] == list(range(1, last + 1))
