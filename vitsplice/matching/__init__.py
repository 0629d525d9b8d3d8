"""Dense semantic correspondence of two images, from the features of any backbone."""

from vitsplice.matching.assignment import assignment, usable
from vitsplice.matching.correspondence import Correspondence, correspond
from vitsplice.matching.descriptors import describe, descriptor_requests, join_features, similarity
from vitsplice.matching.guide import MatchVectors, match_vectors

__all__ = [
    "Correspondence",
    "MatchVectors",
    "assignment",
    "correspond",
    "describe",
    "descriptor_requests",
    "join_features",
    "match_vectors",
    "similarity",
    "usable",
]
