"""Options that several commands share, and what they ask for as one value."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import click

from launcher.cli.printing import echo
from launcher.names import EARLIER_NAMES, KIND_NAMES
from launcher.plan.handle import BACKENDS

F = TypeVar("F", bound=Callable[..., Any])


def complete_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a job that was submitted from here, or of a study."""
    from launcher.runs.paths import runs_dir, state_dir
    from launcher.runs.store import RunStore

    del ctx, param
    studies = (path.parent.name for path in (state_dir() / "sweeps").glob("*/study.json"))
    names = (*RunStore(runs_dir()).names(), *studies)
    return sorted(name for name in names if name.startswith(incomplete))


job_argument = click.argument("job", required=False, shell_complete=complete_job)
"""A job's name or handle; without one, the last job submitted from here is meant."""


def read_volume(text: str) -> dict[str, object]:
    """Read `MOUNT=SOURCE[:LOCAL][,ro]` as a mapping like those in `Launch.volumes`.

    SOURCE is a claim, `CLAIM/FOLDER` for a folder inside it, an absolute path of the nodes, or nothing for a
    folder that exists on this machine only.
    """
    rest, _, mode = text.partition(",")
    mount, _, rest = rest.partition("=")
    source, _, local = rest.partition(":")
    if not mount or not (source or local) or mode not in ("", "ro", "rw"):
        raise click.BadParameter(
            f"expected MOUNT=CLAIM[/FOLDER][:LOCAL][,ro], MOUNT=/NODE/PATH or MOUNT=:LOCAL, such as "
            f"/data=flowers:./flowers,ro, got {text!r}"
        )
    volume: dict[str, object] = {"mount": mount, "read_only": mode == "ro"}
    claim, _, folder = source.partition("/")
    if source.startswith("/"):
        volume["host_path"] = source
    elif source:
        volume |= {"claim": claim} | ({"sub_path": folder} if folder else {})
    if local:
        volume["local"] = local
    return volume


def _read_gpus(text: str) -> int | tuple[str, ...]:
    """Read a number, or GPUs of this machine by number, such as `0,2` or `1,`."""
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if "," in text and names and all(name.isdigit() for name in names) and len({*names}) == len(names):
        return names
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(
            f"expected a number of GPUs, or GPUs of this machine such as 0,1,2,3, got {text!r}"
        ) from None


def _read_procs(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"expected auto or a whole number, got {text!r}") from None


class Subcommands(click.Group):
    """Commands below a command. What they do not know is refused with what they know, or where it is instead.

    Args:
        elsewhere: Name that is likely to be tried here -> the command that is meant.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._elsewhere = elsewhere or {}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse what is no command, as click does, but by name and with what is meant."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            from trainer.config.problems import suggest  # with the grammar, which `--help` does without

            meant = self._elsewhere.get(args[0])
            lead = f"; did you mean `{meant}`?" if meant else suggest(args[0], self.commands)
            ctx.fail(f"expected one of {', '.join(sorted(self.commands))}, got {args[0]!r}{lead}")
        return super().resolve_command(ctx, args)


class _Kinds(click.Choice):  # type: ignore[type-arg]  # click 8.1 takes none
    """Names of kinds; those of before are left to `Launch.api`, which knows what became of them."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if value in (*EARLIER_NAMES, "batch") else super().convert(value, param, ctx)


config_argument = click.argument("path", metavar="CONFIG", type=click.Path(path_type=Path))

_config_or_like = click.argument("path", metavar="CONFIG", required=False, type=click.Path(path_type=Path))
"""Asked for by `launch_options`, unless there is a `--like`."""

override_option = click.option(
    "-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE",
    help="Change a value, such as -o Global.epochs=3; list items by index; may be repeated.",
)  # fmt: skip

strict_option = click.option("--strict", is_flag=True, help="Refuse unknown keys instead of warning of them.")


on_option = click.option(
    "--on", type=click.Choice(BACKENDS),
    help="Backend that runs the job; by default that of FTLAUNCH_ON or a settings file, else kubernetes.",
)  # fmt: skip


_NAME_OPTION = click.option("--name", metavar="NAME", help="Exact name of the job; fails where it is taken.")
_TRIAL_OPTIONS = (
    click.option("--image", metavar="IMAGE", help="Container image with the trainer."),
    click.option(
        "--gpus", type=_read_gpus, metavar="N|0,1,…",
        help="GPUs of each node; 0 trains on CPUs. On this machine also which ones: 0,1,2,3.",
    ),
    click.option("--nodes", type=int, metavar="N", help="Number of pods (nodes)."),
    click.option(
        "--procs-per-node", type=_read_procs, metavar="auto|N", help="Ranks of each node; auto: one per GPU."
    ),
    click.option(
        "--volume", "volumes", multiple=True, type=read_volume, metavar="MOUNT=CLAIM[/FOLDER][:LOCAL][,ro]",
        help="Mount a claim or, as /PATH, a folder of the nodes; LOCAL is used here. May be repeated.",
    ),
    click.option(
        "--code", metavar="PATH",
        help="File or folder with Python of your own, which every pod can import; see Launch.code.",
    ),
    click.option("--namespace", metavar="NAME", help="Kubernetes namespace."),
    click.option("--context", metavar="NAME", help="Context of the kubeconfig; by default the current one."),
    click.option(
        "--api", type=_Kinds(("auto", *KIND_NAMES)),
        help="Kind of job object; auto: the first that the cluster serves and you may create.",
    ),
    click.option("--require-gpu", is_flag=True, help="Refuse to run as CPU ranks where GPUs are missing."),
    click.option(
        "--require-restricted", is_flag=True,
        help="Refuse what the pod security level restricted does not allow, instead of noting it.",
    ),
    click.option(
        "--template-dir", "template_dirs", multiple=True, type=click.Path(path_type=Path), metavar="FOLDER",
        help="Templates that override ours and those in .ftlaunch/templates; may be repeated.",
    ),
)  # fmt: skip
"""What a job and a trial of a study may both be asked for."""
_LAUNCH_OPTIONS = (
    on_option,
    _NAME_OPTION,
    *_TRIAL_OPTIONS,
    click.option("--overwrite", is_flag=True, help="Reuse an output folder that holds another run."),
    click.option(
        "--continue", "parent", metavar="JOB",
        help="Continue from the output of another job, which has ended; with any number of nodes.",
    ),
    click.option("--run-id", hidden=True),
)  # fmt: skip


def launch_options(command: F) -> F:
    """Add CONFIG and all options that make a job; the command gets `path`, and the options as one value."""

    @wraps(command)
    def collect(*args: Any, **given: Any) -> Any:
        if (like := given.pop("like", None)) is not None:
            given = _take_over(click.get_current_context(), like, given["path"])
        elif given["path"] is None:
            raise click.UsageError("Missing argument 'CONFIG'.", click.get_current_context())
        return command(*args, options=_pop_options(given), **given)

    return _add_options(cast(F, collect), (_config_or_like, override_option, *_LAUNCH_OPTIONS, strict_option))


def trial_options(command: F) -> F:
    """Add CONFIG and what every trial of a study may be asked for; the command gets them as one value."""

    @wraps(command)
    def collect(*args: Any, **given: Any) -> Any:
        name = given.pop("name", None)  # a study's own
        return command(*args, options=_pop_options(given), name=name, **given)

    return _add_options(
        cast(F, collect), (config_argument, override_option, on_option, *_TRIAL_OPTIONS, strict_option)
    )


def _pop_options(given: dict[str, Any]) -> Any:
    """Take what `SubmitOptions` has out of what was given, and return it as that."""
    from launcher.jobs.options import SubmitOptions  # most commands do without

    if isinstance(given["gpus"], tuple):
        given["gpu_ids"], given["gpus"] = given["gpus"], None
    names = [field.name for field in dataclasses.fields(SubmitOptions) if field.name in given]
    return SubmitOptions(**{name: given.pop(name) for name in names})


def _add_options(command: F, options: Sequence[Callable[[F], F]]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


plain_option = click.option(
    "--plain", is_flag=True, help="Write lines that stay, on a terminal too, instead of a live view."
)


def _take_over(ctx: click.Context, like: str, path: Path | None) -> dict[str, Any]:
    """Return the options of a submit like an earlier one; `ctx.obj` then has its whole command line."""
    from launcher.cli.like import words_like

    if path is not None:
        raise click.UsageError(f"--like: expected no CONFIG beside it, got {str(path)!r}", ctx)
    typed = list(ctx.obj or ())
    words = words_like(ctx, like, typed[typed.index("submit") + 1 :])
    ctx.obj = ("submit", *words)
    given = dict(ctx.command.make_context("submit", list(words), parent=ctx.parent).params)
    given.pop("like")
    return given


def output_option(*formats: str, default: str = "text") -> Callable[[F], F]:
    """Add `--output`."""
    return click.option(
        "--output", type=click.Choice((default, *formats)), default=default, show_default=True,
        help="Output format.",
    )  # fmt: skip


def echo_document(document: Mapping[str, object], output: str) -> None:
    """Print a document of plain values as JSON or YAML."""
    if output == "yaml":
        from launcher.render.filters import to_yaml

        echo(to_yaml(document), nl=False)
        return
    echo(json.dumps(document, indent=2))
