"""Dense semantic correspondence of two images, from the features of any backbone."""

from vitsplice.matching.assignment import assignment, most_similar, usable
from vitsplice.matching.correspondence import Correspondence, correspond, match_descriptions
from vitsplice.matching.description import Description, describe_image
from vitsplice.matching.descriptors import describe, descriptor_requests, join_features, similarity
from vitsplice.matching.guide import MatchVectors, match_vectors

__all__ = [
    "Correspondence",
    "Description",
    "MatchVectors",
    "assignment",
    "correspond",
    "describe",
    "describe_image",
    "descriptor_requests",
    "join_features",
    "match_descriptions",
    "match_vectors",
    "most_similar",
    "similarity",
    "usable",
]
