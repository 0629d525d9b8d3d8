# %% [markdown]
# # A run and a viewer of matches, live in a notebook
# Run this file cell by cell, in Jupyter or an editor, or as a script:
# `python examples/15_notebook.py [BACKBONE PRESET]`

# %%
import sys

import vitsplice
from vitsplice.analysis.correspondence import match_images, save
from vitsplice.images import example
from vitsplice.notebook import Preview

# Options are those of a Jupyter kernel.
ARGUMENTS = [] if any(word.startswith("-") for word in sys.argv[1:]) else sys.argv[1:]
BACKBONE, PRESET = ARGUMENTS or ("dinov2-vits14-offline", "quick")
structure, appearance = example("cat-dog")

# %% The output image changes while the run takes its steps
result = vitsplice.splice(structure, appearance, PRESET, backbone=BACKBONE, on_step=Preview())
result

# %% Click on a patch in one image to see what is similar to it in the other
matches = match_images(structure, appearance, backbone=BACKBONE)
matches

# %% Matches by one feature of one layer
match_images(structure, appearance, backbone=BACKBONE, facet="query", layer=0)

# %% Save the result and the viewer to folders
print("saved:", result.save("out/example-notebook", force=True))
print("saved:", save(matches, "out/example-matches", limit=60, force=True))
