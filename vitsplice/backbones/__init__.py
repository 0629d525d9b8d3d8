"""Frozen networks whose features losses compare. Listing backbones does not load torch."""

NO_LICENCE = "not stated by timm"
RANDOM_WEIGHTS = "random weights"
