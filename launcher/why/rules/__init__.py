"""The rules: functions from a snapshot to verdicts, one file a family. Pure."""
