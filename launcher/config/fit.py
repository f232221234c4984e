"""Fits a PaddleClas config to a folder of images: classes, paths, labels, batch and rate. Pure.

The rate follows the images of a step, which PaddleClas's configs count over four GPUs (its documentation
trains them with `--gpus 0,1,2,3`; d178931, docs/zh_CN/training), and where weights for ImageNet are gone on
from, a config that is made for ImageNet itself gets a tenth of its rate, as fine-tuning needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from launcher.config.edit import Edits
from launcher.config.image_folder import LABELS, TRAIN, VAL, ImageFolder
from launcher.config.recipe import choose_batch
from launcher.config.starter import StarterJob, volumes_of, with_modeline, write_launch
from trainer.config.problems import KeyPath, format_path

_GPUS = 4
"""That PaddleClas's own configs are made for."""
_IMAGENET_CLASSES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A config that was fitted.

    Attributes:
        text: Its own, with its comments.
        changes: A sentence for each thing that was changed.
        left: A sentence for each thing that somebody has to look at.
    """

    text: str
    changes: Sequence[str]
    left: Sequence[str]


def fit_config(
    content: str, values: Mapping[str, object], data: ImageFolder, wanted: StarterJob, *,
    pretrained: bool | None, epochs: int | None = None,
) -> Fitted:  # fmt: skip
    """Fit a config to images.

    Args:
        content: Of the file.
        values: That it was parsed to, which has no `Launch` section.
        data: The images.
        wanted: Of the Launch section.
        pretrained: Whether weights for ImageNet can be had; None leaves `Arch.pretrained` as it is.
        epochs: Number of them, or None to keep the config's.
    """
    return _Fitting(content, values, data, wanted).run(pretrained, epochs)


class _Fitting:
    def __init__(
        self, content: str, values: Mapping[str, object], data: ImageFolder, wanted: StarterJob
    ) -> None:
        self._content = content.removeprefix("\ufeff")
        self._edits = Edits(self._content)
        self._values = values
        self._data = data
        self._wanted = wanted
        self._changes: list[str] = []
        self._left: list[str] = []

    def run(self, pretrained: bool | None, epochs: int | None) -> Fitted:
        was_for_imagenet = self._get(("Arch", "class_num"), _IMAGENET_CLASSES) == _IMAGENET_CLASSES
        went_on = bool(self._get(("Arch", "pretrained"), False))
        if epochs is not None:
            self._set(("Global", "epochs"), epochs)
        self._set(("Global", "output_dir"), "/output")
        for key in ("pretrained_model", "checkpoints"):
            if self._get(("Global", key), None):
                self._left.append(f"Global.{key}: left as it is; is it of these classes?")
        self._fit_classes()
        several = self._get(("Arch", "models"), None) is not None
        if several:
            self._left.append("Arch.models: the pretrained of each is left as it is")
        elif pretrained is not None and isinstance(self._get(("Arch", "pretrained"), False), bool):
            self._set(("Arch", "pretrained"), pretrained)
        self._fit_data()
        begins_anew = pretrained is True and was_for_imagenet and not went_on
        self._fit_rates(tenth=begins_anew)
        self._fit_answers()
        self._fit_metrics()
        end = "" if self._content.endswith("\n") else "\n"
        launch = write_launch(self._wanted, volumes_of(self._wanted, str(self._data.folder)))
        text = f"{with_modeline(self._edits.apply())}{end}\n{launch}"
        return Fitted(text=text, changes=self._changes, left=self._left)

    def _fit_classes(self) -> None:
        for path in [*self._edits.paths("class_num")]:
            if isinstance(self._get(path, None), int):
                self._set(path, self._data.class_num)
        # Of several networks each has its own beside that of Arch, and all must be one.
        archs = [
            ("Arch",),
            *(path[:-1] for path in self._edits.paths("name") if path[:2] == ("Arch", "models")),
        ]
        for arch in archs:
            if self._get((*arch, "class_num"), None) is None:
                self._set((*arch, "class_num"), self._data.class_num)

    def _fit_data(self) -> None:
        for split, name, is_there in (("Train", TRAIN, True), ("Eval", VAL, self._data.has_val)):
            path = ("DataLoader", split, "dataset")
            dataset = self._get(path, None)
            if not isinstance(dataset, dict):
                if split == "Train":
                    self._left.append("DataLoader.Train.dataset: expected one, got none; write it")
                continue
            if not is_there:
                self._set(("Global", "eval_during_train"), False)
                self._left.append("DataLoader.Eval: left as it is, and not used: there is no val_list.txt")
                continue
            self._set((*path, "image_root"), "/data")
            key = "sample_list_path" if "sample_list_path" in dataset else "cls_label_path"
            self._set((*path, key), f"/data/{name}")
            kind = dataset.get("name", "ImageNetDataset")
            if kind != "ImageNetDataset":
                self._left.append(
                    f"{format_path(path)}.name: {kind} reads lists of another form than `path label`"
                )
        for split in ("Gallery", "Query", "UnLabelTrain"):
            if self._get(("DataLoader", "Eval", split), None) or self._get(("DataLoader", split), None):
                self._left.append(f"DataLoader … {split}: left as it is; it needs lists of its own")

    def _fit_rates(self, *, tenth: bool) -> None:
        where = ("DataLoader", "Train", "sampler", "batch_size")
        old = self._get(where, None)
        if not isinstance(old, int) or old < 1:
            self._left.append("Optimizer: the rate is left as it is: no DataLoader.Train.sampler.batch_size")
            return
        ranks = self._wanted.ranks
        batch = min(old, choose_batch(self._data.train, ranks, largest=max(4, old)))
        if batch != old:
            self._set(where, batch)
        factor = batch * ranks / (old * _GPUS) * (0.1 if tenth else 1.0)
        why = f"for {batch * ranks} images a step instead of {old * _GPUS}" + (
            ", and a tenth because it goes on from ImageNet's weights" if tenth else ""
        )
        for path, rate in _rates(self._get(("Optimizer",), None), ("Optimizer",)):
            new = (
                [_scaled(item, factor) for item in rate] if isinstance(rate, list) else _scaled(rate, factor)
            )
            self._set(path, new, why=why)

    def _fit_answers(self) -> None:
        path = ("Infer", "PostProcess")
        post = self._get(path, None)
        for at, item in _posts(post, path):
            topk = item.get("topk")
            if isinstance(topk, int) and topk > self._data.class_num:
                self._set((*at, "topk"), self._data.class_num)
            if "class_id_map_file" in item:
                self._set((*at, "class_id_map_file"), f"/data/{LABELS}" if self._data.has_labels else None)

    def _fit_metrics(self) -> None:
        """Leave out the top k of more than all classes, which are always right."""
        for split in ("Train", "Eval"):
            metrics = self._get(("Metric", split), None)
            for index, metric in enumerate(metrics if isinstance(metrics, list) else ()):
                for path, item in _posts(metric, ("Metric", split, index)):
                    topk = item.get("topk")
                    if not isinstance(topk, list) or not all(isinstance(k, int) for k in topk):
                        continue
                    fewer = [k for k in topk if k <= self._data.class_num] or [1]
                    if fewer != topk:
                        self._set((*path, "topk"), fewer)

    def _get(self, path: KeyPath, default: object) -> object:
        node: object = self._values
        try:
            for part in path:
                node = node[part]  # type: ignore[index]  # what is no container raises
        except (KeyError, IndexError, TypeError):
            return default
        return node

    def _set(self, path: KeyPath, value: object, *, why: str = "") -> None:
        old = self._get(path, None)
        if old == value and type(old) is type(value):
            return
        if not self._edits.set(path, value):
            self._left.append(f"{format_path(path)}: expected {value!r}, left as it is; write it")
            return
        was = f", was {old!r}" if old is not None else ""
        self._changes.append(f"{format_path(path)}: {value!r}{was}" + (f", {why}" if why else ""))


def _rates(node: object, path: KeyPath) -> Iterator[tuple[KeyPath, float | list[float]]]:
    """Yield the rates of all optimizers: learning_rate, a Piecewise's values, and where a warm-up begins."""
    if isinstance(node, dict):
        for key, value in node.items():
            is_rate = key in ("learning_rate", "warmup_start_lr", "eta_min", "end_lr", "values", "lr")
            if is_rate and isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                yield (*path, key), float(value)
            elif (
                key == "values" and isinstance(value, list) and all(isinstance(v, int | float) for v in value)
            ):
                yield (*path, key), [float(item) for item in value]
            else:
                yield from _rates(value, (*path, key))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _rates(item, (*path, index))


def _posts(node: object, path: KeyPath) -> Iterator[tuple[KeyPath, dict[str, object]]]:
    """Yield what makes answers of outputs: one, or several by name as DistillationPostProcess has them."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _posts(value, (*path, key))


def _scaled(rate: float, factor: float) -> float:
    return float(f"{rate * factor:.3g}")
