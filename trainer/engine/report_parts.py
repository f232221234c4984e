"""What a training's report is made of: whether there is one, and what is asked of the network at its end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from trainer.config.data import MultiLabelDataset
from trainer.config.root import TrainConfig
from trainer.engine.class_activation import ActivationMaps, explain_answers
from trainer.engine.output import Output
from trainer.engine.reports import MAX_ANSWERS, ReportProcess, Reports
from trainer.engine.run_facts import describe_run, list_facts, save_description
from trainer.engine.run_log import RunLog
from trainer.engine.setup import Lists, Setup
from trainer.protocol.reportfile import ConfigValue, Fact

REPORT_WITHIN_S = 5.0
"""That a run which ends early waits for its report; a pod has thirty from being told to being killed."""


def make_reports(
    config: TrainConfig, setup: Setup, lists: Lists, output: Output | None, *,
    values: tuple[ConfigValue, ...] | None, run_log: RunLog,
) -> Reports:  # fmt: skip
    """Write what is known of the run, and return what the loop tells of its evaluations.

    All ranks come to the same answer whether that counts.

    Args:
        config: Checked.
        setup: What trains.
        lists: Its lists.
        output: Rank 0's.
        values: The config's, and where each comes from; None makes no report.
        run_log: Told what goes wrong.
    """
    samples, facts = lists.evaluation, tuple[Fact, ...]()
    if values is not None and output is not None:
        facts = tuple(list_facts(config, setup, run_id=output.run_id))
        failed = save_description(Path(config.run.output_dir), values, facts)
        if failed is not None:
            run_log.say(f"warning: {failed}; trackers will not know the config")
    if values is None or not config.run.report or samples is None or config.data.Eval is None:
        return Reports()
    if len(samples) * config.arch.class_num > MAX_ANSWERS:
        run_log.say(
            f"Global.report: {len(samples):,} images of {config.arch.class_num:,} classes have more answers "
            f"than {MAX_ANSWERS:,}; no report is made"
        )
        return Reports()
    if output is None:
        return Reports(wanted=True)
    run_facts = describe_run(config, setup, samples, values=values, facts=facts)
    return ReportProcess(
        run_facts, samples, ops=config.data.Train.dataset.transform_ops, environ=os.environ,
        say=run_log.announce, tick=output.beat,
    )  # fmt: skip


def finish_reports(reports: Reports, config: TrainConfig, setup: Setup, lists: Lists, *, epoch: int) -> None:
    """Have the last page made, with maps of where the network looked.

    Args:
        reports: What the loop told.
        config: Checked.
        setup: What was trained, as it is after so many epochs.
        lists: Its lists.
        epoch: Epochs completed.
    """
    samples, evaluation = lists.evaluation, config.data.Eval
    last = reports.last
    if last is None or samples is None or evaluation is None:
        reports.finish()
        return
    why_not = _why_no_maps(config, is_of_now=last.epoch == epoch)
    average = setup.ema.in_place if setup.ema is not None and last.of_average else contextlib.nullcontext

    def explain(indices: list[int]) -> ActivationMaps:
        with average(), setup.precision.evaluation():
            return explain_answers(
                setup.model, samples.paths, indices, evaluation.dataset.transform_ops,
                max_pixels=config.run.max_image_pixels,
            )  # fmt: skip

    chosen: Callable[[list[int]], ActivationMaps] | None = None if why_not else explain
    reports.finish(chosen, why_not=why_not)


def _why_no_maps(config: TrainConfig, *, is_of_now: bool) -> str:
    evaluation = config.data.Eval
    if evaluation is not None and isinstance(evaluation.dataset, MultiLabelDataset):
        return "an image may be of several classes"
    if config.run.to_static:
        return "a compiled network (Global.to_static) does not show its features"
    if not is_of_now:
        return "the network was trained on after its last evaluation"
    return ""
