"""Dataclasses as JSON: what is written is read back, what is refused says where, and old files are read.

`written.json` beside this holds what the release before this codec wrote, byte for byte.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.backends.states import PodState
from launcher.backends.supervised.identity import ProcessId
from launcher.backends.supervised.state import (
    JobRecord,
    PodRecord,
    Request,
    load_job_record,
    load_request,
    save_record,
)
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage, format_record, parse_record
from trainer.checkpoints.state import LossScale, SamplerState, TrainState, format_state, parse_state
from trainer.node.messages import Message, RankState, Records, Start, format_message, parse_message
from trainer.protocol.codec import (
    Count,
    ExitCode,
    FormatError,
    Key,
    Text,
    UnlessNone,
    Unwritten,
    Within,
    decode,
    encode,
    read,
)
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.jobfile import JobFile, format_job_file, parse_job_file
from trainer.protocol.layout import Manifest
from trainer.protocol.nodefile import NodeFile, format_node_file, parse_node_file
from trainer.protocol.outcome import Outcome, load_outcome, save_outcome
from trainer.protocol.progress import Progress, RankProgress, format_progress, parse_progress
from trainer.protocol.runfile import RunFile, load_run_file, save_run_file
from trainer.protocol.termination import Termination, format_termination, parse_termination
from trainer.protocol.writerlock import Owner

FORMATS = [
    NodeFile, JobFile, RunFile, Owner, Termination, Outcome, Progress, TrainState, Manifest, Request,
    JobRecord, *get_args(Message),
]  # fmt: skip


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    count: Count
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    share: Annotated[float, Within(0, 1)]
    code: ExitCode | None
    text: Annotated[str, Within(1, 3)] = "abc"
    sure: bool = True
    colour: Colour = Colour.RED
    size: Literal["small", 2] = "small"
    inner: Inner | None = None
    several: tuple[Inner, ...] = ()
    table: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    class_: Annotated[str, Key("class")] = "c"
    left_out: Annotated[int | None, UnlessNone()] = None
    made: Annotated[int, Unwritten()] = 7
    place: Annotated[Path, Text(Path)] = Path("a")
    anything: object = None


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """What a field of that hint can be."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        if any(isinstance(mark, Unwritten) for mark in arguments[1:]):
            return st.none() if arguments[0] is not int else st.just(7)
        if any(isinstance(mark, Text) for mark in arguments[1:]):
            return st.sampled_from([Path("a"), Path("/b c/é")])
        limits = next((mark for mark in arguments[1:] if isinstance(mark, Within)), Within())
        if arguments[0] is int:
            return st.integers(
                -(2**63) if limits.least is None else int(limits.least),
                2**63 if limits.most is None else int(limits.most),
            )
        if arguments[0] is float:
            return st.floats(limits.least, limits.most, allow_nan=False, allow_infinity=False)
        if arguments[0] is str:
            return TEXTS.map(lambda text: (text + "x" * int(limits.least or 0))[: int(limits.most or 99)])
        return values_of(arguments[0])
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values_of, arguments))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple:
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    if origin is not None and issubclass(origin, Mapping):
        return st.dictionaries(TEXTS, values_of(arguments[1]), max_size=3)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if dataclasses.is_dataclass(hint):
        return made(hint)
    return {
        int: st.integers(-(2**63), 2**63), str: TEXTS, bool: st.booleans(), types.NoneType: st.none(),
        float: st.floats(allow_nan=False, allow_infinity=False), object: st.integers() | TEXTS | st.none(),
    }[hint]  # fmt: skip


def made(kind: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{field.name: values_of(hints[field.name]) for field in dataclasses.fields(kind)})


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


@pytest.mark.parametrize("kind", [Thing, *FORMATS], ids=lambda kind: kind.__name__)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read_back_and_unknown_keys_are_passed_over(kind: Any, data: Any) -> None:
    value = data.draw(made(kind))
    document = json.loads(json.dumps(encode(value)))
    assert read(kind, document, where="x") == value
    if kind is not Manifest:
        assert read(kind, {**document, "a key of later": [1]}, where="x") == value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"share": 1.5}, "share: expected at least 0 and at most 1, got 1.5"),
        ({"share": True}, "share: expected float, got True"),
        ({"share": math.nan}, "share: expected a finite number, got nan"),
        ({"share": 10**400}, "share: expected float, got a number of 1329 bits"),
        ({"share": None}, "share: expected float, got None"),
        ({"code": 256}, "code: expected at least -255 and at most 255, got 256"),
        ({"code": 1.0}, "code: expected int, got 1.0"),
        ({"text": "abcd"}, "text: expected at least 1 and at most 3 characters, got 'abcd'"),
        ({"text": 5}, "text: expected str, got 5"),
        ({"sure": 1}, "sure: expected bool, got 1"),
        ({"sure": None}, "sure: expected bool, got None"),
        ({"colour": "green"}, "colour: expected one of 'red', 'blue', got 'green'"),
        ({"colour": ["red"]}, "colour: expected one of 'red', 'blue', got a list of 1"),
        ({"size": 2.0}, "size: expected one of 'small', 2, got 2.0"),
        ({"inner": [1]}, "inner: expected an object, got a list of 1"),
        ({"inner": {"count": -1}},
         "inner.count: expected at least 0 and at most 9007199254740991, got -1"),
        ({"several": {}}, "several: expected a list, got {}"),
        ({"several": [{"count": 1}, {}]}, "several[1].count: expected int, got None"),
        ({"table": {"a b": [1, "x"]}}, "table.a b[1]: expected int, got 'x'"),
        ({"table": []}, "table: expected an object, got []"),
        ({"class": 5}, "class: expected str, got 5"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_place(change: dict[str, object], said: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(Thing, {"share": 0.5, **change}, where="doc")
    assert str(caught.value) == f"doc: {said}"
    assert (caught.value.where, caught.value.expected) == (
        f"doc: {said.split(': ', maxsplit=1)[0]}", said.split("expected ")[1].rsplit(", got", 1)[0]
    )  # fmt: skip


def test_a_missing_key_is_its_default_or_none_or_refused() -> None:
    assert read(Thing, {"share": 0}, where="doc") == Thing(share=0.0, code=None)
    with pytest.raises(FormatError, match=r"^doc: share: expected float, got None$"):
        read(Thing, {}, where="doc")
    with pytest.raises(FormatError, match=r"^doc: expected an object, got a list of 1$"):
        read(Thing, [1], where="doc")


def test_keys_are_written_in_the_order_of_the_fields_but_for_those_that_are_not() -> None:
    plain = encode(Thing(share=0.5, code=None, made=9), schema=3)
    assert list(plain) == [
        "schema", "share", "code", "text", "sure", "colour", "size", "inner", "several", "table", "class",
        "place", "anything",
    ]  # fmt: skip
    assert (plain["colour"], plain["several"], plain["place"]) == ("red", [], "a")


@pytest.mark.parametrize("schema", [2, "1", True, None, 1.5])
def test_another_schema_is_refused_with_what_to_do(schema: object) -> None:
    with pytest.raises(FormatError) as caught:
        decode(Inner, json.dumps({"schema": schema, "count": 1}), where="doc", schema=1, fix="update")
    assert str(caught.value) == f"doc: schema: expected 1, got {schema!r}; update"


@pytest.mark.parametrize("hint", [bytes, int | str, tuple[int, str], list[int], set])
def test_a_hint_that_has_no_json_is_an_error_of_the_program(hint: Any) -> None:
    with pytest.raises(TypeError, match="expected a hint"):
        read(hint, [], where="doc")


PROCESS = ProcessId(pid=5, start_ticks=6, boot_id="b")
EVALUATED = Evaluated(top1=0.5, best_top1=0.75, largest_class=0.25, images=40)
NODE: dict[str, Any] = {
    "run_id": "ab" * 16, "job": "j-abcde", "nodes": 2, "procs_per_node": 4, "coordinator_host": "h",
    "coordinator_port": 1, "backend": "gloo", "output_dir": "/o", "max_restarts": 3, "backoff_s": 10.0,
    "deadline_s": None, "grace_s": 120.0, "rendezvous_timeout_s": 600.0, "hang_timeout_s": 600.0,
}  # fmt: skip
RANK = RankProgress(
    rank=3, node=0, step=7, epoch=1, phase="compute", loss=0.123456789, images_per_s=None, silent_s=1.25
)
SHORT = dataclasses.replace(RANK, loss=0.123457, silent_s=1.2)


def through_file(save: Callable[[Path, Any], None]) -> Callable[[Path, Any], bytes]:
    def write(folder: Path, value: Any) -> bytes:
        save(folder / "f", value)
        return (folder / "f").read_bytes()

    return write


def from_file(load: Callable[[Path], Any]) -> Callable[[Path, bytes], Any]:
    def parse(folder: Path, data: bytes) -> Any:
        (folder / "f").write_bytes(data)
        return load(folder / "f")

    return parse


def write_run(folder: Path, value: RunFile) -> bytes:
    save_run_file(folder, value)
    return (folder / ".ftlaunch" / "run.json").read_bytes()


def read_run(folder: Path, data: bytes) -> RunFile | None:
    (folder / ".ftlaunch").mkdir(exist_ok=True)
    (folder / ".ftlaunch" / "run.json").write_bytes(data)
    return load_run_file(folder)


def plain(write: Callable[[Any], str | bytes]) -> Callable[[Path, Any], bytes]:
    def written(_: Path, value: Any) -> bytes:
        text = write(value)
        return text.encode() if isinstance(text, str) else text

    return written


def parsed(parse: Callable[[bytes], Any]) -> Callable[[Path, bytes], Any]:
    return lambda _, data: parse(data)


Write, Parse = Callable[[Path, Any], bytes], Callable[[Path, bytes], Any]
_NODE, _PROGRESS = (
    (plain(format_node_file), parsed(parse_node_file)), (plain(format_progress), parsed(parse_progress)),
)  # fmt: skip
_MESSAGE = (plain(format_message), parsed(parse_message))
# Name in written.json -> what was written, how it is written and read, what is read back where it differs.
CASES: dict[str, tuple[Any, tuple[Write, Parse], Any]] = {
    "node": (NodeFile(**NODE), _NODE, None),
    "node-secret": (NodeFile(**NODE, secret="0" * 64, continues="c"), _NODE, None),
    "job": (
        JobFile(
            job="j", backend="local", run_id="r", workdir="/w", overrides=("a=1",), extra_modules=(),
            folders={"/data": "/d é"}, output_dir="/o",
        ), (plain(format_job_file), parsed(lambda data: parse_job_file(data, where="job.json"))), None,
    ),
    "run": (
        RunFile(run_id="r", first_start_s=1.5, attempts=1, fingerprints=("f",), starts=2),
        (write_run, read_run), None,
    ),
    "termination": (
        Termination(exit=3, rank=1, rank_exit=-9, attempt=2, reason="é", checkpoint=None),
        (plain(format_termination), parsed(parse_termination)), None,
    ),
    "outcome": (
        Outcome(exit=-9, reason="é", step=4), (through_file(save_outcome), from_file(load_outcome)), None,
    ),
    "progress": (
        Progress(time_s=5.55555, attempt=1, world_size=4, total_steps=9, ranks=(RANK,)), _PROGRESS,
        Progress(time_s=5.556, attempt=1, world_size=4, total_steps=9, ranks=(SHORT,)),
    ),
    "progress-evaluated": (
        Progress(time_s=5, attempt=1, world_size=4, total_steps=9, ranks=(), evaluated=EVALUATED, step_s=0.5),
        _PROGRESS, Progress(time_s=5, attempt=1, world_size=4, total_steps=9, ranks=(), evaluated=EVALUATED),
    ),
    "state": (
        TrainState(
            run_id="r", epoch=1, step=2, sampler=SamplerState(epoch=1, world_size=2, cursor=3), metric=0.5,
            loss_scale=LossScale(scale=2.0, incr_count=1, decr_count=0),
        ), (plain(format_state), parsed(parse_state)), None,
    ),
    "records": (
        Records(attempt=1, asked=False, ranks=(RankState(
            rank=0, recorded=True, step=1, epoch=0, total_steps=9, phase="load", silent_s=0.5, loss=None,
            images_per_s=None, evaluated=EVALUATED,
        ),)), _MESSAGE, None,
    ),
    "start": (Start(attempt=1, nodes=(0, 2), endpoints=("a:1", "b:2"), master="a:3"), _MESSAGE, None),
    "request": (
        Request(run_id="r", host_folders={"/data": "/d"}, workdir="/w", devices=("0",)),
        (through_file(save_record), from_file(load_request)), None,
    ),
    "keeper": (
        JobRecord(
            job="j", run_id="r", supervisor=PROCESS, created_s=1.5, scratch="/s",
            pods=(PodRecord(name="j-worker-0", node=0, process=PROCESS, state=PodState.RUNNING),),
        ), (through_file(save_record), from_file(load_job_record)), None,
    ),
    "record": (
        RunRecord(
            handle=Handle(backend="local", namespace="", job="j-abcde"), run_id="r", stage=Stage.SUBMITTING,
            project="/p", config="/c", command=("submit", "é"), created_s=1.5,
        ), (plain(format_record), parsed(lambda data: parse_record(data, where="record.json"))), None,
    ),
}  # fmt: skip
WRITTEN: dict[str, str] = json.loads(Path(__file__).with_name("written.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", WRITTEN)
def test_the_bytes_of_a_format_stay_as_they_are_and_are_read(name: str, tmp_path: Path) -> None:
    value, (write, parse), back = CASES[name]
    assert write(tmp_path, value) == WRITTEN[name].encode()
    assert parse(tmp_path, WRITTEN[name].encode()) == (value if back is None else back)


def test_a_record_with_the_earlier_name_of_a_paddlejob_is_read() -> None:
    value = CASES["record"][0]
    earlier = WRITTEN["record"].replace("paddlejob", "kubeflow")
    assert earlier != WRITTEN["record"]
    assert parse_record(earlier.encode(), where="record.json") == value


@pytest.mark.parametrize(
    ("name", "later"),
    [
        ("node", ("continues", "hang_timeout_s", "overwrite")),
        ("run", ("ended",)),
        ("termination", ("checkpoint", "step")),
        ("state", ("metric", "best_metric", "best_epoch", "draws", "plateau", "loss_scale", "bad_images")),
        ("request", ("engine", "user", "generation")),
        ("keeper", ("generation", "ended_s")),
        ("record", ("context", "api")),
    ],
)
def test_a_file_of_an_older_release_lacks_keys_and_is_read(
    name: str, later: tuple[str, ...], tmp_path: Path
) -> None:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if key not in later}
        return value

    value, (_, parse), _ = CASES[name]
    old = without(json.loads(WRITTEN[name]))
    assert set(old) < set(json.loads(WRITTEN[name]))
    found = parse(tmp_path, json.dumps(old).encode())
    assert type(found) is type(value)
    assert getattr(found, "run_id", None) == getattr(value, "run_id", None)
