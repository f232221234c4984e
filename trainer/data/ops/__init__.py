"""Image operations, a small file a group; `build` makes a transform of those that a config lists.

Belongs here: one implementation for each spec in `trainer.config.ops`, registered against it.
Must not: draw from any generator but those handed in.
"""
