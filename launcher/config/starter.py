"""The text of a first config: for a folder of images, or for a PaddleClas config without a `Launch`. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from launcher.config.image_folder import LABELS, TRAIN, VAL, ImageFolder
from launcher.config.recipe import Recipe
from trainer.config.paths import find_paths
from trainer.protocol.environment import WORKSPACE

SCHEMA_FILE = ".ftlaunch/schema.json"
MODELINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"
_BARE = re.compile(r"(\.{0,2}/)?[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})
_OF_THE_JOB = "sub_path: '{job}'"
_WHY_DROP = "                   # a last batch of few images would spoil batch norm"
_N = "\n"
_CLASS_WEIGHT = "        class_weight: auto              # small classes count as much as large ones\n"
_MEAN, _STD = "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"


@dataclass(frozen=True, kw_only=True, slots=True)
class StarterJob:
    """What a first config is to be.

    Attributes:
        name: Prefix of the job's name.
        gpus: Of each node.
        image: Container image, or None for the default.
    """

    name: str
    gpus: int
    nodes: int
    image: str | None = None

    @property
    def ranks(self) -> int:
        """Number of ranks."""
        return self.nodes * max(1, self.gpus)


def volumes_of(wanted: StarterJob, folder: str) -> list[tuple[str, str, bool, str]]:
    """Return where images come in and results go out: mount, claim, read-only, folder of this machine."""
    return [("/data", wanted.name, True, folder), ("/output", "runs", False, "./output")]


def write_config(wanted: StarterJob, data: ImageFolder, recipe: Recipe) -> str:
    """Write a whole config, with comments that say why a value is what it is."""
    size = recipe.size
    # Random crops show things larger in training; an evaluation that does not is worse (docs/init.md).
    short = round(size * 256 / 224)
    # Of five classes or fewer the top five are all: such a metric is always 1.
    topk = "[1, 5]" if data.class_num > 5 else "[1]"
    flip = """\
        - RandFlipImage:
            flip_code: 1                # remove it where left and right matter
"""
    no_flip = "        # no RandFlipImage: images this small are often signs, which mirroring changes\n"
    return _align(f"""\
{MODELINE}
# Made by `ftlaunch init` for {data.train} training images of {data.class_num} classes.
# First `ftlaunch submit FILE --on local`, which trains on this machine; without --on it goes to your cluster.

Global:
  device: gpu                           # where Launch.gpus is 0, the CPU all the same
  output_dir: /output    # in the pod, and each job's own there: see Launch.volumes
  epochs: {recipe.epochs}
  seed: 0
  print_batch_step: 10                  # a log line every so many steps
  save_interval: {max(1, recipe.epochs // 5)}                      # besides latest and best_model
  eval_during_train: {"True" if data.has_val else "False"}
  eval_interval: {max(1, recipe.epochs // 20)}                      # and after the last epoch
  image_shape: [3, {size}, {size}]         # size 1 of 6 that belong together; --image-size sets all

Arch:
  name: {_text(recipe.arch)}
  class_num: {data.class_num}                         # labels run from 0 to {data.class_num - 1}
{_strides(recipe)}{_pretrained(recipe)}
Loss:
  Train:
    - CELoss:
        weight: 1.0
{f"        epsilon: {recipe.smoothing}                    # label smoothing{_N}" if recipe.smoothing else ""}\
{_CLASS_WEIGHT if recipe.class_weight else ""}\
  Eval:
    - CELoss:
        weight: 1.0

{_optimizer(recipe, wanted)}
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
            scale: [{recipe.smallest_area}, 1.0]          # share of the image that a random crop keeps
{flip if recipe.flip else no_flip}\
        - NormalizeImage:
{_normalize()}
    sampler:
      name: DistributedBatchSampler
      batch_size: {recipe.batch}                    # of each rank
      drop_last: {recipe.drop_last}{_WHY_DROP if recipe.drop_last else ""}
      shuffle: True
    loader:
{_loader()}
{_eval(size, short, recipe.batch) if data.has_val else ""}
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
        topk: {topk}
  Eval:
    - TopkAcc:
        topk: {topk}                    # its first value, top-1, chooses best_model

{write_launch(wanted, volumes_of(wanted, str(data.folder)))}""")


def _strides(recipe: Recipe) -> str:
    if recipe.strides is None:
        return ""
    return f"  stride_list: {list(recipe.strides)}         # all 2 would leave nothing of such small images\n"


def _pretrained(recipe: Recipe) -> str:
    if recipe.pretrained:
        return f"""\
  # Begin with PaddleClas's weights for ImageNet. Where pods have no internet, give them the file of
  # `trainer weights fetch {recipe.arch} --weights-dir FOLDER` on a volume, by `weights` in Launch below.
  pretrained: True
"""
    return f"""\
  # Weights of {recipe.arch} are not here, and none could be fetched: the rate and the epochs below are for a
  # network that knows nothing. With weights a model is better after fewer epochs. Where there is internet:
  # `trainer weights fetch {recipe.arch} --weights-dir FOLDER`; here: FTL_WEIGHTS=FOLDER ftlaunch init …
  # again; and on a cluster FOLDER on a volume, by `weights` in Launch below.
  pretrained: False
"""


def _optimizer(recipe: Recipe, wanted: StarterJob) -> str:
    total = f"{recipe.batch} x {wanted.ranks} ranks = {recipe.batch * wanted.ranks} images a step"
    if recipe.optimizer == "Momentum":
        return f"""\
Optimizer:
  name: Momentum
  momentum: 0.9
  lr:
    name: Cosine
    # A tenth of ImageNet's 0.1 for 256 images a step, because fine-tuning starts from what was learned;
    # for {total}. Scale it with that product.
    learning_rate: {recipe.rate}
    warmup_epoch: {recipe.warmup}
  regularizer:
    name: L2
    coeff: 0.0001
"""
    return f"""\
Optimizer:
  name: AdamW                           # from scratch it needs fewer steps than Momentum
  beta1: 0.9
  beta2: 0.999
  weight_decay: 0.05
  one_dim_param_no_weight_decay: True
  lr:
    name: Cosine
    # For {total}. Scale it with the square root of that product.
    learning_rate: {recipe.rate}
    warmup_epoch: {recipe.warmup}
"""


def with_modeline(content: str) -> str:
    """Put the editor's line first, where there is none yet: editors look for it in the first line only."""
    content = content.removeprefix("\ufeff")
    return content if content.startswith("# yaml-language-server:") else f"{MODELINE}\n{content}"


def add_launch(content: str, values: Mapping[str, object], wanted: StarterJob) -> str:
    """Return a PaddleClas config as it is, and behind it a `Launch` section with volumes for its paths.

    Args:
        content: Of the file; kept to the last character.
        values: That it was parsed to.
        wanted: Of the Launch section.
    """
    end = "" if content.endswith("\n") else "\n"
    return f"{with_modeline(content)}{end}\n{write_launch(wanted, _volumes(values))}"


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


def write_launch(wanted: StarterJob, volumes: list[tuple[str, str, bool, str]]) -> str:
    """Write the `Launch` section."""
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
  # weights: {{claim: weights, path: /weights, local: ./weights}}     # files of pretrained weights
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
{_loader()}
"""


def _loader() -> str:
    return """\
      num_workers: auto                 # reader processes, as many as the pod has cores to spare
      bad_images: skip                  # what cannot be read is named and left out; `error` ends the run
      bad_images_limit: 0.01            # share of the list; where more cannot be read, the run ends"""


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
