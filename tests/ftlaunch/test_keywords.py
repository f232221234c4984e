"""Keywords are typed, known by name, and what messages speak of to a program."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys

import click
import pytest

import ftlaunch
from ftlaunch import keywords
from ftlaunch.boundary import find_keyword, signature_of, spell
from launcher.cli.main import group as launcher_group
from launcher.errors import Issue, UsageError
from launcher.jobs.data import ClaimTarget
from launcher.jobs.new_config import NewConfig
from launcher.jobs.options import SubmitOptions
from launcher.sweep.begin import SweepRequest
from tests.ftlaunch.test_twins import TWINS, found
from trainer.cli.main import group as trainer_group
from trainer.config.problems import Problem

GIVEN = {"on", "overrides", "config", "over", "options", "data", "source", "measure"}
"""What functions take by name beside those keywords."""
INTERNAL = {"study", "without_secret", "command", "in_pod", "driver_image"}
"""What the launcher itself sets: of trials, of golden manifests, and of a driver in a pod."""
OF_A_SHELL = {
    "--output", "--verbose", "--kubeconfig", "--plain", "--color", "--yes", "--open", "--watch", "--follow",
    "--wait", "--detach", "--dry-run", "--explain", "--stable", "--like", "--no-next", "--keys", "--svg",
    "--to", "--fail-on", "--previous", "--propagate", "--list", "--all", "--driver", "--driver-image",
    "--trial",
}  # fmt: skip
"""How something is shown, or what a line of Python says in another way: `ftlaunch.render` for a dry run,
`suggest_sweep(...)` returned as text, `attempt=` for the one before, `Trial.jobs` for `--trial`, a finding's
value for `--fail-on`."""
ELSEWHERE = {
    "ftlaunch init": {"--make-lists"},  # `make_lists` before it
    "ftlaunch list": {"--here", "--all-namespaces", "--user", "--namespace", "--context"},  # `team_jobs`
    "ftlaunch logs": {"--since", "--grep"},  # an iterator is filtered
    "ftlaunch wait": {"--for"},  # `watch`
    "ftlaunch data report": {"--on", "--container-runtime"},  # `report_data`
    "ftlaunch sweep suggest": {"--strict"},
    "ftlaunch sweep resume": {"--parallel"},
    "trainer eval": {"--ensemble", "--tta"},  # `compare_weights`
    "trainer fit-batch": {"--estimate"},  # `check` gives it
    "trainer data-report": {"--output-dir"},
    "trainer weights inspect": {"--arch"},
    "trainer weights fetch": {"--config"},  # a name for each call
}
"""Options that another function answers to, or an iterator's own filters."""


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (keywords.SubmitKeywords, SubmitOptions),
        (keywords.InitKeywords, NewConfig),
        (keywords.SweepKeywords, SweepRequest),
        (keywords.ClaimKeywords, ClaimTarget),
    ],
    ids=["submit", "init", "sweep", "claim"],
)
def test_keywords_are_the_fields_of_what_the_use_case_takes(kind: type, options: type) -> None:
    fields = {
        field.name: field
        for field in dataclasses.fields(options)
        if field.name not in GIVEN | INTERNAL | ({"name"} if options is ClaimTarget else set())
    }
    typed = keywords.annotations_of(kind)
    as_sequence = {
        name: re.sub(r"tuple\[(.+), \.\.\.\]", r"Sequence[\1]", str(fields[name].type)) for name in fields
    }
    assert {name: text.replace('"', "'") for name, text in typed.items()} == as_sequence
    assert {name: keywords.DEFAULTS[kind].get(name) for name in typed} == {
        name: fields[name].default for name in fields
    }


def _command(words: list[str]) -> click.Command:
    command: click.Command = launcher_group if words[0] == "ftlaunch" else trainer_group
    for word in words[1:]:
        assert isinstance(command, click.Group)
        inner = command.get_command(click.Context(command), word)
        assert inner is not None
        command = inner
    return command


@pytest.mark.parametrize(("command", "name"), TWINS.items(), ids=TWINS)
def test_every_option_of_a_command_is_a_keyword_of_its_function(command: str, name: str) -> None:
    function = inspect.unwrap(found(name))  # type: ignore[arg-type]
    parameters = {*signature_of(function).parameters, *(("options",) if name == "sweep" else ())}
    for option in _command(command.split()).params:
        names = {text for text in option.opts if text.startswith("--")}
        if not names or names & (OF_A_SHELL | ELSEWHERE.get(command, set())):
            continue
        keys = [key for text in names if (key := find_keyword(text[2:].removeprefix("no-"), function))]
        assert keys, names
        assert name == "sweep" or any(key[0] in parameters for key in keys), names


@pytest.mark.parametrize(
    ("function", "text", "said"),
    [
        (ftlaunch.make_lists, "pass --overwrite to replace it", "pass overwrite=True to replace it"),
        (ftlaunch.submit, "with --no-preflight", "with preflight=False"),
        (ftlaunch.submit, "set KUBECONFIG or --on local", 'set KUBECONFIG or on="local"'),
        (ftlaunch.init, "--data DIR, a folder, or --from CONFIG", "data=DIR, a folder, or source=CONFIG"),
        (ftlaunch.submit, "name one with --context, or", "name one with context=…, or"),
        (ftlaunch.train, "go on by --resume latest", 'go on by resume="latest"'),
        (ftlaunch.export, "pass --compare 0 to write it", "pass compare=0 to write it"),
        (ftlaunch.submit, "choose another -o KEY=VALUE", 'choose another set={"KEY": VALUE}'),
        (ftlaunch.find_job, "`ftlaunch submit CFG --name x` first", "`ftlaunch submit CFG --name x` first"),
        (ftlaunch.doctor, "--no-such-thing", "--no-such-thing"),
        (ftlaunch.submit, "a well-known --volume /data=CLAIM", "a well-known volumes='/data=CLAIM'"),
    ],
)  # fmt: skip
def test_an_option_in_a_message_becomes_the_keyword(function, text: str, said: str) -> None:
    assert spell(text, inspect.unwrap(function)) == said
    assert spell(said, inspect.unwrap(function)) == said


def test_errors_have_the_same_parts_whichever_half_of_the_product_raised_them(tmp_path) -> None:
    errors = []
    for call in (
        ftlaunch.init,
        lambda: ftlaunch.find_job("nobody"),
        lambda: ftlaunch.check(tmp_path / "none.yaml"),
        lambda: ftlaunch.make_lists(tmp_path / "none"),
        lambda: ftlaunch.fetch_weights("NoSuchNet"),
    ):
        with pytest.raises(ftlaunch.Error) as raised:
            call()
        errors.append(raised.value)
    for error in errors:
        parts = (error.where, error.expected, error.got, error.said, error.fix, error.message)
        assert all(isinstance(part, str) for part in parts), error
        assert any(parts) or error.problems, error
        assert "--" not in str(error), error
    assert (errors[0].where, errors[0].got) == ("init", "neither")
    assert errors[0].expected == "data=DIR, a folder of images, source=CONFIG, or both"


def test_a_job_that_is_not_there_is_one_class_everywhere() -> None:
    for call in (
        lambda: ftlaunch.find_job("nobody"),
        lambda: ftlaunch.evaluate(job="nobody"),
        lambda: ftlaunch.predict(job="nobody", images=["x"]),
        lambda: ftlaunch.export(job="nobody"),
        lambda: ftlaunch.plot("nobody"),
    ):
        with pytest.raises(ftlaunch.NotFoundError) as raised:
            call()
        assert (raised.value.where, raised.value.exit_code) == ("nobody", 4)


def test_all_parts_of_a_refusal_are_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise UsageError(
            where="--name x y", expected="no --overwrite",
            problems=[
                Problem(file="--extra-module a", message="pass --strict"),
                Issue(where="--nodes", expected="1"),
            ],
        )  # fmt: skip

    monkeypatch.setattr("launcher.jobs.submit.submit", refuse)
    with pytest.raises(ftlaunch.UsageError) as raised:
        ftlaunch.submit("cfg.yaml")
    assert str(raised.value).splitlines() == [
        "name='x y': expected no overwrite=True", "--extra-module a: pass strict=True", "nodes: expected 1",
    ]  # fmt: skip
    assert raised.value.where == "name='x y'"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: ftlaunch.train("x.yaml", overwritte=True),
            "train.. .*'overwritte'; did you mean 'overwrite'",
        ),
        (lambda: ftlaunch.find_job(nmae="x"), "find_job.. .*'nmae'; did you mean 'name'"),
        (
            lambda: ftlaunch.train("x.yaml", progress=print),
            "expected an ftlaunch.Progress.* 'progress'",
        ),
        (lambda: ftlaunch.train("x.yaml", say="loud"), "train.. expected a function as 'say', got str"),
        (lambda: ftlaunch.submit("x.yaml", study="mine"), "submit.. .*'study'"),
    ],
    ids=["train", "find_job", "progress", "say", "internal"],
)
def test_what_a_function_does_not_take_is_refused_by_name_at_once(call, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        call()


def test_a_name_that_is_not_there_tells_the_nearest(tmp_path) -> None:
    with pytest.raises(AttributeError, match="did you mean 'schema'"):
        ftlaunch.shema  # noqa: B018
    with pytest.raises(AttributeError, match=r"it is a method of a job: find_job\(\.\.\.\)\.pull_checkpoint"):
        ftlaunch.pull_checkpoint  # noqa: B018
    assert dir(ftlaunch) == sorted(ftlaunch.__all__)


def test_every_class_that_is_returned_is_exported_and_imported_late() -> None:
    from ftlaunch import returned

    for name in returned.__all__:
        assert inspect.isclass(getattr(ftlaunch, name)), name
        assert name in ftlaunch.__all__, name
    late = ["launcher.sweep.begin", "launcher.team.gather"]
    program = f"import ftlaunch, sys; print([name for name in {late} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_functions_return_is_exported() -> None:
    simple = {
        "str",
        "int",
        "None",
        "bool",
        "dict",
        "tuple",
        "Iterator",
        "Mapping",
        "Any",
        "object",
        "Path",
        "Self",
        "Array",
    }
    outside = {"subprocess", "CompletedProcess", "bytes"}
    for name in {
        *TWINS.values(),
        "find_job",
        "Job.watch",
        "Job.best",
        "Job.changes",
        "team_jobs",
        "compare_weights",
    }:
        annotation = str(inspect.signature(found(name)).return_annotation)  # type: ignore[arg-type]
        words = set(re.findall(r"[A-Za-z_]+", annotation)) - simple - outside
        if name == "resize":
            words = {"ResizeChange"}
        assert words <= set(ftlaunch.__all__), (name, annotation)
