"""Benchmarks of semantic correspondence: percentage of correct keypoints (PCK) on pairs of images."""

from vitsplice.keypoints.benchmark import KeypointBenchmark, run_benchmark
from vitsplice.keypoints.dataset import KeypointDataset, KeypointImage, KeypointPair, UnusablePair
from vitsplice.keypoints.loading import load_dataset

__all__ = [
    "KeypointBenchmark", "KeypointDataset", "KeypointImage", "KeypointPair", "UnusablePair", "load_dataset",
    "run_benchmark",
]  # fmt: skip
