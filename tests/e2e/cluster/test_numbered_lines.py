"""Every line of every rank, once and in order, while a cluster does its worst to those who read."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tests.e2e.cluster.writers import FLOOD_LINES, Writers


@pytest.fixture
def follow(place):
    """Follow the job `lines` into the files `shown` and `words`."""
    running = []

    def begin():
        with (place.folder / "shown").open("wb") as out, (place.folder / "words").open("wb") as err:
            argv = [sys.executable, "-m", "launcher", "logs", "-f", "lines"]
            running.append(
                subprocess.Popen(argv, cwd=place.folder, env=place.environ, stdout=out, stderr=err)
            )
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.timeout(480)
def test_what_is_followed_is_what_the_ranks_wrote_and_stays_when_the_pods_are_gone(
    place, space, write_job, kit, follow
):
    job = Writers.submit(place, space, write_job(Launch__max_restarts=0))
    follower, shown = follow(), place.folder / "shown"

    def is_read(node, *, lives):
        job.write_on(node, lives=lives)
        life = job.lives(node)[-1]  # what a node drops before anybody has asked for it is lost for all
        place.wait_for(lambda: f" {life} " in shown.read_text(), what=f"lines of {job.pod(node)} to be shown")

    is_read(0, lives=1)
    is_read(1, lives=1)
    job.kill(1)
    job.write_on(1, lives=2)
    space.kubectl("delete", "pod", job.pod(0), "--wait=false")
    is_read(0, lives=2)
    job.flood(0)
    job.write_on(0, lives=2)
    kit.stop_api_server()
    time.sleep(1)  # an outage in which lines are written
    kit.start_api_server()
    for node in (0, 1):
        job.write_on(node, lives=2, lines=400)
    job.stop()
    words = place.folder / "words"
    assert follower.wait(timeout=60) == 0, words.read_text()
    lines = shown.read_text().splitlines()
    assert len(lines) > FLOOD_LINES
    assert job.misfits(lines) == []
    assert "missing" not in words.read_text(), words.read_text()
    assert [len(job.lives(node)) for node in (0, 1)] == [2, 2]
    assert space.get("pod", job.pod(1))["status"]["containerStatuses"][0]["restartCount"] == 1

    space.kubectl("delete", "pods", "--all")
    assert job.misfits(place.run("ftlaunch", "logs").stdout.splitlines()) == []
    space.kubectl("delete", "paddlejob", "lines")
    gone = place.run("ftlaunch", "logs", "lines")
    assert gone.stderr == "lines: it is gone; this is what was read of its log before\n"
    assert job.misfits(gone.stdout.splitlines()) == []
