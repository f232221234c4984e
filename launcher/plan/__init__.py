"""RunConfig -> JobPlan: every name, rank, environment variable, argument, mount and resource decided.

Pure: no clock, no random numbers, no files, no environment. What varies is handed in.
"""
