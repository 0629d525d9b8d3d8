"""Dense semantic correspondence of two images, from the features of any backbone."""

from vitsplice.matching.assignment import Correspondence, assign, assignment, usable
from vitsplice.matching.descriptors import describe, descriptor_requests, joined, similarity
from vitsplice.matching.pair import correspond

__all__ = [
    "Correspondence",
    "assign",
    "assignment",
    "correspond",
    "describe",
    "descriptor_requests",
    "joined",
    "similarity",
    "usable",
]
