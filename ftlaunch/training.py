"""Training in this process, and what comes before and after it: `trainer.api` and `trainer.preparation`.

Most need what the trainer needs (the extra `trainer` or `gpu`), and raise `MissingPackagesError` without it.
Paddle is imported when one of them is first called.
"""

from ftlaunch.boundary import api
from trainer import api as training
from trainer import preparation
from trainer.batch_size import fit_batch as _fit_batch
from trainer.comparison import compare_weights as _compare_weights
from trainer.data_reporting import report_data as _report_data

__all__ = [
    "average_checkpoints",
    "check",
    "compare_weights",
    "convert_weights",
    "evaluate",
    "export",
    "fetch_weights",
    "find_rate",
    "fit_batch",
    "inspect_weights",
    "list_weights",
    "make_lists",
    "predict",
    "profile_steps",
    "report_data",
    "resize",
    "train",
]

average_checkpoints = api(training.average_checkpoints)
evaluate = api(training.evaluate)
export = api(training.export)
predict = api(training.predict)
train = api(training.train)
check = api(preparation.check)
convert_weights = api(preparation.convert_weights)
fetch_weights = api(preparation.fetch_weights)
find_rate = api(preparation.find_rate)
inspect_weights = api(preparation.inspect_weights)
list_weights = api(preparation.list_weights)
make_lists = api(preparation.make_lists)
profile_steps = api(preparation.profile_steps)
resize = api(preparation.resize)
fit_batch = api(_fit_batch)
compare_weights = api(_compare_weights)
report_data = api(_report_data)
