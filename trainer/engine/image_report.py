"""What `trainer check` finds of the images that the lists name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trainer.config.data import SplitSection
from trainer.config.ops import DecodeImage
from trainer.config.root import TrainConfig
from trainer.data.bad_images import BadImages, how_to_fix
from trainer.data.image_cache import ImageCache
from trainer.data.image_check import Done, check_images
from trainer.data.lists import SampleList
from trainer.engine.setup import Lists
from trainer.errors import MAX_PROBLEMS_SHOWN, DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoded:
    """Which images were decoded, and what was found that is no reason to refuse them.

    Attributes:
        counts: Of each list: what it is for, how many of its images were decoded, how many it has.
        warnings: A sentence for each image, the first 20, and one that there are more.
    """

    counts: tuple[tuple[str, int, int], ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        said = " and ".join(f"{decoded} of {total} {what}" for what, decoded, total in self.counts)
        some = any(decoded < total for _, decoded, total in self.counts)
        return f"decoded {said} images" + ("; --images all decodes all" if some else "")


def read_images(
    config: TrainConfig, lists: Lists, *, count: int | None, cache: ImageCache | None = None,
    done: Done = lambda _: None,
) -> Decoded:  # fmt: skip
    """Decode images of both lists as training would.

    Args:
        config: Checked.
        lists: Its lists.
        count: Images of each list, spread evenly; None for all.
        cache: What was found before.
        done: Told of each image that something is known of.

    Raises:
        DataError: Images cannot be read that `loader.bad_images` does not bear; names all that were found,
        with their lines.
    """
    problems: list[str] = []
    warnings: list[str] = []
    counts = []
    for what, section, samples in _splits(config, lists):
        chosen = _choose(len(samples), count)
        decode = section.dataset.transform_ops[0]
        verdicts = check_images(
            [samples.paths[index] for index in chosen], max_pixels=config.run.max_image_pixels, cache=cache,
            decode=decode if isinstance(decode, DecodeImage) else None, done=done,
        )  # fmt: skip
        bad, mend = [], how_to_fix(skip=section.loader.bad_images == "skip")
        for index in chosen:
            path = samples.paths[index]
            where = f"{samples.place(index)}: {path}"
            if verdicts[path].problem:
                bad.append(f"{where}: {verdicts[path].problem}; {mend}")
            elif verdicts[path].warning:
                warnings.append(f"{where}: {verdicts[path].warning}")
        loader = section.loader
        if bad and loader.bad_images == "skip":
            borne = BadImages(skip=True, limit=loader.bad_images_limit, samples=samples)
            try:
                borne.refuse_too_many(len(bad))
                warnings += [f"bad image, which is skipped: {sentence}" for sentence in bad]
                bad = []
            except DataError as error:
                problems += error.problems
        problems += bad
        counts.append((what, len(chosen), len(samples)))
    if problems:
        raise DataError(problems)
    more = len(warnings) - MAX_PROBLEMS_SHOWN
    rest = [f"and {more} more images"] if more > 0 else []
    return Decoded(counts=tuple(counts), warnings=(*warnings[:MAX_PROBLEMS_SHOWN], *rest))


def _splits(config: TrainConfig, lists: Lists) -> Iterator[tuple[str, SplitSection, SampleList]]:
    yield "training", config.data.Train, lists.train
    if lists.evaluation is not None and config.data.Eval is not None:
        yield "evaluation", config.data.Eval, lists.evaluation


def _choose(total: int, count: int | None) -> list[int]:
    """Return so many places of a list, from its first to its last."""
    if count is None or count >= total:
        return list(range(total))
    return [place * (total - 1) // max(1, count - 1) for place in range(count)]
