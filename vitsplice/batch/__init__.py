"""Batches: every pair of a manifest with every variant of the settings, run by an executor.

`plan` lists the jobs and their folders, `worker` runs one job, `records` stores finished and failed jobs, and `driver`
hands jobs to the executor. A job is finished if it has a record with the same inputs, and its run folder exists. If
it has none, the ``run.json`` in its run folder says whether it is finished, and the lost record is rebuilt.

Without jobs, `transfers` applies a model and `lut_images` a LUT to many images.
"""
