"""What commands print with `--output json` is what the published schemas say, and so is how they fail."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path

import click
import jsonschema
import pytest
import yaml

from launcher.cli.main import COMMANDS, group
from launcher.documents import LOG_LINE, VERSIONS, describe_error, format_time, load_schema
from launcher.errors import Issue, TakenError, UsageError
from launcher.jobs import data
from launcher.volumes.place import Folder
from tests.launcher.schemas import check_document
from trainer.config.problems import ConfigError, Problem
from trainer.protocol.untrusted import FormatError

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "schemas"
UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.mark.parametrize("kind", sorted([*VERSIONS, LOG_LINE]))
def test_every_kind_has_a_schema_that_the_command_prints(kind, ftlaunch):
    schema = json.loads(ftlaunch("schema", kind).out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json.loads((FOLDER / f"{kind}.schema.json").read_text())
    if kind != LOG_LINE:
        assert schema["properties"]["schema"] == {"const": VERSIONS[kind]}
        assert schema["properties"]["kind"] == {"const": kind}
        assert schema["required"][:2] == ["schema", "kind"]


def test_no_schema_is_published_that_no_command_prints():
    published = {path.name.removesuffix(".schema.json") for path in FOLDER.glob("*.schema.json")}
    assert published == {*VERSIONS, LOG_LINE}


def test_every_document_of_the_list_is_an_object_with_items():
    for kind in ("list", "events", "ckpt-ls", "ckpt-verify", "data-check"):
        assert "items" in load_schema(kind)["required"]


@pytest.fixture
def submitted(cluster, store, write_config, ftlaunch):
    """A job on the cluster in memory, and what its submit printed."""
    path = write_config()
    ran = ftlaunch("submit", path, "--name", "flowers", "--no-preflight", "--output", "json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_what_is_submitted_and_listed_is_as_published(submitted, ftlaunch):
    assert check_document(submitted) == "submit"
    listed = json.loads(ftlaunch("list", "--output", "json").out)
    assert check_document(listed) == "list"
    (item,) = listed["items"]
    assert (item["job"], item["created"]) == ("flowers", submitted["created"])
    assert UTC.fullmatch(item["created"])
    assert yaml.safe_load(ftlaunch("list", "--output", "yaml").out) == listed


@pytest.mark.usefixtures("submitted")
def test_how_a_job_stands_is_as_published(ftlaunch, cluster):
    cluster.start_pod("flowers-worker-0")
    for command in ("status", "why"):
        document = json.loads(ftlaunch(command, "flowers", "--output", "json").out)
        assert (check_document(document), document["job"]) == (command, "flowers")


@pytest.mark.usefixtures("submitted")
def test_events_are_as_published(ftlaunch, cluster):
    cluster.note("flowers-worker-0", reason="Odd", message="said")
    document = json.loads(ftlaunch("events", "flowers", "--output", "json").out)
    assert check_document(document) == "events"
    (told,) = [item for item in document["items"] if item["reason"] == "Odd"]
    assert UTC.fullmatch(told["time"])
    assert (told["is_warning"], told["about"], told["message"]) == (True, "flowers-worker-0", "said")


def test_what_asks_no_cluster_is_as_published(ftlaunch, write_config):
    path = write_config()
    for kind, arguments in (
        ("version", ("version",)),
        ("validate", ("validate", path)),
        ("validate", ("validate", path, "-o", "Launch.gpus=-1")),
        ("render-explain", ("render", path, "--explain", "--stable")),
    ):
        assert check_document(json.loads(ftlaunch(*arguments, "--output", "json").out)) == kind


def test_what_is_brought_and_compared_is_as_published(ftlaunch, tmp_path, monkeypatch):
    here, claim = tmp_path / "here", tmp_path / "claim"
    here.mkdir()
    claim.mkdir()
    (here / "a.txt").write_text("a")

    @contextmanager
    def open_claim(*_, **__):
        yield Folder(claim)

    monkeypatch.setattr(data, "open_claim", open_claim)
    ran = ftlaunch("data", "check", here, "flowers", "--output", "json")
    document = json.loads(ran.out)
    assert (ran.code, check_document(document), document["ok"]) == (7, "data-check", False)
    assert document["items"] == [{"path": "a.txt"}]
    pushed = json.loads(ftlaunch("data", "push", here, "flowers", "--output", "json").out)
    assert (check_document(pushed), pushed["sent"], pushed["sent_bytes"]) == ("data-push", 1, 1)
    ran = ftlaunch("data", "check", here, "flowers", "--output", "json")
    assert (ran.code, json.loads(ran.out)["ok"]) == (0, True)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_command_that_fails_prints_its_error_and_exits_with_the_same_code(ftlaunch, store, form):
    plain, ran = ftlaunch("status", "nobody"), ftlaunch("status", "nobody", "--output", form)
    document = yaml.safe_load(ran.out)
    assert check_document(document) == "error"
    assert (plain.out, plain.err, plain.code) == ("", ran.err, ran.code)
    assert (document["exit"], document["class"]) == (ran.code, "NotFoundError")
    assert (document["where"], document["got"], document["fix"]) == (
        "nobody", "none", "see `ftlaunch list`",
    )  # fmt: skip
    assert document["message"] in ran.err


def test_a_refused_config_has_each_problem_with_its_place(ftlaunch, write_config, store):
    ran = ftlaunch("submit", write_config(launch={"gpus": -1}, Arch__class_num=0), "--output=json")
    document = json.loads(ran.out)
    assert (check_document(document), document["exit"], ran.code) == ("error", 2, 2)
    paths = {problem["path"] for problem in document["problems"]}
    assert {"Launch.gpus", "Arch.class_num"} <= paths
    assert all(problem["line"] for problem in document["problems"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--output", "json", "--no-such-option"),
        ("list", "--output", "json", "--limit", "x"),
        ("render", "cfg.yaml", "--output", "json"),
        ("nonsense", "--output", "json"),
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_refused_is_told_as_data_too(ftlaunch, arguments):
    ran = ftlaunch(*arguments)
    document = json.loads(ran.out)
    assert (ran.code, check_document(document), document["exit"]) == (2, "error", 2)
    assert document["message"]


def test_what_stands_behind_the_dashes_is_not_asked_of_us(ftlaunch, store):
    assert ftlaunch("exec", "nobody", "--", "jq", "--output", "json").out == ""


def test_a_log_that_cannot_be_shown_ends_with_a_line(ftlaunch, store):
    ran = ftlaunch("logs", "nobody", "--output", "json")
    (line,) = ran.out.splitlines()
    assert check_document(json.loads(line)) == "error"


def test_several_problems_of_an_error_keep_their_parts():
    error = UsageError(problems=[Issue(where="/data", expected="a folder", got="none", fix="make it")])
    document = describe_error(error, exit_code=2)
    assert check_document(document) == "error"
    (problem,) = document["problems"]
    assert (problem["where"], problem["expected"], problem["got"], problem["fix"]) == (
        "/data", "a folder", "none", "make it",
    )  # fmt: skip
    assert (document["where"], document["class"]) == (None, "UsageError")


def test_an_error_of_another_class_says_the_same_parts():
    error = UsageError(where="x", expected="y", got="z", fix="w").recast(TakenError)
    assert str(error) == "x: expected y, got z; w"
    assert (error.finding, error.fix, error.exit_code) == ("x: expected y, got z", "w", 2)


def test_a_warning_of_a_config_is_one_among_its_problems():
    problem = Problem(file="cfg.yaml", line=3, column=1, path=("Global",), message="odd", warning=True)
    (told,) = describe_error(ConfigError([problem]), exit_code=2)["problems"]
    assert (told["where"], told["path"], told["warning"]) == ("cfg.yaml:3:1", "Global", True)


def test_times_are_utc_to_the_second():
    assert format_time(0.9) == "1970-01-01T00:00:00Z"
    assert format_time(None) is None


def test_every_command_that_prints_documents_is_in_the_table():
    named = set()
    for name in COMMANDS:
        command = group.get_command(click.Context(group), name)
        subs = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        for sub, called in subs:
            forms = [option.type for option in called.params if option.name == "output"]
            if any("json" in getattr(form, "choices", ()) for form in forms):
                named.add(f"{name}-{sub}" if sub else name)
    of = {"render": "render-explain", **dict.fromkeys(("sweep-run", "sweep-resume", "sweep-status"), "sweep")}
    assert {of.get(name, name) for name in named} == {*VERSIONS, LOG_LINE} - {"error"}


def test_an_error_of_the_protocol_keeps_its_parts_in_the_launcher():
    found = FormatError(where="state.json", expected="an object", got="a list", fix="look at it")
    error = UsageError.of(found, fix="remove it")
    assert str(error) == "state.json: expected an object, got a list; remove it"
    assert (error.issue.where, error.issue.got, UsageError.of(found).fix) == (
        "state.json",
        "a list",
        "look at it",
    )
