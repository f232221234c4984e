"""Studies: several jobs of one config, each with other values, and which of them was the best.

Belongs here: what is varied (`space`), the record of a study (`study`), its trials in optuna's journal
(`trials`), their jobs (`trial_jobs`), the loop that starts, watches and prunes them (`driver`), and what
comes of it (`results`, `page`, `suggest`). A trial is an ordinary job; all that is done with one is a use
case of `launcher.jobs`. Must not: print, know a command line, or import optuna before a study is opened: it
takes longer than a submit.
"""
