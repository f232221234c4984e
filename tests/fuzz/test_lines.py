"""Documents and lines that a pod, a server or a volume writes: read, refused or passed over."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from typing import Any

from launcher.backends.kubernetes.progress import last_progress
from launcher.errors import LaunchError
from launcher.logs.lines import LineCutter, LineReader
from launcher.runs.record import parse_record
from tests.fuzz.mutation import mutate
from trainer.checkpoints.state import SamplerState, TrainState, format_state, parse_state
from trainer.node.messages import Exited, RankState, Records, format_message, parse_message
from trainer.protocol.codec import FormatError
from trainer.protocol.nodefile import NodeFile, format_node_file, parse_node_file
from trainer.protocol.pathmap import parse_path_map
from trainer.protocol.printable import escape_controls
from trainer.protocol.progress import Progress, RankProgress, format_progress, parse_progress
from trainer.protocol.tags import MAX_LINE_BYTES, Tag, parse_line, tag_line
from trainer.protocol.termination import Termination, format_termination, parse_termination
from trainer.protocol.untrusted import parse_json

RANK = RankProgress(
    rank=0, node=0, step=7, epoch=1, phase="compute", loss=0.5, images_per_s=9.5, silent_s=1.5
)  # fmt: skip
PROGRESS = format_progress(Progress(time_s=5.5, attempt=1, world_size=1, total_steps=9, ranks=(RANK,)))
STATE = TrainState(run_id="ab", epoch=1, step=2, sampler=SamplerState(epoch=1, world_size=1, cursor=0))
NODE = NodeFile(
    run_id="ab" * 16,
    job="j",
    nodes=2,
    procs_per_node=1,
    coordinator_host="h",
    coordinator_port=1,
    backend="gloo",
    output_dir="/o",
    max_restarts=1,
    backoff_s=1,
    deadline_s=None,
    grace_s=1,
    rendezvous_timeout_s=1,
    hang_timeout_s=None,
    secret="5e" * 32,
)
RECORDS = Records(
    attempt=1,
    asked=False,
    ranks=(
        RankState(
            rank=0,
            recorded=True,
            step=1,
            epoch=0,
            total_steps=9,
            phase="load",
            silent_s=0.5,
            loss=None,
            images_per_s=None,
        ),
    ),
)
EXITED = Exited(attempt=1, rank=0, code=3, killed=False, reason="r", step=1, checkpoint="c")
RECORD = {
    "schema": 1,
    "handle": "local:///flowers",
    "stage": "submitted",
    "run_id": "ab" * 16,
    "project": "/p",
    "config": "/p/cfg.yaml",
    "command": ["submit"],
    "created_s": 5.0,
    "context": None,
    "api": "paddlejob",
}
DOCUMENTS: list[tuple[bytes, Callable[[bytes], Any]]] = [
    (PROGRESS, parse_progress),
    (format_termination(Termination(exit=3, attempt=1, reason="r", step=2)), parse_termination),
    (format_state(STATE).encode(), parse_state),
    (format_node_file(NODE).encode(), parse_node_file),
    (format_message(RECORDS), parse_message),
    (format_message(EXITED), parse_message),
    (b'{"/a": "/b"}', lambda data: parse_path_map(data.decode("utf-8", "surrogateescape"))),
    (json.dumps(RECORD).encode(), lambda data: parse_record(data, where="record.json")),
    (
        b'{"items": [{"metadata": {"name": "x"}, "n": 1.5}], "a": null}',
        lambda data: parse_json(data, where="answer"),
    ),
]


def test_no_mutant_of_a_document_does_worse_than_being_refused(
    rng: random.Random, rounds: Callable[[int], int]
) -> None:
    originals = [data for data, _ in DOCUMENTS]
    for data, read in DOCUMENTS:
        assert read(data) is not None
    for _ in range(rounds(600)):
        data, read = rng.choice(DOCUMENTS)
        with contextlib.suppress(FormatError, LaunchError):
            repr(read(mutate(data, rng, originals))).encode()


def test_no_line_of_a_pod_forges_another_pods_tag_or_breaks_who_reads_the_log(
    rng: random.Random, rounds: Callable[[int], int]
) -> None:
    stamp = b"2026-01-02T03:04:05.678901234Z "
    lines = [
        PROGRESS,
        b"[a9 r3] epoch 1",
        b"text",
        b"",
        b"x" * 70_000,
        "ä语🙂".encode(),
        b"ftlaunch-progress {}",
    ]
    for _ in range(rounds(300)):
        texts = [
            mutate(rng.choice(lines), rng, lines).replace(b"\n", b" ") for _ in range(rng.randrange(1, 6))
        ]
        tag = Tag(attempt=2, rank=1)
        tagged = [tag_line(tag, text) for text in texts]
        for text, line in zip(texts, tagged, strict=True):
            found = parse_line(line)
            assert found.tag == tag
            assert found.text == text or len(text) > MAX_LINE_BYTES
            shown = escape_controls(found.text.decode("utf-8", "replace"))
            assert not set(shown) & {"\x1b", "\x07", "\r", "\x9b", "\u202e"}
        log = b"".join(stamp + line + b"\n" for line in tagged)
        last_progress(log)
        cutter, taken, at = LineCutter(), 0, 0
        while at < len(log):  # in pieces as they come
            step = rng.randrange(1, 40_000)
            taken += len(cutter.take(log[at : at + step]))
            at += step
        assert taken == len(tagged)
        kubelets = b"".join(stamp + b"stdout F " + line + b"\n" for line in tagged)
        assert len(LineReader().take(kubelets)) == len(tagged)
        LineReader().take(mutate(kubelets, rng, lines))
        LineCutter().take(mutate(log, rng, lines))
