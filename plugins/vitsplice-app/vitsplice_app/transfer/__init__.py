"""The tab Transfer: the structure of one image, the appearance of another."""
