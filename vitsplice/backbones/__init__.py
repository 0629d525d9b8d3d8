"""Frozen networks that compute features of images. Listing backbones does not load torch."""

NO_LICENCE = "not stated by timm"
RANDOM_WEIGHTS = "random weights"
