"""What docker and local share: one supervisor process a job plays the controller of the rendered manifest.

`backend` is what callers see; `supervisor` is the loop of the process that it starts and that outlives it.
They meet in the run folder (`state`) and nowhere else. How a pod is run is a `Kubelet`, of which each backend
has its own. Must not: know what a container is.
"""
