"""Pods' logs -> one merged, tagged stream. Knows no backend: it reads lines from sources."""
