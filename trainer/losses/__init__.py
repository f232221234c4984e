"""Losses that `Loss.Train` and `Loss.Eval` name."""
