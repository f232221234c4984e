"""`trainer export`."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import load_run, refuse_two, run_options
from trainer.cli.printing import echo


@click.command("export")
@run_options
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="Weights to export. Default: Global.pretrained_model, else the best checkpoint of the output "
    "folder.",
)  # fmt: skip
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to write the model. Default: Global.save_inference_dir.",
)
@click.option(
    "--compare",
    type=click.IntRange(min=0),
    default=64,
    show_default=True,
    metavar="N",
    help="Images of the validation list to compare it with the trained model on; 0: none.",
)
@click.option(
    "--onnx", is_flag=True, help="Also write inference.onnx, for other runtimes; needs the extra onnx."
)
def command(
    *, job: str | None, path: Path | None, overrides: tuple[str, ...], extra_modules: tuple[str, ...],
    strict: bool, weights: Path | None, folder: Path | None, compare: int, onnx: bool,
) -> None:  # fmt: skip
    """Write a model that Paddle's inference library reads, and check that it answers as the trained one.

    JOB is the name of a job that was submitted from this machine; else -c names a config.
    """
    refuse_two(job, path)

    def work() -> None:
        require_packages()
        from trainer.config.root import TrainConfig

        loaded = load_run(job, path, overrides, strict=strict, extra_modules=extra_modules, weights=weights)
        assert isinstance(loaded.config, TrainConfig)
        from trainer.engine.export import export

        _need_a_home()
        infer = loaded.document.values.get("Infer")
        with progress() as bar:
            done = export(
                loaded.config, infer if isinstance(infer, dict) else {}, weights=weights,
                folder=folder or Path(loaded.config.run.save_inference_dir), images=compare,
                onnx=onnx, progress=bar,
            )  # fmt: skip
        echo(f"{done.folder}: {', '.join(done.names)} of {done.weights}")
        for note in done.notes:
            echo(f"warning: {note}", err=True)
        said = (
            f"compared on {done.compared} images: logits differ by at most {done.largest:.1e} of their size"
            if done.compared
            else "not compared with the trained model: there is no DataLoader.Eval, or --compare is 0"
        )
        echo(said, err=True)

    sys.exit(end_with(work, Ending()))


def _need_a_home() -> None:
    """Have a home that can be written to until this process ends.

    Paddle writes the code that it makes of a model below ~/.cache, and removes it at the end
    (paddle/jit/dy2static/utils.py, 3.3.1); a read-only root has no such place.
    """
    if not os.access(os.environ.get("HOME", ""), os.W_OK):
        home = tempfile.mkdtemp(prefix="ftl-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        os.environ["HOME"] = home
