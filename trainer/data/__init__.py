"""Samples: list files, image operations, the order of an epoch, the loader that makes batches of them.

Belongs here: everything between a file on disk and an array that a network takes.
Must not: import paddle, know a model, a loss or an engine. Random generators come in as arguments.
"""
