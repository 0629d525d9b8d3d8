# %% [markdown]
# # Parts of images, by the principal components of a backbone's features
# Images that are looked at together share their colours. Run it cell by cell, or whole:
# `python examples/09_pca.py [BACKBONE]`

# %%
import sys

from vitsplice.analysis.pca import pca, save
from vitsplice.images import example

BACKBONE = sys.argv[1] if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "dinov2-vits14-offline"

# %% All layers of the cat and the dog; in a notebook a result shows itself
maps = pca(example("cat-dog"), backbone=BACKBONE, size=224)
maps

# %% The last layer's features as they are, in place of their self-similarity
features = pca(example("cat-dog"), backbone=BACKBONE, size=224, decompose="features", layer=-1)
print("variance that three components explain:", features.explained_variance)
features

# %% Kept in a folder
print("saved:", save(maps, "out/example-pca", force=True))
