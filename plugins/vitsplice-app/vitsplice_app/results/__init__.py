"""The tab Results: evaluations, studies, batches and comparisons in the folder of the server, read only."""
