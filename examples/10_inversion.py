# %% [markdown]
# # What a feature holds: images made from it alone
# [CLS] keeps what there is without where it is; keys keep where. Run it cell by cell, or whole:
# `python examples/10_inversion.py [BACKBONE [STEPS]]`

# %%
import sys

from vitsplice import load_backbone
from vitsplice.analysis.inversion import invert, requests_of, settings_of
from vitsplice.images import encode_png, example

ARGUMENTS = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
BACKBONE = ARGUMENTS[0] if ARGUMENTS else "dinov2-vits14-offline"
STEPS = int(ARGUMENTS[1]) if len(ARGUMENTS) > 1 else 60

# %% The feature of either role, at the last layer: few steps, to see how it goes; the preset's own number is better
requests = requests_of(load_backbone(BACKBONE).info)
settings = {request: settings_of(request, backbone=BACKBONE, steps=STEPS) for request in requests}
inversions = invert(example("cat-dog")[0], settings)
inversions

# %% How much of each feature is missing still
for request, left in inversions.left.items():
    print(f"{request}: {left:.3g} left")

# %% The sheet as an image
with open("inversions.png", "wb") as file:
    file.write(encode_png(inversions.sheet))
print("saved: inversions.png")
