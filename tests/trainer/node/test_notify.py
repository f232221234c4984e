"""Messages about a run: what is told, to whom, once."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.node.conftest import RUN_ID, Job
from trainer.node.messages import RankState
from trainer.node.notify import Message, Notifier, NotifyError, Webhook, read_addresses
from trainer.node.settings import Address, NodeSettings
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.nodefile import NOTIFY_ON, NodeFile, Notify
from trainer.protocol.runfile import RunFile, save_run_file
from trainer.protocol.termination import Termination

SECRET = "s3cret"
GOOD = Evaluated(top1=0.8, best_top1=0.9, largest_class=0.3, images=500)


class Hook:
    """A service that takes messages. It answers what it is told to, and can lose answers."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.answers: list[int] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = hook.answers.pop(0) if hook.answers else 204
                if answer < 300 or answer == 0:
                    signed = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                    assert self.headers["X-Ftlaunch-Signature"] == f"sha256={signed}"
                    hook.taken.append(json.loads(body))
                    hook.ids.append(str(self.headers["X-Ftlaunch-Event"]))
                if answer == 0:  # taken, and the answer is lost
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(answer)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?token=hidden"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def events(self) -> list[str]:
        return [one["event"] for one in self.taken]


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


@dataclasses.dataclass
class Agent:
    attempt: int = 0
    rank_states: Sequence[RankState] = ()


def state(evaluated: Evaluated | None) -> RankState:
    return RankState(
        rank=0, recorded=True, step=4, epoch=1, total_steps=9, phase="eval", silent_s=0.0, loss=1.0,
        images_per_s=1.0, evaluated=evaluated,
    )  # fmt: skip


def make_settings(folder: Path, **notify: Any) -> NodeSettings:
    job = NodeFile(
        run_id=RUN_ID, job="flowers-a3f9k", nodes=2, procs_per_node=2, coordinator_host="x",
        coordinator_port=1, backend="gloo", output_dir="/output/run", max_restarts=3, backoff_s=1.0,
        deadline_s=None, grace_s=10.0, rendezvous_timeout_s=15.0, hang_timeout_s=None,
        notify=Notify(file="/secrets/chat", **notify),
    )  # fmt: skip
    address = Address(host="127.0.0.1", port=1)
    return NodeSettings(
        node=0, job=job, coordinator=address, bind_host=None, master=address, output_dir=folder,
        termination_path=folder / "end",
    )  # fmt: skip


class Life:
    """One life of node 0, whose time goes by as it is told."""

    def __init__(self, folder: Path, hook: Hook, **notify: Any) -> None:
        (folder / ".ftlaunch").mkdir(exist_ok=True)
        self.agent, self.said, self.now_s = Agent(), list[str](), 0.0
        self.notifier = Notifier(
            settings=make_settings(folder, **notify), watched=self.agent, say=self.said.append,
            addresses=[Webhook(url=hook.url, secret=SECRET)], clock=lambda: self.now_s,
        )  # fmt: skip

    def look(self, after_s: float = 0.0) -> None:
        self.now_s += after_s
        for message in self.notifier.look():
            self.notifier.tell(message)
        asyncio.run(self.notifier.send())

    def end(self, **termination: Any) -> None:
        given = {"exit": 0, "attempt": self.agent.attempt, "reason": "done", **termination}
        asyncio.run(self.notifier.end(Termination(**given)))


def fail(folder: Path, *fingerprints: str, attempts: int) -> None:
    save_run_file(
        folder,
        RunFile(
            run_id=RUN_ID, first_start_s=0.0, attempts=attempts, fingerprints=fingerprints, starts=attempts
        ),
    )


def test_a_run_is_told_from_its_start_to_its_end(tmp_path: Path, hook: Hook) -> None:
    life = Life(tmp_path, hook)
    life.look()
    assert hook.taken == []
    life.agent.attempt = 1
    life.look()
    life.agent.rank_states = (state(None),)
    life.look()
    life.agent.rank_states = (state(GOOD),)
    life.look()
    (tmp_path / "report.html").touch()
    life.end(checkpoint="/output/run/latest")
    assert hook.events == ["started", "evaluated", "ended"]
    assert hook.taken[0] | {"title": ""} == {
        "event": "started", "job": "flowers-a3f9k", "run_id": RUN_ID, "title": "", "exit": None,
        "text": "4 ranks on 2 nodes",
    }  # fmt: skip
    assert hook.taken[1]["text"] == "top1 0.8 (best 0.9); always answering the largest class: 0.3"
    assert hook.taken[2]["text"].splitlines() == [
        "done", "top1 0.8 (best 0.9); always answering the largest class: 0.3",
        "last checkpoint: /output/run/latest", "report: /output/run/report.html",
    ]  # fmt: skip
    assert (hook.taken[2]["exit"], life.said) == (0, [])


def test_a_run_that_learned_nothing_is_told_so(tmp_path: Path, hook: Hook) -> None:
    life = Life(tmp_path, hook, on=("ended",))
    life.agent.attempt = 1
    poor = Evaluated(top1=0.3, best_top1=0.3, largest_class=0.3, images=500)
    life.agent.rank_states = (state(poor),)
    life.end()
    assert "no better than always answering the largest class" in hook.taken[0]["text"]


def test_a_failure_that_another_attempt_follows_is_told_and_the_last_one_by_the_end(
    tmp_path: Path, hook: Hook
) -> None:
    life = Life(tmp_path, hook, on=("failed", "ended"))
    life.agent.attempt = 1
    fail(tmp_path, "exit code 1 at step 3: boom", attempts=1)
    life.look()
    assert hook.taken == []  # nobody knows yet whether another one follows
    fail(tmp_path, "exit code 1 at step 3: boom", attempts=2)
    life.look()
    life.look()
    assert [one["text"] for one in hook.taken] == ["exit code 1 at step 3: boom"]
    fail(tmp_path, "exit code 1 at step 3: boom", "rank 1 hung", attempts=2)
    life.end(exit=20, reason="rank 1 hung (all 2 attempts are used up)")
    assert hook.events == ["failed", "ended"]
    assert hook.taken[1]["title"] == "failed: all attempts are used up"


@pytest.mark.parametrize("exit_code", [143, 130])
def test_a_pod_that_was_told_to_stop_says_nothing(exit_code: int, tmp_path: Path, hook: Hook) -> None:
    life = Life(tmp_path, hook, on=("ended",))
    life.end(exit=exit_code, reason="stopped")
    assert hook.taken == []


def test_a_restarted_pod_tells_nothing_twice(tmp_path: Path, hook: Hook) -> None:
    first = Life(tmp_path, hook)
    first.agent.attempt = 1
    first.look()
    second = Life(tmp_path, hook)
    second.agent.attempt, second.agent.rank_states = 2, (state(GOOD),)
    second.look()
    third = Life(tmp_path, hook)
    third.agent.attempt, third.agent.rank_states = 3, (state(GOOD),)
    third.look()
    third.end()
    assert hook.events == ["started", "evaluated", "ended"]


def test_another_run_of_the_folder_is_told_of_anew(tmp_path: Path, hook: Hook) -> None:
    told = {"schema": 1, "run_id": "f" * 32, "events": {"started": [Webhook(hook.url, SECRET).key]}}
    (tmp_path / ".ftlaunch").mkdir()
    (tmp_path / ".ftlaunch/told.json").write_text(json.dumps(told))
    life = Life(tmp_path, hook)
    life.agent.attempt = 1
    life.look()
    assert hook.events == ["started"]
    told["run_id"] = RUN_ID
    (tmp_path / ".ftlaunch/told.json").write_text(json.dumps(told))
    other = Life(tmp_path, hook)
    other.agent.attempt = 1
    other.look()
    assert hook.events == ["started"]


def test_a_message_is_tried_until_it_is_taken_at_longer_and_longer_intervals(
    tmp_path: Path, hook: Hook
) -> None:
    life = Life(tmp_path, hook)
    life.agent.attempt = 1
    hook.answers = [500, 503, 429]
    life.look()
    for _ in range(20):
        life.look(after_s=1.0)
    assert (hook.events, hook.answers, life.said) == (["started"], [], [])


def test_an_answer_that_is_lost_leads_to_the_same_id_again(tmp_path: Path, hook: Hook) -> None:
    life = Life(tmp_path, hook)
    life.agent.attempt = 1
    hook.answers = [0]
    life.look()
    for _ in range(5):
        life.look(after_s=1.0)
    assert len(hook.ids) == 2
    assert len(set(hook.ids)) == 1


def test_what_cannot_be_sent_is_said_without_the_token(tmp_path: Path, hook: Hook) -> None:
    life = Life(tmp_path, hook)
    life.agent.attempt = 1
    hook.answers = [500] * 100
    life.look()
    for _ in range(30):
        life.look(after_s=60.0)
    (line,) = life.said
    assert "`started` could not be sent to webhook http://127.0.0.1:" in line
    assert "it answered 500" in line
    assert "hidden" not in line
    assert SECRET not in line


def test_nothing_of_an_address_stands_in_the_output_folder(tmp_path: Path, hook: Hook) -> None:
    life = Life(tmp_path, hook)
    life.agent.attempt = 1
    life.look()
    kept = (tmp_path / ".ftlaunch/told.json").read_text()
    assert "started" in kept
    assert not any(word in kept for word in ("hidden", SECRET, "127.0.0.1"))


def test_addresses_are_read_a_line_each_and_refused_by_place_alone(tmp_path: Path) -> None:
    file = tmp_path / "chat"
    file.write_text("# ours\n\nwebhook https://example.com/hook?token=hidden s3cret\nslack://T1/B2/hidden3\n")
    shown = [address.shown for address in read_addresses(file)]
    assert shown == ["webhook https://example.com/…", "slack://…"]
    file.write_text("webhook https://example.com/hidden\nhidden://x\nhidden\nwebhook ftp://hidden s\n")
    with pytest.raises(NotifyError) as refused:
        read_addresses(file)
    text = str(refused.value)
    assert [f"{file}:{line}: expected" in text for line in (1, 2, 3, 4)] == [True] * 4
    assert "got hidden://…" in text
    assert text.count("hidden") == 1  # the scheme, which gives nothing away
    file.write_text("# nothing\n")
    with pytest.raises(NotifyError, match="expected an address a line, got none"):
        read_addresses(file)
    with pytest.raises(NotifyError, match="expected a file of addresses: no such file"):
        read_addresses(tmp_path / "missing")


def test_without_the_package_webhooks_still_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    (tmp_path / "chat").write_text("webhook https://example.com/ s\n")
    assert len(read_addresses(tmp_path / "chat")) == 1
    (tmp_path / "chat").write_text("slack://T1/B2/c3\n")
    with pytest.raises(NotifyError, match=r"chat:1: expected the package apprise, which this image lacks"):
        read_addresses(tmp_path / "chat")


def test_a_service_of_apprise_is_sent_to(tmp_path: Path, hook: Hook) -> None:
    # Apprise's own JSON service, which needs no account.
    (tmp_path / "chat").write_text(hook.url.replace("http://", "json://") + "\n")
    (address,) = read_addresses(tmp_path / "chat")
    message = Message(event="started", kind="started", title="started", text="1 rank on 1 node")
    hook.answers = [500, 201]
    assert address.send(message, job="flowers", run_id=RUN_ID) == "the service did not take it"
    assert hook.answers == [201]


def test_node_0_tells_of_a_real_run_and_its_failure(new_job: Callable[..., Job], hook: Hook) -> None:
    job = new_job(nodes=1, procs_per_node=2, notify=Notify(file="/secrets/chat"))
    chat = job.folder / "chat"
    chat.write_text(f"webhook {hook.url} {SECRET}\n")
    fault = {"rank": 1, "attempt": 1, "step": 3, "do": "fail:1:boom"}
    (node,) = job.start(
        0, plan={"steps": 30, "faults": [fault]}, mapped={"/secrets/chat": str(chat)},
        env={"no_proxy": "127.0.0.1"},
    )  # fmt: skip
    assert node.exit() == 0
    assert hook.events == ["started", "failed", "ended"]
    assert "boom" in hook.taken[1]["text"]
    assert hook.taken[2]["title"] == "done"


def test_a_node_process_that_cannot_tell_ends_as_misconfigured(new_job: Callable[..., Job]) -> None:
    job = new_job(nodes=1, procs_per_node=1, notify=Notify(file="/secrets/missing"))
    (node,) = job.start(0)
    assert node.exit() == 2
    assert "Launch.notify: /secrets/missing: expected a file of addresses" in node.termination.reason


def test_without_the_key_apprise_is_not_imported() -> None:
    program = "import sys; import trainer.node.__main__; print('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_all_that_can_be_told_is_told_where_nothing_is_said() -> None:
    assert Notify(file="/x").on == NOTIFY_ON
