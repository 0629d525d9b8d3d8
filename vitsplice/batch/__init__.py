"""Batches: every pair of a manifest with every variant of the settings, run by an executor.

`plan` lists the jobs and their folders, `worker` runs one job, `records` stores finished and failed jobs, and `driver`
hands jobs to the executor. A job is finished if its run folder says so; lost records of finished jobs are rebuilt
from the run folders.
"""
