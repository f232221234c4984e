"""The PaddleClas grammar: reading, overriding and checking a config.

Belongs here: every name and parameter that a config may hold, specified once with type, default, meaning and
refusal. The implementations elsewhere in `trainer` register against these specs.
Must not: import paddle or numpy (the launcher validates with this room), or touch data.
"""
