"""Many runs: every pair of a manifest with every variant of the settings, done by an executor.

`plan` says what there is to do and where it goes, `worker` does one job, `ledger` knows what is done, and `drive`
brings them together. What is done lies in the run folders; all else can be lost and made again.
"""
