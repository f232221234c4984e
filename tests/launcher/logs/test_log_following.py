"""What following says and does, in virtual time over a stateful fake server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from launcher.kube.errors import NoAnswerError
from launcher.logs.follow import Waiting
from tests.fakes.log_server import FakeLogServer
from tests.fakes.virtual_time import VirtualTimeLoop
from tests.launcher.logs.schedules import Viewer, misfit


class Watched:
    """A viewer that follows while a test changes the server."""

    def __init__(self, loop: VirtualTimeLoop, server: FakeLogServer) -> None:
        self.loop, self.server, self.viewer = loop, server, Viewer(server, seed=1)
        self.task = loop.create_task(self.viewer.follower.run())

    def after(self, seconds: float, change: Callable[..., object], *arguments: object) -> None:
        """Let time pass, then change something."""
        self.loop.pass_time(seconds)

        async def within_the_loop() -> None:
            change(*arguments)

        self.loop.run_until_complete(within_the_loop())

    def said_within(self, seconds: float) -> list[str]:
        """Return what is said in that time."""
        before = len(self.viewer.said)
        self.loop.pass_time(seconds)
        return self.viewer.said[before:]

    def finish(self) -> None:
        self.server.is_over = True
        for node in self.server.pods:
            self.after(0, self.server.end_container, node)
        self.loop.run_until_complete(asyncio.wait_for(self.task, 100.0))


def waiting_server(*, nodes: int = 2) -> FakeLogServer:
    server = FakeLogServer(nodes=nodes, seed=4)
    for pod in server.pods.values():
        pod.state, pod.waiting = "waiting", {"reason": "ContainerCreating"}
        pod.unscheduled = "0/4 nodes are available: 4 Insufficient cpu. preemption: 0/4 nodes are available."
    return server


def test_each_reason_for_waiting_is_said_once_on_the_way_from_scheduler_to_image_to_volume(loop):
    server = waiting_server()
    watched = Watched(loop, server)
    w0, both = "waiting for flowers-worker-0", "waiting for flowers-worker-0 and 1 more"
    assert watched.said_within(30) == [f"{both}: scheduling: 0/4 nodes are available: 4 Insufficient cpu"]
    for pod in server.pods.values():
        pod.unscheduled = "0/5 nodes are available: 5 Insufficient cpu"
    assert watched.said_within(30) == []
    for pod in server.pods.values():
        pod.unscheduled = 'persistentvolumeclaim "runs" not found'
    assert watched.said_within(30) == [f'{both}: volume: persistentvolumeclaim "runs" not found']
    for pod in server.pods.values():
        pod.unscheduled = ""
    server.note(0, "Pulling", 'Pulling image "trainer:1"', kind="Normal")
    said = watched.said_within(30)
    assert f'{w0}: image: Pulling image "trainer:1"' in said
    assert said[1:] == ["waiting for flowers-worker-1: its container is being created"]
    server.note(0, "FailedMount", 'MountVolume.SetUp failed for volume "data": not found')
    assert watched.said_within(30) == [f'{w0}: volume: MountVolume.SetUp failed for volume "data": not found']


def test_a_pull_that_fails_and_its_pauses_are_one_reason(loop):
    server = waiting_server(nodes=1)
    pod = server.pods[0]
    pod.unscheduled, pod.waiting = "", {"reason": "ErrImagePull", "message": 'failed to pull "x": not found'}
    watched = Watched(loop, server)
    said = watched.said_within(10)
    assert said == ['waiting for flowers-worker-0: image: failed to pull "x": not found']
    pause = 'Back-off pulling image "x": ErrImagePull: failed to pull "x": not found'
    for message in (pause, pod.waiting["message"], pause):
        pod.waiting = {"reason": "ImagePullBackOff", "message": message}
        assert watched.said_within(10) == []
    pod.waiting = {"reason": "CreateContainerConfigError", "message": 'secret "key" not found'}
    assert watched.said_within(10) == [
        'waiting for flowers-worker-0: container: CreateContainerConfigError: secret "key" not found'
    ]


def test_the_same_reason_is_said_again_when_a_pod_is_made_again():
    said: list[str] = []
    waiting = Waiting(said.append)
    for pods in (
        {"w-0": "scheduling: full"},
        {"w-0": "scheduling: full"},
        {"w-0": ""},
        {},
        {"w-0": "scheduling: full"},
    ):
        waiting.tell(pods)
    assert said == ["waiting for w-0: scheduling: full"] * 2


def test_a_job_without_pods_says_what_it_waits_for_itself_and_long_words_are_cut():
    said: list[str] = []
    waiting = Waiting(said.append)
    waiting.tell({}, of_job="waits in queue 'team-a'")
    waiting.tell({}, of_job="waits in queue 'team-a'")
    waiting.tell({"w-0": "two\n lines " + 1000 * "x"}, of_job="not this one")
    assert said[0] == "waiting: waits in queue 'team-a'"
    assert said[1].startswith("waiting for w-0: two lines xxx")
    assert said[1].endswith("x…")
    assert (len(said), len(said[1]) < 700) == (2, True)


@pytest.mark.parametrize("writes", [True, False])
def test_a_node_that_can_follow_no_log_is_asked_now_and_then_and_told_of_once(loop, writes):
    """As one that has run out of inotify instances: each answer is whole, and ends at once."""
    server = FakeLogServer(nodes=3, seed=4)
    server.refusal = b"failed to create fsnotify watcher: too many open files"
    watched = Watched(loop, server)
    said = []
    for _ in range(120):
        if writes:
            watched.after(0, server.write, 1, 2)
        said += watched.said_within(1)
    asked = server.requests
    (told,) = said
    assert told.partition(":")[2] == (
        f" its node ends each followed log at once ({server.refusal.decode()}); such logs are read every 10 s"
        " instead"
    )
    # of each pod some at first, then one each ten seconds with looks at all pods; and a look now and then
    assert asked < 3 * (8 + 120 / 10) * 3 + 120
    watched.finish()
    assert [misfit(server, node, watched.viewer.of(node)) for node in range(3)] == [""] * 3


def test_a_container_that_ends_while_its_node_can_follow_no_log_is_read_at_once(loop):
    server = FakeLogServer(nodes=1, seed=4)
    server.refusal = b"failed to create fsnotify watcher: too many open files\n"
    watched = Watched(loop, server)
    watched.after(100, server.write, 0, 5)
    server.is_over = True
    watched.after(0, server.end_container, 0)
    loop.run_until_complete(asyncio.wait_for(watched.task, 8.0))
    assert misfit(server, 0, watched.viewer.of(0)) == ""


def test_events_that_may_not_be_read_cost_nothing_but_words(loop):
    server = waiting_server(nodes=1)
    server.pods[0].unscheduled = ""
    serve = server.serve

    def refuse_events(connection, request):
        if b"/events?" in request:
            server.faults.insert(0, 403)
        serve(connection, request)

    server.serve = refuse_events
    watched = Watched(loop, server)
    assert watched.said_within(10) == ["waiting for flowers-worker-0: its container is being created"]
    server.pods[0].state = "running"
    watched.after(5, server.write, 0, 3)
    watched.finish()
    assert misfit(server, 0, watched.viewer.of(0)) == ""


def test_a_half_open_connection_is_noticed_though_the_last_line_is_still_being_written(loop):
    server = FakeLogServer(nodes=1, seed=5)
    watched = Watched(loop, server)
    watched.after(5, server.silence)
    watched.after(1, lambda: server.write(0, 1, part=True))
    loop.pass_time(30)
    assert watched.viewer.of(0) == [b"line 0"]
    watched.finish()
    assert misfit(server, 0, watched.viewer.of(0)) == ""


def test_an_outage_is_told_once_and_so_is_its_end(loop):
    server = FakeLogServer(nodes=1, seed=6)
    watched = Watched(loop, server)
    loop.pass_time(5)
    server.faults = [503] * 10
    watched.after(0, lambda: server.cut(error=ConnectionResetError("reset")))
    loop.pass_time(200)
    first, last = watched.viewer.said
    assert first.startswith("no answer, asking on (the job is not touched by that): PaddleJob")
    assert last == "the cluster answers again"
    watched.after(0, server.write, 0, 3)
    watched.finish()
    assert misfit(server, 0, watched.viewer.of(0)) == ""


def test_an_outage_without_an_end_is_given_up(loop):
    server = FakeLogServer(nodes=1, seed=7)
    watched = Watched(loop, server)
    loop.pass_time(5)
    server.faults = [503] * 10_000
    with pytest.raises(NoAnswerError):
        loop.run_until_complete(asyncio.wait_for(watched.task, 1200.0))


def test_what_has_ended_is_shown_without_waiting_for_the_next_look(loop):
    server = FakeLogServer(nodes=2, seed=8)
    for node in server.pods:
        loop.run_until_complete(_soon(server.write, node, 9))
        loop.run_until_complete(_soon(server.end_container, node))
    server.is_over = True
    began_s = loop.time()
    watched = Watched(loop, server)
    loop.run_until_complete(asyncio.wait_for(watched.task, 100.0))
    assert loop.time() - began_s < 1.5
    assert [misfit(server, node, watched.viewer.of(node)) for node in server.pods] == ["", ""]


async def _soon(change: Callable[..., object], *arguments: object) -> None:
    change(*arguments)


def test_a_pod_that_is_made_again_is_not_said_to_have_lost_lines_that_were_read(loop):
    server = FakeLogServer(nodes=1, seed=9)
    watched = Watched(loop, server)
    watched.after(5, server.write, 0, 3)
    watched.after(1, server.recreate, 0)
    watched.after(5, server.write, 0, 3)
    watched.finish()
    assert misfit(server, 0, watched.viewer.of(0)) == ""
    assert watched.viewer.said == []


@pytest.mark.parametrize("lines", [0, 3])
def test_a_pod_that_is_gone_while_the_connection_is_cut_is_said_to_have_lost_lines(loop, lines):
    server = FakeLogServer(nodes=1, seed=10)
    watched = Watched(loop, server)
    watched.after(5, server.write, 0, lines)
    watched.after(1, lambda: server.cut(error=ConnectionResetError("reset")))
    server.faults = [503] * 3
    watched.after(0, server.recreate, 0)
    watched.after(20, server.write, 0, 3)
    watched.finish()
    assert watched.viewer.said[-1] == (
        "flowers-worker-0: its last lines may be missing: it was gone before they were read"
    )


@pytest.mark.parametrize("lines", [0, 10, 3_000])
def test_reading_ends_however_much_there_is_to_show_from_the_record(loop, tmp_path, lines):
    server = FakeLogServer(nodes=2, seed=11)
    for node in server.pods:
        loop.run_until_complete(_soon(server.write, node, lines))
    for has_pods in (True, False):
        viewer = Viewer(server, seed=1, folder=tmp_path, follow=False)
        loop.run_until_complete(asyncio.wait_for(viewer.follower.run(), 30.0))
        viewer.follower.recording.close()
        assert [misfit(server, node, viewer.of(node)) for node in (0, 1)] == ["", ""]
        if has_pods:
            server.pods.clear()
            server.is_over = True


def test_no_more_is_read_of_a_pod_than_waits_to_be_shown(loop):
    """So a slow terminal, which stops the loop, leaves the rest with the kubelet."""
    server = FakeLogServer(nodes=2, seed=9)
    for node in server.pods:
        loop.run_until_complete(_soon(server.write, node, 3000))
    watched = Watched(loop, server)
    waiting, add = [], watched.viewer.follower.add

    def spy(stream, items):
        add(stream, items)
        waiting.append(stream.waiting_bytes)

    watched.viewer.follower.add = spy
    watched.loop.pass_time(10.0)
    watched.finish()
    assert [misfit(server, node, watched.viewer.of(node)) for node in server.pods] == ["", ""]
    assert max(waiting) < 64 * 1024 + 2 * 16 * 1024 < sum(30 + len(line) for line in watched.viewer.of(0))


@pytest.mark.parametrize("follow", [False, True], ids=["once", "until the end"])
def test_more_pods_than_open_files_are_read_one_after_the_other(loop, monkeypatch, tmp_path, follow):
    monkeypatch.setattr("launcher.logs.follow.most_at_once", lambda: 2)
    server = FakeLogServer(nodes=5, seed=4)

    async def of_all(change: Callable[[int], object]) -> None:
        for node in server.pods:
            change(node)

    loop.run_until_complete(of_all(lambda node: server.write(node, 3)))
    viewer = Viewer(server, seed=1, folder=tmp_path, follow=follow)
    open_at_once = []
    ask = viewer.follower.source.open
    now = set()

    def spy(asked, receiver):
        now.add(asked.container.node)
        open_at_once.append(len(now))
        answer = ask(asked, receiver)
        drop = answer.close

        def dropped():
            now.discard(asked.container.node)
            drop()

        monkeypatch.setattr(answer, "close", dropped)
        return answer

    monkeypatch.setattr(viewer.follower.source, "open", spy)
    task = loop.create_task(viewer.follower.run())
    loop.pass_time(30)
    server.is_over = True
    loop.run_until_complete(of_all(server.end_container))
    loop.run_until_complete(asyncio.wait_for(task, 300.0))
    assert max(open_at_once) == 2
    assert [misfit(server, node, viewer.of(node)) for node in server.pods] == [""] * 5


def test_of_each_pod_the_container_before_the_present_one_is_shown_alone(loop):
    server = FakeLogServer(nodes=2, seed=4)

    async def restart() -> None:
        server.write(0, 2)
        server.write(1, 1)
        server.restart(0)
        server.write(0, 3)

    loop.run_until_complete(restart())
    viewer = Viewer(server, seed=1, follow=False, previous_only=True)
    loop.run_until_complete(asyncio.wait_for(viewer.follower.run(), 60.0))
    assert (len(viewer.of(0)), viewer.of(1)) == (2, [])
    assert viewer.of(0) == [row[0] for row in server.truth[0][:2]]
    assert viewer.said == []
