"""Human studies: which of two outputs people prefer. A page that asks, and the analysis of what was answered."""
