"""The only room that imports the Kubernetes client: access, objects, errors, facts of PaddleJob."""
