"""Checkpoints: where they lie, how they are written so that none is ever torn, and how they are read back.

Belongs here: the store (atomic folders with a manifest of sizes and hashes), the training state beside the
weights, PaddleClas's files and names. Must not: know a model or an optimizer; it takes and gives arrays.
"""
