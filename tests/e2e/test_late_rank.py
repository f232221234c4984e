from __future__ import annotations

# gloo's patience is 30 s.
CODE = """
import os, time
from trainer.extra import register_op

@register_op("Late")
def late():
    slept = []
    def operation(image, draws):
        if os.environ["PADDLE_TRAINER_ID"] == "1" and not slept:
            slept.append(time.sleep(33))
        return image
    return operation
"""


def test_a_rank_that_is_half_a_minute_late_does_not_end_the_others(place, write_config):
    (place.folder / "code").mkdir()
    (place.folder / "code/my_parts.py").write_text(CODE)
    cfg = write_config(
        Global__epochs=1, Global__eval_during_train=False,
        DataLoader__Train__dataset__transform_ops=[
            {"DecodeImage": {}}, {"Late": {}}, {"NormalizeImage": {"order": ""}},
        ],
        Launch={
            "extra_modules": ["/code/my_parts.py"], "nodes": 2,
            "volumes": [{"mount": "/code", "local": "code", "read_only": True}],
        },
    )  # fmt: skip
    done = place.run("ftlaunch", "submit", cfg, "--on", "local", "--wait", code=None, timeout_s=300)
    assert done.returncode == 0, place.run("ftlaunch", "logs", "--attempt", "all", code=None).stdout
    assert {row["attempt"] for row in place.rows() if row["event"] == "step"} == {1}
