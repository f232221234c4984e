"""Training and evaluation: plain functions to which everything is passed in.

Belongs here: the loop, its log lines and metrics, what all ranks agree on, resuming, stopping.
Must not: know an architecture, an image operation or a file format by name; read the environment.
"""
