"""The pod's first process: finds the other nodes, starts the ranks of this one, and starts them again.

Belongs here: rendezvous, spawning, tagging of ranks' lines, signals, attempts, liveness, progress.
Must not: import paddle, numpy, a YAML reader or any other room of the trainer but `trainer.protocol`; read a
config; or decide what training does. With `trainer.ranks` it is the only reader of PADDLE_*.

`coordinator` runs on node 0 beside a `member`; every other node runs a `member` alone. A member owns its
`crew` of local ranks and knows nothing of the others; only the coordinator counts and decides.
"""
