"""The `Launch` section and the RunConfig: what the user wrote and typed, checked and frozen.

Belongs here: the section's model, loading with line and column, precedence of flags over the file.
Must not: decide names or environment (`plan`), or know a backend. Of the trainer it imports `config` and
`protocol` only.
"""
