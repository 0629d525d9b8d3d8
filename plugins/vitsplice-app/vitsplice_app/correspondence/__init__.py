"""The tab Correspondence: which patches of two images match."""
