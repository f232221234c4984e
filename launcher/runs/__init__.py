"""The run folders on this machine: what was submitted, from where, with which manifest.

One folder a job under `$FTLAUNCH_STATE` (else the state folder of the platform), written before the first
request goes out, so that an interrupted submit is found again.
"""
