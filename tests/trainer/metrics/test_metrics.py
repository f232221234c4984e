from __future__ import annotations

import paddle

from trainer.config.metrics import METRICS, GoogLeNetTopkAcc, TopkAcc
from trainer.engine.collective import Collective
from trainer.engine.pending import PendingSums
from trainer.metrics.build import BATCH_METRICS, build_batch_metrics, build_measures
from trainer.metrics.dataset_level import LIST_METRICS

LOGITS = paddle.to_tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])
LABELS = paddle.to_tensor([[1], [2], [0], [1]])


def sums_of(specs, outputs):
    pending = PendingSums()
    pending.keep(build_batch_metrics(specs)(outputs, LABELS))
    (found,), _ = pending.fetch(Collective(world_size=1))
    return found.sums


def test_what_is_declared_is_what_is_built():
    assert set(BATCH_METRICS) | set(LIST_METRICS) == set(METRICS)


def test_what_is_measured_by_the_batch_says_so():
    assert {spec for spec in METRICS if not spec.needs_list} == set(BATCH_METRICS)


def test_topk_counts_labels_among_the_largest():
    assert sums_of([TopkAcc(topk=(1, 2))], LOGITS) == {"top1": 2.0, "top2": 3.0}


def test_a_k_above_the_number_of_classes_is_always_met():
    assert sums_of([TopkAcc(topk=(5,))], LOGITS) == {"top5": 4.0}


def test_googlenet_answers_with_the_first_of_its_three():
    outputs = [LOGITS, LOGITS * 0, -LOGITS]
    assert sums_of([GoogLeNetTopkAcc(topk=(1,))], outputs) == {"top1": 2.0}


def test_no_metric_measures_nothing():
    assert sums_of((), LOGITS) == {}
    assert build_measures(None) == build_measures(()) == ()
