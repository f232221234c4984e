"""Why a job stands as it does: snapshots of a cluster's objects -> verdicts.

Belongs here: what is gathered (`gather`), what a rule may look at (`snapshot`), the rules, one file a family,
the table of all verdicts (`codes`), and the same knowledge asked before a job is sent (`preflight`).
Must not: change anything anywhere, print, or say otherwise than `launcher.backends.kubernetes.status` does
about the state of a job; rules are pure.
"""
