"""Dense semantic correspondence of two images, from the features of any backbone."""

from vitsplice.matching.assignment import assignment, usable
from vitsplice.matching.correspondence import Correspondence, correspond
from vitsplice.matching.descriptors import describe, descriptor_requests, join_features, similarity

__all__ = [
    "Correspondence",
    "assignment",
    "correspond",
    "describe",
    "descriptor_requests",
    "join_features",
    "similarity",
    "usable",
]
