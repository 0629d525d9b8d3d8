"""Dense semantic correspondence of images, from the features of any backbone."""

from vitsplice.matching.assignment import assignment, most_similar_patches
from vitsplice.matching.correspondence import Correspondence, MatchedImage, concatenated
from vitsplice.matching.coverage import usable
from vitsplice.matching.description import Description, describe_image
from vitsplice.matching.descriptors import describe, descriptor_requests, join_features, similarity
from vitsplice.matching.guide import MatchVectors, match_vectors
from vitsplice.matching.match import Candidate, Preference, correspond, match_candidates, match_descriptions
from vitsplice.matching.regions import MaskedRegion

__all__ = [
    "Candidate",
    "Correspondence",
    "Description",
    "MaskedRegion",
    "MatchVectors",
    "MatchedImage",
    "Preference",
    "assignment",
    "concatenated",
    "correspond",
    "describe",
    "describe_image",
    "descriptor_requests",
    "join_features",
    "match_candidates",
    "match_descriptions",
    "match_vectors",
    "most_similar_patches",
    "similarity",
    "usable",
]
