"""The text of a first config: for a folder of images, or for a PaddleClas config without a `Launch`. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from launcher.spec.images import LABELS, TRAIN, VAL, ImageFolder
from trainer.config.paths import find_paths
from trainer.protocol.environment import WORKSPACE

SCHEMA_FILE = ".ftlaunch/schema.json"
MODELINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"
_MAX_BATCH, _MIN_BATCH = 64, 4
_IMAGENET_LR, _IMAGENET_BATCH = 0.1, 256  # PaddleClas d178931, ppcls/configs/ImageNet/ResNet/ResNet50_vd.yaml
_BARE = re.compile(r"(\.{0,2}/)?[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
_OF_THE_JOB = "sub_path: '{job}'"
_MEAN, _STD = "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a first config is to be.

    Attributes:
        name: Prefix of the job's name.
        image_size: Side of the images that the network sees, in pixels.
        gpus: Of each node.
        image: Container image, or None for the default.
    """

    arch: str
    name: str
    epochs: int
    image_size: int
    gpus: int
    nodes: int
    image: str | None = None

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return self.nodes * max(1, self.gpus)


def choose_batch(images: int, ranks: int) -> int:
    """Return a batch size of a rank with which an epoch has at least some steps: a power of two, 4 to 64."""
    batch = _MAX_BATCH
    while batch > _MIN_BATCH and batch * ranks * 8 > images:
        batch //= 2
    return batch


def tenth_of_imagenets(global_batch: int) -> float:
    """Return a tenth of ImageNet's learning rate, which is 0.1 for 256 images a step, for a global batch."""
    return float(f"{_IMAGENET_LR / 10 * global_batch / _IMAGENET_BATCH:.3g}")


def write_config(wanted: Wanted, data: ImageFolder) -> str:
    """Write a whole config, with comments."""
    size, short = wanted.image_size, round(wanted.image_size * 256 / 224)
    batch = choose_batch(data.train, wanted.ranks)
    rate = tenth_of_imagenets(batch * wanted.ranks)
    volumes = [("/data", wanted.name, True, str(data.folder)), ("/output", "runs", False, "./output")]
    warmup = min(5, max(0, wanted.epochs // 10))
    return _align(f"""\
{MODELINE}
# Made by `ftlaunch init` for {data.train} training images of {data.class_num} classes.
# First `ftlaunch submit FILE --on local`, which trains on this machine; without --on it goes to your cluster.

Global:
  device: gpu                           # where Launch.gpus is 0, the CPU all the same
  output_dir: /output    # in the pod, and each job's own there: see Launch.volumes
  epochs: {wanted.epochs}
  seed: 0
  print_batch_step: 10                  # a log line every so many steps
  save_interval: {max(1, wanted.epochs // 5)}                      # besides latest and best_model
  eval_during_train: {"True" if data.has_val else "False"}
  eval_interval: 1
  image_shape: [3, {size}, {size}]         # size 1 of 6 that belong together; --image-size sets all

Arch:
  name: {_text(wanted.arch)}
  class_num: {data.class_num}                         # labels run from 0 to {data.class_num - 1}
  # Pretrained weights make the difference with few images: name a .pdparams file on a volume, such as
  # pretrained: /data/{wanted.arch}_pretrained
  pretrained: False

Loss:
  Train:
    - CELoss:
        weight: 1.0
        epsilon: 0.1                    # label smoothing
  Eval:
    - CELoss:
        weight: 1.0

Optimizer:
  name: Momentum
  momentum: 0.9
  lr:
    name: Cosine
    # A tenth of ImageNet's 0.1 for 256 images a step, because fine-tuning starts from what was learned;
    # for {batch} x {wanted.ranks} ranks = {batch * wanted.ranks} images a step. Scale it with that product.
    learning_rate: {rate}
    warmup_epoch: {warmup}
  regularizer:
    name: L2
    coeff: 0.0001

DataLoader:
  Train:
    dataset:
      name: ImageNetDataset
      image_root: /data
      cls_label_path: /data/{TRAIN}     # `path label` a line
      transform_ops:
        - DecodeImage:
            to_rgb: True
        - RandCropImage:
            size: {size}                   # size 2 of 6
        - RandFlipImage:
            flip_code: 1                # remove it where left and right matter
        - NormalizeImage:
{_normalize()}
    sampler:
      name: DistributedBatchSampler
      batch_size: {batch}                    # of each rank
      drop_last: False
      shuffle: True
    loader:
      num_workers: 4
{_eval(size, short, batch) if data.has_val else ""}
Infer:
  transforms:
    - DecodeImage:
        to_rgb: True
    - ResizeImage:
        resize_short: {short}               # size 5 of 6
    - CropImage:
        size: {size}                       # size 6 of 6
    - NormalizeImage:
        scale: 1.0/255.0
        mean: {_MEAN}
        std: {_STD}
        order: ''
    - ToCHWImage:
  PostProcess:
    name: Topk
    topk: {min(5, data.class_num)}
{f"    class_id_map_file: /data/{LABELS}" if data.has_labels else "    # class_id_map_file: /data/labels.txt"}

Metric:
  Train:
    - TopkAcc:
        topk: [1, {min(5, data.class_num)}]
  Eval:
    - TopkAcc:
        topk: [1, {min(5, data.class_num)}]                    # its first value, top-1, chooses best_model

{_launch(wanted, volumes)}""")


def add_launch(content: str, values: Mapping[str, object], wanted: Wanted) -> str:
    """Return a PaddleClas config as it is, and behind it a `Launch` section with volumes for its paths.

    Args:
        content: Of the file; kept to the last character.
        values: That it was parsed to.
        wanted: Its architecture, epochs and size have no effect.
    """
    end = "" if content.endswith("\n") else "\n"
    return f"{content}{end}\n{MODELINE}\n{_launch(wanted, _volumes(values))}"


def _volumes(values: Mapping[str, object]) -> list[tuple[str, str, bool, str]]:
    folders: dict[str, bool] = {}
    section = values.get("Global")
    written = isinstance(section, dict) and "output_dir" in section
    paths = [*find_paths(values), *([] if written else [(("Global", "output_dir"), "./output/")])]
    for key, path in paths:
        if key[0] == "Infer" or key[-1] == "save_inference_dir":
            continue
        parts = posixpath.normpath(path).split("/")
        if parts[0] in (".", ".."):
            continue
        folder = f"/{parts[1]}" if path.startswith("/") else parts[0]
        folders[folder] = folders.get(folder, True) and key[-1] != "output_dir"
    return [
        (
            folder if folder.startswith("/") else f"{WORKSPACE}/{folder}",
            folder.strip("/").lower().replace("_", "-"),
            read_only,
            folder if folder.startswith("/") else f"./{folder}",
        )
        for folder, read_only in folders.items()
    ]


def _launch(wanted: Wanted, volumes: list[tuple[str, str, bool, str]]) -> str:
    image = f"  image: {_text(wanted.image)}\n" if wanted.image else (
        "  # image: registry.example/ftlaunch-trainer:TAG      # what your cluster can pull\n"
    )  # fmt: skip
    lines = "".join(
        f"    - {{mount: {_text(mount)}, claim: {_text(claim)}, "
        f"{'read_only: true' if read_only else _OF_THE_JOB}, "
        f"local: {_text(local)}}}\n"
        for mount, claim, read_only, local in volumes
    )
    return f"""\
# ftlaunch's own section. PaddleClas ignores it.
Launch:
  name: {_text(wanted.name)}
{image}  nodes: {wanted.nodes}                              # pods
  gpus: {wanted.gpus}                               # of each node; 0 trains on CPUs
  # resources: {{cpu: 16, memory: 64Gi, shm: 8Gi}}
  volumes:
    # On a cluster `claim`, a PersistentVolumeClaim, is mounted at `mount`; with --on local the folder `local`
    # of this machine stands for it, relative to where you call `ftlaunch submit` or `trainer`. `sub_path:
    # '{{job}}'` gives each job a folder of its own there; beside them, `latest` leads to the newest one.
{lines}"""


def _eval(size: int, short: int, batch: int) -> str:
    return f"""\
  Eval:
    dataset:
      name: ImageNetDataset
      image_root: /data
      cls_label_path: /data/{VAL}
      transform_ops:
        - DecodeImage:
            to_rgb: True
        - ResizeImage:
            resize_short: {short}           # size 3 of 6: 256/224 of the others
        - CropImage:
            size: {size}                   # size 4 of 6
        - NormalizeImage:
{_normalize()}
    sampler:
      name: DistributedBatchSampler
      batch_size: {batch}
      drop_last: False
      shuffle: False
    loader:
      num_workers: 4
"""


def _normalize() -> str:
    return f"""\
            scale: 1.0/255.0
            mean: {_MEAN}
            std: {_STD}
            order: ''"""


def _align(text: str) -> str:
    """Bring the comments behind values of any length into one column, where they fit."""
    return re.sub(r"(?m)^( *[^#\n]*\S)  +(# .*)$", lambda line: f"{line[1]:<37} {line[2]}", text)


def _text(value: str) -> str:
    """Write text so that YAML reads it as that text: bare where that is plain, else as JSON."""
    if _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
