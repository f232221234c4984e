"""JobPlan -> Manifest: Jinja2 templates, filters, and the check that what was rendered is what was meant.

Pure but for reading the templates. What is rendered here is the very text that is printed, posted to a
cluster, or interpreted by the docker and local backends.
"""
