"""Sends what a training measures to experiment trackers, in processes of their own.

Belongs here: the protocol of a tracker (`tracker`), those that come along, and the process that reads
metrics.jsonl and sends it (`delivery`). Must not: import paddle or the trainer's inside, or be imported by a
training; what others exchange with the process stands in `trainer.protocol.tracking`.
"""

from trainer.protocol.tracking import Ending
from trainer.trackers.tracker import Row, Run, Tracker, TrackerError

__all__ = ["Ending", "Row", "Run", "Tracker", "TrackerError"]
