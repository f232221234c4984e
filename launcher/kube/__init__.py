"""The Kubernetes API as this project uses it: one way in, one synchronous and one asynchronous client.

How a cluster is reached, and as whom, is decided in `access` alone (of `kubeconfig`, `endpoint`, `proxy`,
`identity` and `plugin`). All that is sent goes that way: objects and watches (`client` over `transport` and
`connections`), followed logs (`async_client` over `stream`), and programs in pods (`exec`, WebSockets by the
library `websocket-client`). `http` is the one parser of answers, and the one place that writes requests.
`api` is the seam that backends call and tests stand in for; `failures` says what refusals mean.
Must not: know a backend or a manifest's meaning, decide what to do about an answer, or print.
"""
