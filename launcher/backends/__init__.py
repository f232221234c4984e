"""What acts on a manifest: kubernetes posts it, docker and local run its pods here.

Belongs here: `base` (what every backend can do), one module or package a backend, and `replicas`, which
expands a manifest into pods as the training operator does. Backends do not import each other.
Must not: decide anything that stands in the manifest, or print.
"""
