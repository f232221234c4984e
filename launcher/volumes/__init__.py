"""Files in and out of the volumes of jobs, resumable and checked by their hashes.

Belongs here: `agent`, the program that runs beside the volume, and what talks to it.
Must not: know a backend or a cluster (they say how the agent is started: `place.Place`), or print.
"""
