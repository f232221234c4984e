from __future__ import annotations

import paddle
import pytest

from trainer.config.metrics import METRICS, TopkAcc
from trainer.metrics.build import METRIC_BUILDERS, build_metrics

LOGITS = paddle.to_tensor([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])
LABELS = paddle.to_tensor([[1], [2], [0], [1]])


def test_what_is_declared_is_what_is_built():
    assert set(METRIC_BUILDERS) == set(METRICS)


def test_topk_counts_labels_among_the_largest():
    assert build_metrics([TopkAcc(topk=(1, 2))])(LOGITS, LABELS) == {"top1": 0.5, "top2": 0.75}


def test_a_k_above_the_number_of_classes_is_always_met():
    assert build_metrics([TopkAcc(topk=(5,))])(LOGITS, LABELS) == {"top5": 1.0}


@pytest.mark.parametrize("nothing", [None, ()])
def test_no_metric_measures_nothing(nothing):
    assert build_metrics(nothing)(LOGITS, LABELS) == {}
