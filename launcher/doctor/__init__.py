"""Is everything there that a job needs? Checks of a cluster, of a container engine and of this machine.

Belongs here: one function a check, which returns findings and how to fix them, and `run_checks` for all of
them at once.
Must not: print, or change anything but remove what interrupted submits have left.
"""
