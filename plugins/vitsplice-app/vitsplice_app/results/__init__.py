"""The tab Results: an evaluation, a study or a batch, read only."""
