"""The use cases: what can be done with a job, as functions and small classes for any caller.

Belongs here: `submit` (with `options`, `prepare`, `host_folders`), `resolve` (which job is
meant), `lifecycle` (status, why, cancel, resume, delete), `wait`, `logs`, `listing`, `checkpoints`, `data`,
`validate`, `examination` (doctor), and what they share: `notes`, `retry` while a cluster does not answer,
`recovery` of submits that were cut off.
Must not: print, exit, ask a person, install signal handlers, or know of a command line. What a person should
know meanwhile is handed to an observer (`notes`), in the order in which it happens; errors are those of
`launcher.errors`.
"""
