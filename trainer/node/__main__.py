"""`python -m trainer.node -- train -c …`: runs this node's ranks as `python -m trainer train -c …`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from trainer.node.agent import Agent
from trainer.node.console import Console, write_stdout
from trainer.node.coordinator import Coordinator
from trainer.node.log_writer import LogWriter
from trainer.node.notify import Notifier, NotifyError, read_addresses
from trainer.node.prometheus import MetricsError, find_gpus, own_gpus, read_use, serve
from trainer.node.publish import Publisher, find_places
from trainer.node.settings import Intervals, NodeSettings, complete_arguments, load_settings
from trainer.node.trackers import TrackError, Trackers
from trainer.protocol import environment
from trainer.protocol.code_archive import CodeError, unpack
from trainer.protocol.codec import FormatError
from trainer.protocol.exits import Exit, describe_exit
from trainer.protocol.log_files import BEGINS
from trainer.protocol.progress import Progress
from trainer.protocol.python_command import python_command
from trainer.protocol.termination import Termination, format_termination

_USE_S = 5.0
_LOOK_S, _CLAIMED_WITHIN_S = 1.0, 60.0


def main(
    argv: Sequence[str], environ: Mapping[str, str], *, rank_command: Sequence[str] | None = None,
    intervals: Intervals | None = None,
) -> int:  # fmt: skip
    """Run a node and return its exit code.

    Args:
        argv: Arguments of the trainer, after an optional `--`.
        environ: Read for settings, and inherited by the ranks.
        rank_command: What starts a rank, before `argv`; None for `python -m trainer`.
        intervals: Intervals; None for the usual ones.
    """
    node = environ.get(environment.NODE, "0")
    console = Console(node=int(node) if node.isascii() and node.isdigit() else 0, write=write_stdout)
    arguments = list(argv[1:] if argv[:1] == ["--"] else argv)
    if not arguments:
        console.say("trainer.node: expected the trainer's arguments, got none; use `-- train -c cfg.yaml`")
        return int(Exit.CONFIG)
    try:
        settings = load_settings(environ, intervals=intervals)
    except (FormatError, OSError) as error:
        console.say(str(error))
        return int(Exit.CONFIG)
    arguments = complete_arguments(arguments, environ, settings.job)
    command = [*(rank_command or python_command("trainer")), *arguments]
    log = _start_log(settings, console)
    try:
        with _unpacked(settings, console) as code:
            ranks_environ = {**environ, environment.CODE: code} if code else environ
            end = asyncio.run(_run(settings, console, command, ranks_environ, log))
    except (CodeError, MetricsError, NotifyError, TrackError, OSError) as error:
        end = Termination(exit=int(Exit.CONFIG), attempt=console.attempt, reason=str(error))
    except Exception as error:  # noqa: BLE001 - the outermost frame of the process
        for line in traceback.format_exc().splitlines():
            console.say(line)
        end = Termination(exit=int(Exit.INTERNAL), attempt=console.attempt, reason=f"internal error: {error}")
    console.say(f"{describe_exit(end.exit)}: {end.reason}" if end.exit else "done")
    with contextlib.suppress(OSError):  # a run outside a pod has no such path
        settings.termination_path.write_bytes(format_termination(end))
    if log is not None and (lost := log.close()):  # last: a volume that hangs takes some seconds
        console.say(f"{lost} lines are not in {log.folder}{_because(log)}")
    return end.exit


def _start_log(settings: NodeSettings, console: Console) -> LogWriter | None:
    if settings.job.keep_logs_bytes is None:
        return None
    log = LogWriter(
        output_dir=settings.output_dir, run_id=settings.job.run_id, node=settings.node,
        max_bytes=settings.job.keep_logs_bytes,
    )  # fmt: skip
    log.start()
    console.say_bytes(BEGINS)
    console.copy_to(log.add)
    return log


async def _watch_log(log: LogWriter, console: Console, agent: Agent) -> None:
    """Say once that lines are not kept."""
    unclaimed = 0
    while True:
        await asyncio.sleep(_LOOK_S)
        unclaimed += agent.attempt > 0 and not log.is_claimed
        if unclaimed * _LOOK_S > _CLAIMED_WITHIN_S:
            console.say(f"{log.folder}: this node's lines are not kept: the folder is not that of node 0")
            return
        if log.problem or log.lost:
            reason = _because(log) or ": the volume takes them too slowly"
            console.say(f"{log.folder}: lines are not kept for now{reason}; training goes on")
            return


async def _watch_gpus(console: Console, agent: Agent, environ: Mapping[str, str]) -> None:
    """Keep the use of this node's GPUs up to date; in a thread, because a broken one may not answer."""
    gpus = await asyncio.to_thread(find_gpus)
    if gpus is None:
        console.say("stop_if: gpu_below does not count: no GPU tells its use here (package nvidia-ml-py)")
        return
    only = own_gpus(environ.get("CUDA_VISIBLE_DEVICES"))
    while True:
        try:
            agent.gpu_use = await asyncio.to_thread(read_use, gpus, only)
        except Exception as error:  # noqa: BLE001 - the library's own, such as of a GPU that was lost
            agent.gpu_use = None
            console.say(f"stop_if: gpu_below does not count any more: {error}")
            return
        await asyncio.sleep(_USE_S)


def _because(log: LogWriter) -> str:
    return f": {log.problem}" if log.problem else ""


@contextlib.contextmanager
def _unpacked(settings: NodeSettings, console: Console) -> Iterator[str]:
    """Unpack the user's code for the ranks of this node; gives its folder, empty where there is none.

    Anew in each life of the process, in a folder that only this user may enter: what an earlier life has
    left, or somebody else has put there, is not believed.
    """
    if settings.code is None:
        yield ""
        return
    sha256 = settings.job.code_sha256 or ""
    with tempfile.TemporaryDirectory(prefix="ftlaunch-code-", ignore_cleanup_errors=True) as folder:
        number = unpack(settings.code, Path(folder), sha256=sha256)
        console.say(f"code: {number} {'file' if number == 1 else 'files'}, SHA-256 {sha256[:12]}")
        yield folder


async def _run(
    settings: NodeSettings, console: Console, command: Sequence[str], environ: Mapping[str, str],
    log: LogWriter | None,
) -> Termination:  # fmt: skip
    if settings.job.secret is None and settings.job.nodes > 1:
        console.say(
            "there is no secret, so nodes prove no more than that they know the run id, which is a "
            "label; submit again with this release of ftlaunch, or without --stable"
        )
    agent = Agent(settings=settings, console=console, command=command, environ=environ)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_Once(console))
    # Not `signal.signal`: what the handlers do belongs to the event loop.
    loop.add_signal_handler(signal.SIGTERM, agent.on_signal, Exit.STOPPED)
    loop.add_signal_handler(signal.SIGINT, agent.on_signal, Exit.INTERRUPTED)
    with contextlib.ExitStack() as stack:
        if log is not None:
            stack.callback(asyncio.ensure_future(_watch_log(log, console, agent)).cancel)
        if settings.job.stop_if is not None and settings.job.stop_if.gpu_below is not None:
            stack.callback(asyncio.ensure_future(_watch_gpus(console, agent, environ)).cancel)
        if settings.job.metrics_port is not None:
            stack.callback(serve(settings, agent))
        if settings.node != 0:
            return await agent.run()
        return await _tracked(settings, console, agent, environ)


async def _tracked(
    settings: NodeSettings, console: Console, agent: Agent, environ: Mapping[str, str]
) -> Termination:
    """Run node 0, and send its rows to trackers, where that is asked for."""
    if settings.job.track is None:
        return await _telling(settings, console, agent, environ)
    trackers = Trackers(settings, environ, console.say)
    await trackers.check()
    agent.pids_beside = lambda: trackers.pids
    trackers.start()
    try:
        end = await _telling(settings, console, agent, environ)
        await trackers.end(end)
    finally:
        trackers.close()
    return end


async def _telling(
    settings: NodeSettings, console: Console, agent: Agent, environ: Mapping[str, str]
) -> Termination:
    """Run node 0, and tell people what happens, where that is asked for."""
    if settings.notify_file is None:
        return await _publishing(settings, console, agent, environ)
    notifier = Notifier(
        settings=settings, watched=agent, addresses=read_addresses(settings.notify_file), say=console.say
    )
    looking = asyncio.ensure_future(notifier.run())
    try:
        end = await _publishing(settings, console, agent, environ)
    finally:
        looking.cancel()
        await asyncio.wait({looking})
    await notifier.end(end)
    return end


async def _publishing(
    settings: NodeSettings, console: Console, agent: Agent, environ: Mapping[str, str]
) -> Termination:
    """Run node 0, and write its progress into the job object, where that is asked for or offered."""
    loop = asyncio.get_running_loop()

    def say(text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(console.say, text)

    places, problems = find_places(settings, environ)
    for problem in problems:
        console.say(problem)
    publishers = [Publisher(place, every_s=settings.intervals.publish_s, say=say) for place in places]

    def take(progress: Progress) -> None:
        for publisher in publishers:
            publisher.take(progress)

    try:
        return await _run_node_0(settings, console, agent, on_progress=take)
    finally:
        within_s = settings.intervals.publish_last_s
        await asyncio.gather(*(asyncio.to_thread(publisher.close, within_s) for publisher in publishers))


class _Once:
    """Says what asyncio has to say of itself, such as that there are no descriptors left: once in a while."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        del loop
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + 10.0
            self._console.say(f"{context.get('message')}: {context.get('exception')}")


async def _run_node_0(
    settings: NodeSettings, console: Console, agent: Agent, *, on_progress: Callable[[Progress], None]
) -> Termination:
    coordinator = Coordinator(settings=settings, console=console, clock=time.time, on_progress=on_progress)
    coordinating = asyncio.ensure_future(coordinator.run())
    taking_part = asyncio.ensure_future(agent.run())
    # Usually the agent ends first: it hears the end from the coordinator, which stays for the other nodes.
    await asyncio.wait({coordinating, taking_part}, return_when=asyncio.FIRST_COMPLETED)
    if not taking_part.done():
        if coordinating.exception() is not None:
            taking_part.cancel()
            coordinating.result()
        return await taking_part
    coordinator.quit()
    if not coordinator.listening:  # the port was never free, and nobody can be told anything
        coordinating.cancel()
    await asyncio.wait({coordinating}, timeout=settings.intervals.farewell_s + 2 * settings.intervals.kill_s)
    if not coordinating.done():
        coordinating.cancel()
    elif not coordinating.cancelled():
        coordinating.result()
    return taking_part.result()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
