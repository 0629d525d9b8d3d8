"""IoU from a torchvision segmentation network, whose weights must be on this machine: none are downloaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vitsplice.backbones.hub import torch_cache
from vitsplice.backbones.inputs import Resize
from vitsplice.backbones.weights import load_into
from vitsplice.contracts import Case, Metric, MetricContext
from vitsplice.errors import WeightsRejected, WeightsUnavailable, allocation_failure
from vitsplice.metrics.segments import mean_iou
from vitsplice.rng import private_rng
from vitsplice.support.files import file_sha256
from vitsplice.text import first_line, printable

VARIABLE = "VITSPLICE_SEGMENTER"
"""Environment variable with the path of a file of weights."""

MODELS = ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "deeplabv3_resnet101")
"""Networks; the name of a file of weights begins with the name of its network."""

SHORTER_SIDE = 520
"""Shorter side of the network's input, in pixels."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def torchvision_iou(context: MetricContext) -> Metric:
    """Build the metric: IoU of the segmentations of output and structure image, averaged over classes.

    Classes that do not occur in the structure image are not counted. Both images are resized to one size.
    """
    path = weights_file()
    network = load(path).to(context.device)

    def value(case: Case) -> float:
        size = _size(case.structure)
        structure, output = (classify(network, Resize().to(image, size)) for image in (case.structure, case.output))
        return mean_iou(output, structure)

    file = {"file": printable(path.name), "sha256": file_sha256(path)}
    return Metric(value, parameters={"model": _model(path), **file, "shorter_side": SHORTER_SIDE})


def weights_file() -> Path:
    """Return the file that `VARIABLE` names; if it is not set, weights of the first of `MODELS` in torch hub's cache.

    Raises:
        WeightsUnavailable: if `VARIABLE` is not the path of a file; or if it is not set, and the cache has no weights.
    """
    if path := os.environ.get(VARIABLE):
        if not os.path.isfile(path):
            raise WeightsUnavailable(
                f"{VARIABLE} is not the path of a file: {printable(path)}; set it to a file of weights, or unset it to "
                "use torch hub's cache"
            )
        return Path(path)
    files = [path for model in MODELS for path in sorted(torch_cache().glob(f"{model}*.pth"))]
    if not files:
        raise WeightsUnavailable(
            f"torch hub's cache has no weights of a torchvision segmentation network; put a file there whose name "
            f"begins with one of {', '.join(MODELS)}, or set {VARIABLE}=FILE"
        )
    return files[0]


def load(path: Path) -> nn.Module:
    """Load a segmentation network from a file of weights. Code in a pickle is refused, never run.

    Raises:
        WeightsRejected: if the file's name does not begin with one of `MODELS`, or its weights do not fit that model.
    """
    from torchvision.models import segmentation

    shown, model = printable(str(path)), _model(path)
    if not model:
        raise WeightsRejected(f"the name of '{shown}' must begin with one of {', '.join(MODELS)}")
    try:
        state = _checked(torch.load(path, map_location="cpu", weights_only=True))
        aux = {"aux_loss": any(name.startswith("aux_") for name in state)} if model.startswith("deeplab") else {}
        # The bias of the last layer has one value for each class.
        biases = [bias for name, bias in state.items() if name.endswith(".bias") and "aux" not in name]
        if not biases:
            raise ValueError("it has no biases")
        with private_rng(0):
            network: nn.Module = getattr(segmentation, model)(
                weights=None, weights_backbone=None, num_classes=len(biases[-1]), **aux
            )
        load_into(network, state, "its state dict")
    except Exception as error:  # a hostile file can make a reader raise anything
        if allocation_failure(error):
            raise
        why = first_line(error)
        raise WeightsRejected(f"'{shown}' does not hold weights of torchvision's {model}: {printable(why)}") from error
    return network.eval().requires_grad_(False)


def _checked(content: Any) -> Mapping[str, Tensor]:
    """Return the content of a file if it is a state dict. Raises ValueError otherwise."""
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError("it is not a state dict, which has a tensor for each name; save `model.state_dict()` only")
    return content


def classify(network: nn.Module, image: Tensor) -> Tensor:
    """Classify each pixel of an image ``(1, 3, H, W)``; return classes ``(H, W)``."""
    mean, std = (image.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    scores: Tensor = network((image - mean) / std)["out"]
    return scores[0].argmax(0)


def _size(image: Tensor) -> tuple[int, int]:
    height, width = image.shape[-2:]
    scale = SHORTER_SIDE / min(height, width)
    return round(height * scale), round(width * scale)


def _model(path: Path) -> str:
    return next((model for model in MODELS if path.name.startswith(model)), "")
