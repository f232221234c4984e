from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.protocol.codec import FormatError
from trainer.protocol.exits import Exit, describe_exit
from trainer.protocol.layout import CheckpointName, parse_checkpoint_name
from trainer.protocol.nodefile import NodeFile, format_node_file, parse_node_file
from trainer.protocol.outcome import Outcome, load_outcome, save_outcome
from trainer.protocol.pathmap import PathMap, format_path_map, parse_path_map
from trainer.protocol.progress import MARK, Progress, RankProgress, format_progress, parse_progress
from trainer.protocol.tags import MAX_LINE_BYTES, Tag, cut_line, parse_line, tag_line
from trainer.protocol.termination import MAX_BYTES, Termination, format_termination, parse_termination

counts = st.integers(0, 999_999_999)
finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
tags = st.builds(Tag, attempt=counts, rank=counts) | st.builds(Tag, attempt=counts, node=counts)
node_files = st.builds(
    NodeFile, run_id=texts, job=texts, nodes=st.integers(1, 1000), procs_per_node=st.integers(1, 16),
    coordinator_host=texts, coordinator_port=counts, backend=st.sampled_from(["nccl", "gloo"]),
    output_dir=texts, overwrite=st.booleans(), max_restarts=counts, backoff_s=finite,
    deadline_s=st.none() | finite, grace_s=finite, rendezvous_timeout_s=finite,
    hang_timeout_s=st.none() | finite,
)  # fmt: skip
terminations = st.builds(
    Termination, exit=st.integers(0, 255), rank=st.none() | counts,
    rank_exit=st.none() | st.integers(-64, 255), attempt=counts, step=st.none() | counts, reason=texts,
    checkpoint=st.none() | texts,
)  # fmt: skip
NODE_FILE = NodeFile(
    run_id="ab" * 16, job="j", nodes=2, procs_per_node=2, coordinator_host="h", coordinator_port=1,
    backend="gloo", output_dir="/o", max_restarts=1, backoff_s=1, deadline_s=None, grace_s=1,
    rendezvous_timeout_s=1, hang_timeout_s=None,
)  # fmt: skip


@given(tags, st.binary(max_size=200))
def test_a_tagged_line_gives_back_its_tag_and_its_bytes(tag: Tag, text: bytes) -> None:
    parsed = parse_line(tag_line(tag, text))
    assert (parsed.tag, parsed.text) == (tag, text)


@pytest.mark.parametrize(
    "line",
    [b"", b"text", b"[a1 r2]text", b" [a1 r2] text", b"[a1 x2] t", b"[a r2] t", b"[a1 r] t", b"[a1 r2 ] t"],
)
def test_a_line_without_a_whole_tag_is_all_text(line: bytes) -> None:
    parsed = parse_line(line)
    assert (parsed.tag, parsed.text) == (None, line)


def test_a_tag_within_a_text_stays_text() -> None:
    inner = tag_line(Tag(attempt=1, rank=1), b"text")
    assert parse_line(tag_line(Tag(attempt=2, node=0), inner)).text == inner


@pytest.mark.parametrize(("rank", "node"), [(None, None), (1, 1)])
def test_a_tag_names_a_rank_or_a_node(rank: int | None, node: int | None) -> None:
    with pytest.raises(ValueError, match="expected a rank or a node"):
        Tag(attempt=1, rank=rank, node=node)


@pytest.mark.parametrize("character", ["x", "ü", "语", "🙂"])
@pytest.mark.parametrize("shift", range(4))
def test_a_long_line_is_cut_between_characters_and_says_by_how_much(character: str, shift: int) -> None:
    text = ("-" * shift + character * MAX_LINE_BYTES + "!").encode()
    shown, _, rest = cut_line(text).decode().partition(" …[")
    assert MAX_LINE_BYTES - 4 < len(shown.encode()) <= MAX_LINE_BYTES
    assert text.startswith(shown.encode())
    assert rest == f"{len(text) - len(shown.encode())} bytes cut]"


def test_a_line_of_just_the_limit_is_whole() -> None:
    text = b"x" * MAX_LINE_BYTES
    assert cut_line(text) == text


@given(node_files)
def test_node_json_survives_a_round_trip(node_file: NodeFile) -> None:
    assert parse_node_file(format_node_file(node_file)) == node_file


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2}, {"schema": None}, {"nodes": 0}, {"nodes": "2"}, {"nodes": True}, {"backend": "mpi"},
        {"run_id": None}, {"overwrite": 0}, {"deadline_s": "1h"}, {"grace_s": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_node_json_is_refused(changes: dict[str, object]) -> None:
    document = {**json.loads(format_node_file(NODE_FILE)), **changes}
    with pytest.raises(FormatError, match=next(iter(changes))):
        parse_node_file(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "nonsense", b"\xff"])
def test_a_node_json_that_is_no_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(FormatError, match=r"node\.json: expected"):
        parse_node_file(text)


@given(terminations)
def test_a_termination_message_fits_the_kubelet_and_keeps_all_but_a_long_reason(message: Termination) -> None:
    if message.checkpoint is not None:
        message = dataclasses.replace(message, checkpoint=message.checkpoint[:200])
    encoded = format_termination(message)
    assert len(encoded) <= MAX_BYTES
    assert parse_termination(encoded) == message


@pytest.mark.parametrize("character", ["x", "语", "\n", "\0", '"'])
def test_a_long_reason_loses_its_middle(character: str) -> None:
    reason = "begins " + character * 9000 + " ends"
    encoded = format_termination(Termination(exit=1, attempt=1, reason=reason))
    assert len(encoded) <= MAX_BYTES
    short = parse_termination(encoded).reason
    assert short.startswith("begins ")
    assert short.endswith(" ends")


@given(
    st.builds(
        Outcome, exit=st.integers(0, 255), reason=texts, step=st.none() | counts, checkpoint=st.none() | texts
    )
)
def test_an_outcome_survives_a_round_trip(outcome: Outcome) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcome.json"
        save_outcome(path, outcome)
        assert load_outcome(path) == outcome


def test_a_rank_that_left_nothing_has_no_outcome(tmp_path: Path) -> None:
    assert load_outcome(tmp_path / "none.json") is None


rank_progress = st.builds(
    RankProgress, rank=counts, node=counts, step=counts, epoch=counts, phase=texts,
    loss=st.none() | st.floats(0, 100).map(lambda x: float(f"{x:.6g}")),
    images_per_s=st.none() | st.floats(0, 1e6).map(lambda x: float(f"{x:.6g}")),
    silent_s=st.floats(0, 1e5).map(lambda x: round(x, 1)),
)  # fmt: skip


@given(
    st.builds(
        Progress, time_s=st.floats(0, 2e9).map(lambda x: round(x, 3)), attempt=counts, world_size=counts,
        total_steps=counts, ranks=st.lists(rank_progress, max_size=4).map(tuple),
    )
)  # fmt: skip
def test_progress_survives_a_round_trip_on_one_line(progress: Progress) -> None:
    line = format_progress(progress)
    assert b"\n" not in line
    assert parse_progress(line) == progress


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_shown_as_none(loss: float) -> None:
    row = RankProgress(
        rank=0, node=0, step=0, epoch=0, phase="load", loss=loss, images_per_s=None, silent_s=0
    )  # fmt: skip
    progress = Progress(time_s=1, attempt=1, world_size=1, total_steps=0, ranks=(row,))
    parsed = parse_progress(format_progress(progress))
    assert parsed is not None
    assert parsed.ranks[0].loss is None


def test_other_lines_are_no_progress_and_broken_progress_is_an_error() -> None:
    assert parse_progress(b"step 3") is None
    for broken in (b"{", b"[]", b"{}", b'{"ranks":[1]}'):
        with pytest.raises(FormatError):
            parse_progress(MARK + broken)


@pytest.mark.parametrize(
    ("path", "mapped"),
    [
        ("/data", "/srv/d"),
        ("/data/", "/srv/d"),
        ("/data/a b/c.txt", "/srv/d/a b/c.txt"),
        ("/data/../data/x", "/srv/d/x"),
        ("/data/big/x", "/mnt/big/x"),
        ("/database", "/database"),
        ("/other//x", "/other//x"),
        ("data/x", "data/x"),
        ("/workspace/../etc", "/workspace/../etc"),
    ],
)
def test_the_longest_prefix_of_whole_names_wins(path: str, mapped: str) -> None:
    path_map = PathMap({"/data": "/srv/d", "/data/big": "/mnt/big"})
    assert path_map.apply(path) == mapped


@given(
    st.dictionaries(
        st.text("ab/ .é", min_size=1).map(lambda x: "/" + x.strip("/. ")), texts.map(lambda x: "/" + x)
    )
)
def test_a_path_map_survives_a_round_trip(prefixes: dict[str, str]) -> None:
    path_map = parse_path_map(format_path_map(PathMap(prefixes)))
    assert parse_path_map(format_path_map(path_map)) == path_map
    assert set(path_map.prefixes.values()) <= set(prefixes.values())


@pytest.mark.parametrize("text", ["[]", "x", '{"data": "/x"}', '{"/data": "x"}', '{"/data": 1}'])
def test_a_path_map_of_anything_but_absolute_paths_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="FTL_PATH_MAP"):
        parse_path_map(text)


def test_no_path_map_changes_nothing() -> None:
    assert parse_path_map(None).apply("/data/x") == "/data/x"


@given(counts, counts)
def test_a_checkpoint_name_survives_a_round_trip_and_sorts_by_epoch_then_step(epoch: int, step: int) -> None:
    name = CheckpointName(epoch, step)
    assert parse_checkpoint_name(str(name)) == name
    assert name < CheckpointName(epoch, step + 1) < CheckpointName(epoch + 1, 0)


@pytest.mark.parametrize("text", ["e3-s1200", "e003-s001200.tmp", "latest", "e003-s", "xe003-s001200", ""])
def test_other_folders_are_no_checkpoints(text: str) -> None:
    assert parse_checkpoint_name(text) is None


@pytest.mark.parametrize(
    ("code", "text"), [(0, "done"), (143, "stopped after saving"), (-9, "killed by signal 9"),
                       (137, "killed by signal 9"), (77, "exit code 77"), (255, "exit code 255")],
)  # fmt: skip
def test_every_exit_code_can_be_told(code: int, text: str) -> None:
    assert describe_exit(code) == text


def test_only_a_stop_or_an_interruption_is_128_or_more() -> None:
    assert {code for code in Exit if code >= 128} == {Exit.STOPPED, Exit.INTERRUPTED}
