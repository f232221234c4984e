"""The command line: one file a command, which parses, calls and prints. Nothing else prints or exits.

The group imports a command's module when the command is named, so that `--help` stays fast.
"""
