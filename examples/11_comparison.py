# %% [markdown]
# # What a ViT, a CNN and an untrained ViT encode
# Changes of the features of each backbone when the appearance or the structure of an image changes. Run this file cell
# by cell, or as a script: `python examples/11_comparison.py [BACKBONE ...]`

# %%
import sys

from vitsplice.analysis.compare import ComparisonPlan, compare
from vitsplice.analysis.comparison_statistics import findings
from vitsplice.images import EXAMPLE_PAIRS, example

# Options are those of a Jupyter kernel.
ARGUMENTS = [] if any(word.startswith("-") for word in sys.argv[1:]) else sys.argv[1:]
BACKBONES = ARGUMENTS or ["dinov2-vits14-offline", "efficientnet-lite0-offline", "untrained-dinov2-vits14"]
IMAGES = [path for name in EXAMPLE_PAIRS for path in example(name)]

# %% Without transfers, the comparison takes about half a minute; finished parts are stored, and the same call resumes
plan = ComparisonPlan(tuple(IMAGES), tuple(BACKBONES), transfers=0, style=None)
comparison = compare(plan, "out/example-comparison", force=True)
comparison

# %% The findings as sentences
for sentence in findings(comparison):
    print(sentence)

# %% A single value: PCK after a rotation, by layer
for name, info in comparison.infos.items():
    print(name, [round(comparison.per_image(name, layer, "pck", ["turn"]).mean(), 2) for layer in info.every_layer])
