"""What passes between launcher, node process and ranks: names, formats, numbers.

Belongs here: a value that two of the three must agree on, with its codec. Standard library only, because
the node process, which must start in milliseconds, and the launcher both import it.
Must not: read the environment, start anything but a child that is tied to its parent (`children`), or know a
backend.
"""
