"""The tab Results: an evaluation, a study, a batch or a comparison, read only."""
