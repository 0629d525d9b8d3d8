"""The built-in loss terms: their names, options, and the images that they compare. Listing them does not load torch."""

from __future__ import annotations

from dataclasses import replace

from vitsplice.contracts import POSITIONS_COUNT, LossSpec, Option
from vitsplice.support.lazy import lazy

FORM = Option(
    "mse",
    "mse: as in the released code; norm: as in the paper, not squared; relative: squared error divided by the target's "
    "squared deviation from its mean",
    choices=("norm", "mse", "relative"),
)
DEPTH = Option(
    1.0,
    "relative depth of the layer, if no layer is given; 0: the first layer; 1: the backbone's default layer",
    minimum=0.0,
    maximum=1.0,
)
DEPTHS = Option(
    [0.17, 0.33, 0.5, 0.67, 0.83],
    "relative depths of the layers that are compared; 0: the first layer; 1: the last",
    minimum=0.0,
    maximum=1.0,
)
GUIDANCE = {
    "temperature": Option(
        0.02, "temperature of the assignment that weights the target's patches", minimum=1e-4, maximum=10.0
    ),
    "uniform": Option(
        0.3, "0: target patches are weighted by the assignment; 1: all equally", minimum=0.0, maximum=1.0
    ),
}
NEIGHBOURHOODS = {
    "neighbourhood": Option(
        0.07, "side of a neighbourhood as a fraction of the shorter side of the view", minimum=0.001, maximum=1.0
    ),
    "temperature": replace(GUIDANCE["temperature"], default=0.05),
}

APPEARANCE = LossSpec(
    "appearance",
    lazy("vitsplice.losses.splice", "appearance"),
    "distance of the output's [CLS] token from the appearance image's (paper, equation 3)",
    input="structure",
    target="appearance",
    options={"form": FORM},
)
STRUCTURE = LossSpec(
    "structure",
    lazy("vitsplice.losses.splice", "structure"),
    "distance of the output's key self-similarity from the structure image's (paper, equations 2 and 4)",
    input="structure",
    target="structure",
    options={
        "form": FORM,
        "depth": DEPTH,
        "grid": Option(
            0, "larger grids are pooled to at most this height and width; 0: no pooling", minimum=0, maximum=512
        ),
    },
)
IDENTITY = LossSpec(
    "identity",
    lazy("vitsplice.losses.splice", "identity"),
    "distance of keys between the appearance image and the generator's output for it (paper, equation 5)",
    input="appearance",
    target="appearance",
    options={"form": FORM},
)
FEATURE = LossSpec(
    "feature",
    lazy("vitsplice.losses.splice", "identity"),
    "distance of one feature of the output from the structure image's: feature inversion",
    input="structure",
    target="structure",
    options={"form": replace(FORM, default="relative")},
)
TEXTURE = LossSpec(
    "texture",
    lazy("vitsplice.losses.guided", "texture"),
    "distance of tokens from those of corresponding patches (relaxed earth mover's distance, guided)",
    input="structure",
    target="appearance",
    options={
        "guide": Option(1.5, "weight of the correspondence in the cost", minimum=0.0, maximum=1e6),
        "depths": DEPTHS,
        "samples": Option(
            0, "number of random positions in the output; 0: all patches", minimum=0, maximum=POSITIONS_COUNT // 2
        ),
        **GUIDANCE,
    },
)
STATISTICS = LossSpec(
    "statistics",
    lazy("vitsplice.losses.guided", "statistics"),
    "distance of the mean and standard deviation of each channel from those of corresponding patches",
    input="structure",
    target="appearance",
    options={"depths": DEPTHS, **GUIDANCE},
)
CONTRAST = LossSpec(
    "contrast",
    lazy("vitsplice.losses.contrast", "contrast"),
    "lack of local contrast, compared with corresponding neighbourhoods",
    input="structure",
    target="appearance",
    options={
        "share": Option(0.6, "minimum fraction of the corresponding contrast", minimum=0.0, maximum=1.0),
        "tolerance": Option(
            0.06,
            "maximum by which contrast is below the corresponding one (white: lightness 1)",
            minimum=0.0,
            maximum=1.0,
        ),
        **NEIGHBOURHOODS,
    },
)
GRAIN = LossSpec(
    "grain",
    lazy("vitsplice.losses.grain", "grain"),
    "fine variation that neither the structure image nor corresponding neighbourhoods have",
    input="structure",
    target="appearance",
    options={
        "limit": Option(
            1.2, "multiple of the images' fine variation up to which there is no excess", minimum=0.0, maximum=1e3
        ),
        **NEIGHBOURHOODS,
    },
)
PATCHES = LossSpec(
    "patches",
    lazy("vitsplice.losses.guided", "patches"),
    "distance of the distribution of Lab patches from the appearance image's (sliced Wasserstein distance)",
    input="structure",
    target="appearance",
    options={
        "size": Option(7, "side of a patch in pixels", minimum=1, maximum=64),
        "stride": Option(5, "distance between patches in pixels", minimum=1, maximum=64),
        "directions": Option(64, "number of random directions", minimum=1, maximum=4096),
        **GUIDANCE,
    },
)
EDGES = LossSpec(
    "edges",
    lazy("vitsplice.losses.guided", "edges"),
    "distance of lightness gradients from those of the start image, at its strong edges",
    input="structure",
    target="start",
    options={"sharpness": Option(1.0, "the greater, the fewer edges count", minimum=0.0, maximum=100.0)},
)
SMOOTHNESS = LossSpec(
    "smoothness",
    lazy("vitsplice.losses.guided", "smoothness"),
    "total variation of lightness and chroma",
    input="structure",
    target="structure",
    options={
        "light": Option(0.05, "weight of lightness", minimum=0.0, maximum=1e6),
        "chroma": Option(1.0, "weight of chroma", minimum=0.0, maximum=1e6),
    },
)

TERMS = (APPEARANCE, STRUCTURE, IDENTITY, FEATURE, TEXTURE, STATISTICS, CONTRAST, GRAIN, PATCHES, EDGES, SMOOTHNESS)
