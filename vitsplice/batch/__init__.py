"""Batches: every pair of a manifest with every variant of the settings, run by an executor.

`plan` lists the jobs and their folders, `worker` runs one job, `records` stores finished and failed jobs, and `driver`
hands jobs to the executor. A run folder is the proof that a job is finished; everything else can be rebuilt from them.
"""
