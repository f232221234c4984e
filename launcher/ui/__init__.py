"""A local page over all runs of this machine, and over a namespace: `ftlaunch ui`.

A request is let in by `guard`, answered by `app`, and drawn by `pages`, from what `launcher.jobs` knows.
While a page is open it holds a stream of events (`stream`), and only while it does, a `watch` asks how jobs
stand. Must not: print, know a command line, ask a cluster for a page that nobody holds open, or load anything
from elsewhere.
"""
