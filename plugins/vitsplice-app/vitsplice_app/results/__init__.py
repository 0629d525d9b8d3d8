"""The tab Results: evaluations, studies, batches and comparisons in the folder of ``--folder``, read only."""
