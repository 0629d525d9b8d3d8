"""The tab Look inside: what a backbone encodes."""
