"""Metrics that `Metric.Train` and `Metric.Eval` name."""
