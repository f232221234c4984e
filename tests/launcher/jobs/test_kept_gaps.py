"""What the output folder has of lines that pods' logs have lost."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from launcher.jobs.saved_logs import KeptLogs
from launcher.logs.gaps import LogGap
from launcher.logs.lines import to_kubelet_form
from launcher.logs.source import Container
from launcher.times import format_stamp
from launcher.volumes.place import Folder, VolumeError
from tests.contract.harness import RUN_ID
from trainer.protocol.log_files import LogFileName, short_run

SECOND = 10**9
BEGAN_NS = 1_795_478_400 * SECOND  # 2026-11-24T00:00:00Z
WHERE = "/output/.ftlaunch/logs"


def theirs(*numbers: int) -> tuple[bytes, ...]:
    """The lines of these seconds as a kubelet has them, a little later."""
    return tuple(format_stamp(BEGAN_NS + at * SECOND + 900_000) + b" [a1 r0] line %d" % at for at in numbers)


@pytest.fixture
def output(tmp_path):
    """Has lines of seconds 1 to 59, a file for each twenty."""
    folder = tmp_path / "output/.ftlaunch/logs"
    folder.mkdir(parents=True)
    for first in (1, 20, 40):
        keep(folder, first, range(first, first - first % 20 + 20))
    return tmp_path / "output"


def keep(folder, first, numbers, *, node=0, life_ns=BEGAN_NS + SECOND // 2):
    first_ns = BEGAN_NS + first * SECOND
    name = LogFileName(run=short_run(RUN_ID), node=node, life_ns=life_ns, first_ns=first_ns)
    lines = [format_stamp(BEGAN_NS + at * SECOND) + b" [a1 r0] line %d" % at for at in numbers]
    (folder / str(name)).write_bytes(to_kubelet_form(lines))


class Reach:
    """Counts how often the output folder is reached."""

    def __init__(self, output):
        self.times, self.before, self._output = 0, lambda: None, output

    def __call__(self, job):
        self.times += 1
        self.before()
        return nullcontext(Folder(self._output))


@pytest.fixture
def reach(output, monkeypatch):
    found = Reach(output)
    monkeypatch.setattr("launcher.jobs.saved_logs.open_output", found)
    return found


@pytest.fixture
def said():
    return []


@pytest.fixture
def make(tmp_path, said, reach):
    job = SimpleNamespace(name="flowers", record=SimpleNamespace(run_id=RUN_ID), run_folder=tmp_path / "run")

    def make_one(**given):
        return KeptLogs(
            job,
            output_dir="/output",
            notes=lambda note: said.append(note.text),
            sleep=lambda _: None,
            **given,
        )

    return make_one


@pytest.fixture
def kept(make):
    return make()


def gap(*, after=(), before=(), node=0, **more) -> LogGap:
    container = Container(node=node, pod=f"w-{node}", uid="u", restarts=0)
    return LogGap(container=container, began_ns=BEGAN_NS, after=after, before=before, **more)


def numbers(filling) -> list[int]:
    return [int(line.rpartition(b" ")[2]) for line in filling.lines]


def test_a_gap_is_filled_from_the_files_that_it_lies_in_and_it_is_said_once_where_lines_are_from(
    kept, said, tmp_path
):
    found = kept.fill_now(gap(after=theirs(24, 25), before=theirs(38, 39)))
    assert (numbers(found), found.is_whole, found.problem) == (list(range(26, 38)), True, "")
    assert len(list((tmp_path / "run/saved-logs").iterdir())) == 1
    assert numbers(kept.fill_now(gap(before=theirs(10)))) == list(range(1, 10))
    assert said == [f"flowers: what pods no longer have of its log is from {WHERE}"]


def test_the_last_lines_of_a_life_have_no_end_and_since_cuts_the_first_ones(kept):
    assert numbers(kept.fill_now(gap(after=theirs(50, 51)))) == list(range(52, 60))
    since_ns = BEGAN_NS + 5 * SECOND
    assert numbers(kept.fill_now(gap(before=theirs(8), since_ns=since_ns))) == [5, 6, 7]


def test_logs_that_begin_late_and_are_whole_cost_one_look_and_no_file(kept, reach, output, tmp_path, said):
    for node in range(1, 9):
        keep(output / ".ftlaunch/logs", 30, range(30, 35), node=node)
    for node in range(1, 9):
        found = kept.fill_now(gap(before=theirs(30, 31), node=node))
        assert (numbers(found), found.is_whole) == ([], True)
    assert reach.times == 1
    assert not (tmp_path / "run/saved-logs").exists()
    assert said == []


def test_what_the_folder_lacks_too_is_said_with_its_times(kept, output):
    for first in (60, 80):  # as many as a node keeps: what was before is not known
        keep(output / ".ftlaunch/logs", first, range(first, first + 20))
    found = kept.fill_now(gap(before=theirs(99)))
    assert found.problem == (
        "lines of before 2026-11-24 00:00:01 are missing: its node had rotated them away, and "
        f"{WHERE} lacks them"
    )
    between = kept.fill_now(gap(after=theirs(98), before=theirs(120)))
    assert (numbers(between), "between 2026-11-24 00:01:39 and 2026-11-24 00:02:00" in between.problem) == (
        [99], True,
    )  # fmt: skip


def test_of_as_many_files_as_a_node_keeps_the_first_of_a_life_says_that_nothing_was_before(kept, output):
    life_ns = BEGAN_NS + SECOND
    for first in (1, 20, 40, 60, 80):
        keep(output / ".ftlaunch/logs", first, range(first + 1, first + 20), node=1, life_ns=life_ns)
    found = kept.fill_now(gap(before=theirs(5), node=1))
    assert (numbers(found), found.problem) == ([2, 3, 4], "")


def test_what_the_node_process_has_not_written_yet_is_waited_for(kept, reach, output):
    def write() -> None:
        if reach.times == 3:
            keep(output / ".ftlaunch/logs", 60, range(60, 70))

    reach.before = write
    assert numbers(kept.fill_now(gap(after=theirs(57, 58), before=theirs(65)))) == [59, *range(60, 65)]


@pytest.mark.parametrize(
    ("changes", "found"), [({"node": 7}, []), ({"after": theirs(70)}, [])], ids=["node", "later"]
)
def test_where_nothing_of_it_was_kept_nothing_is_filled_in(kept, changes, found):
    assert numbers(kept.fill_now(gap(**{"before": theirs(80), **changes}))) == found


def test_a_folder_that_cannot_be_read_is_said_once_with_where_the_lines_are(kept, said, reach):
    def refuse() -> None:
        raise VolumeError("you may not run programs in pods", where="ml")

    reach.before = refuse
    assert not kept.fill_now(gap(before=theirs(9))).is_whole
    kept.fill_now(gap(before=theirs(9)))
    assert said == [
        f"flowers: lines that pods no longer have of its log are in {WHERE}, which cannot be read: "
        "ml: you may not run programs in pods"
    ]


def test_a_folder_that_does_not_answer_holds_nobody_up_and_is_not_asked_again(make, said, reach):
    answers = threading.Event()
    reach.before = lambda: answers.wait(30)
    kept = make(within_s=0.05)
    try:
        assert asyncio.run(kept.fill(gap(before=theirs(9)))).lines == ()
        assert asyncio.run(kept.fill(gap(before=theirs(9)))).lines == ()
        assert [text for text in said if "did not answer within 0.05 s" in text] == said
        assert (len(said), reach.times) == (1, 1)
    finally:
        answers.set()
