"""What differs between the kinds of job objects that a cluster may run a job as: one module a kind.

Pure. `base` is what is asked of a kind, `registry` lists them, `pods` reads a pod of whichever kind. Nothing
here sends a request, and nothing outside compares the name of a kind.
"""
