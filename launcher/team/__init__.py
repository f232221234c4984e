"""What a team has on a cluster: everybody's jobs of ours, their GPUs, what is free.

Belongs here: the requests for all jobs of a namespace or of a cluster (`gather`), and what is read from
their answers (`team_jobs`, `capacity`), which is pure. Must not: change anything, print, know this machine's
records.
"""
