"""Semantic correspondence as a benchmark: keypoints of pairs of images, found again by features (PCK)."""

from vitsplice.keypoints.benchmark import Plan, benchmark
from vitsplice.keypoints.find import find
from vitsplice.keypoints.pairs import DataSet, Flaw, Pair, View

__all__ = ["DataSet", "Flaw", "Pair", "Plan", "View", "benchmark", "find"]
