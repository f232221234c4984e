"""One of several ranks that evaluate lists of many lengths, and alone as well; rank 0 writes both down.

Usage: ranked_evaluations.py FOLDER, which holds `<kind><length>.txt` and the images, with Paddle's variables.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import paddle
from pydantic import TypeAdapter

from trainer.config.data import SplitSection
from trainer.config.losses import LossList
from trainer.config.metrics import MetricList
from trainer.data.lists import load_list
from trainer.data.loader import Loader
from trainer.engine.collective import Collective, join_store
from trainer.engine.evaluate import evaluate_model
from trainer.engine.liveness import Liveness
from trainer.losses.build import build_loss
from trainer.metrics.build import build_measures
from trainer.ranks import read_ranks

BATCH, SIDE = 2, 4
KINDS: dict[str, dict[str, Any]] = {
    "one": {
        "class_num": 2, "dataset": {"name": "ImageNetDataset"}, "loss": [{"CELoss": {}}],
        "metrics": [{"TprAtFpr": {"max_fpr": 0.4}}, {"TopkAcc": {"topk": 1}}],
    },
    "several": {
        "class_num": 3, "dataset": {"name": "MultiLabelDataset", "label_ratio": True},
        "loss": [{"MultiLabelLoss": {"weight_ratio": True, "size_sum": True}}],
        "metrics": [
            {"ATTRMetric": {}}, {"MultiLabelMAP": {}}, {"HammingDistance": {}}, {"AccuracyScore": {}},
            {"MultilabelMeanAccuracy": {}},
        ],
    },
}  # fmt: skip


def measure(listed: Path, *, rank: int, world_size: int) -> dict[str, dict[str, Any]]:
    kind = KINDS[re.sub(r"\d", "", listed.stem)]
    ops = [{"DecodeImage": {}}, {"NormalizeImage": {"order": ""}}]
    place = {"image_root": str(listed.parent), "cls_label_path": str(listed), "transform_ops": ops}
    split = SplitSection.model_validate(
        {"dataset": {**kind["dataset"], **place}, "sampler": {"batch_size": BATCH}}
    )
    paddle.seed(5 + rank)  # each rank's own statistics, of which rank 0's count
    model = paddle.nn.Sequential(
        paddle.nn.BatchNorm(3), paddle.nn.Flatten(), paddle.nn.Linear(3 * SIDE * SIDE, kind["class_num"])
    )
    paddle.seed(7)
    for key, tensor in model.state_dict().items():
        if "Mean" not in key and "_variance" not in key:
            tensor.set_value(paddle.randn(tensor.shape) * 0.2)
    model[0]._mean.set_value(paddle.to_tensor([0.1 * rank] * 3))
    found = evaluate_model(
        model,
        Loader(
            split=split, samples=load_list(split.dataset, class_num=kind["class_num"]), rank=rank,
            world_size=world_size, seed=0, training=False,
        ),
        loss=build_loss(TypeAdapter(LossList).validate_python(kind["loss"])),
        measures=build_measures(TypeAdapter(MetricList).validate_python(kind["metrics"])),
        collective=Collective(world_size=world_size), liveness=Liveness(None, local_rank=0),
        keeps_answers=True,
    )  # fmt: skip
    assert found.answers is not None
    answers = {
        "indices": found.answers.indices.tolist(), "logits": found.answers.logits.tolist(),
        "labels": found.answers.labels.tolist(),
    }  # fmt: skip
    return {"losses": found.losses, "metrics": found.metrics, "answers": answers}


def main() -> None:
    folder, ranks = Path(sys.argv[1]), read_ranks()
    paddle.set_device("cpu")
    join_store(read_ranks())
    paddle.distributed.init_parallel_env()
    results = {
        listed.stem: {
            "together": measure(listed, rank=ranks.rank, world_size=ranks.world_size),
            "alone": measure(listed, rank=0, world_size=1),
        }
        for listed in sorted(folder.glob("*.txt"))
    }
    (folder / f"results{ranks.rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
