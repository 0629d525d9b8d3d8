# %% [markdown]
# # Feature inversion: images optimised to match one feature
# [CLS] encodes appearance without layout; keys encode the layout. Run this file cell by cell, or as a script:
# `python examples/10_inversion.py [BACKBONE [STEPS]]`

# %%
import sys

from vitsplice.analysis.inversion import invert, plan_inversions
from vitsplice.images import encode_png, example

# Options are those of a Jupyter kernel.
ARGUMENTS = [] if any(word.startswith("-") for word in sys.argv[1:]) else sys.argv[1:]
BACKBONE = ARGUMENTS[0] if ARGUMENTS else "dinov2-vits14-offline"
STEPS = int(ARGUMENTS[1]) if len(ARGUMENTS) > 1 else 60

# %% The structure and the appearance feature, few steps; without `steps=` there are more, and the images are better
plan = plan_inversions(example("cat-dog")[0], backbone=BACKBONE, steps=STEPS)
inversions = invert(plan)
inversions

# %% The final loss of each feature
for request, loss in inversions.losses.items():
    print(f"{request}: {loss:.3g}")

# %% The contact sheet as a PNG
with open("inversions.png", "wb") as file:
    file.write(encode_png(inversions.sheet))
print("saved: inversions.png")
