"""The pod's first process: finds the other nodes, starts the ranks of this one, and starts them again.

Belongs here: rendezvous, spawning, tagging of ranks' lines, signals, attempts, liveness, progress.
Must not: import paddle, numpy, a YAML reader or any other room of the trainer but `trainer.protocol`; read a
config; or decide what training does. With `trainer.ranks` it is the only reader of PADDLE_*.

`coordinator` runs on node 0 beside an `agent`; every other node runs an `agent` alone. An agent owns the
`worker_group` of its ranks and knows nothing of other nodes; the coordinator alone counts and decides
(`decisions`), one `attempt` after the other, and keeps count on disk (`attempt_store`). They talk by sealed
lines (`messages`, `channel`, `peers`, `proof`).
"""
