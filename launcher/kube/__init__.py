"""The only room that imports the Kubernetes client: access, objects, errors, and what is known of PaddleJob."""
