"""Transfer an appearance with a few steps of the preset quick, and save the result.

python examples/01_transfer.py [STRUCTURE APPEARANCE]
"""

import sys

import vitsplice
from vitsplice.images import example

structure, appearance = sys.argv[1:] or example()
result = vitsplice.splice(
    structure,
    appearance,
    preset="quick",
    steps=10,
    on_step=lambda step, run: print(f"step {step.index + 1}: {step.total:.4g}"),
)
print("backbone:", result.settings.backbone.name)
print("saved to:", result.save("out/example-transfer", force=True))
