"""Is everything there that a job needs? Checks of a cluster, of a container engine and of this machine.

Belongs here: one function a check, which returns findings with their cures, and `run` for all at once.
Must not: print, or change anything but remove what interrupted submits have left.
"""
