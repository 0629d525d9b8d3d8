"""Training of one conditional generator on many pairs of images."""
