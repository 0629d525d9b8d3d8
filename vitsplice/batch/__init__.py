"""Batches: every pair of a manifest with every variant of the settings, run by an executor.

`plan` lists the jobs and their folders, `worker` runs one job, `records` stores finished and failed jobs, and `driver`
hands jobs to the executor. A job is finished if it has a record with the same inputs, and its run folder exists.
Without such a record, the ``run.json`` in the run folder says whether the job is finished; the record is then rebuilt.

Without jobs, `transfers` applies a model to many images, and `lut_images` applies a LUT.
"""
