"""Which device a command computes on, where the config asks for a GPU."""

from __future__ import annotations

from typing import TypeVar

import paddle

from trainer.config.root import BaseConfig
from trainer.errors import DeviceError
from trainer.ranks import Ranks

ConfigT = TypeVar("ConfigT", bound=BaseConfig)


def settle_device(config: ConfigT, ranks: Ranks) -> tuple[ConfigT, str | None]:
    """Return the config with the device that there is, and a line for people where that is another one.

    Raises:
        DeviceError: The job was promised GPUs and there is none; or the GPU that is named is not there.
    """
    wanted = config.run.device
    if not config.run.on_gpu:
        return config, None
    built = paddle.is_compiled_with_cuda()
    count = paddle.device.cuda.device_count() if built else 0
    if not count:
        reason = "no GPU is visible here" if built else "this Paddle is built for CPUs only"
        if ranks.gpus_promised:
            mend = (
                "ask what the node has by `nvidia-smi`, and for its driver"
                if built
                else "use an image with paddlepaddle-gpu (Launch.image)"
            )
            raise DeviceError(
                where="Global.device",
                expected="a GPU for each rank, as the job asked for",
                got=f"none: {reason}",
                fix=f"{mend}, or submit with --gpus 0",
            )
        run = config.run.model_copy(update={"device": "cpu"})
        note = f"Global.device: {wanted}: {reason}; running on the CPU"
        return config.model_copy(update={"run": run}), note
    _, _, number = wanted.partition(":")
    if number and int(number) >= count:
        raise DeviceError(
            where="Global.device", expected=f"a GPU from gpu:0 to gpu:{count - 1}", got=repr(wanted)
        )
    if number and ranks.world_size > 1:
        raise DeviceError(
            where="Global.device",
            expected=f"'gpu' with {ranks.world_size} ranks, of which each has its own",
            got=repr(wanted),
        )
    return config, None
