"""From a network's probabilities to what people and programs read: `Infer.PostProcess`.

Belongs here: one function a declared name. NumPy only. Must not: import paddle, read images, know a model.
"""
