# %% [markdown]
# # Parts of objects in the principal components of a backbone's features
# Colours are comparable between the images of one call. Run this file cell by cell, or as a script:
# `python examples/09_pca.py [BACKBONE]`

# %%
import sys

from vitsplice.analysis.pca import pca, save
from vitsplice.images import example

# Options are those of a Jupyter kernel.
ARGUMENTS = [] if any(word.startswith("-") for word in sys.argv[1:]) else sys.argv[1:]
BACKBONE = ARGUMENTS[0] if ARGUMENTS else "dinov2-vits14-offline"

# %% All layers of the cat and the dog; a notebook displays the result
maps = pca(example("cat-dog"), backbone=BACKBONE, size=224)
maps

# %% Decompose the features of the last layer instead of their self-similarity
features = pca(example("cat-dog"), backbone=BACKBONE, size=224, decompose="features", layer=-1)
print("variance explained by three components:", features.explained_variance)
features

# %% Save to a folder
print("saved:", save(maps, "out/example-pca", force=True))
