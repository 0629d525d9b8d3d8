"""Base class of backbones that are frozen torch modules: it checks and normalises the images."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from typing import Any, NotRequired, Self, TypedDict

import torch
from torch import Tensor, nn

from vitsplice.backbones.inputs import check_inputs, normalised
from vitsplice.backbones.weights import digest
from vitsplice.contracts import BackboneInfo, FeatureRequest, Features
from vitsplice.errors import ConfigError
from vitsplice.numerics import numerics


class BackboneArguments(TypedDict):
    """Keyword arguments that the classes of timm and OpenCLIP backbones share.

    Args:
        name: name by which the backbone was requested.
        licence, source: licence and origin of the weights.
        structure, appearance: default requests of the roles; None: those of the backbone's class.
    """

    name: str
    licence: str
    source: str
    structure: NotRequired[FeatureRequest | None]
    appearance: NotRequired[FeatureRequest | None]


class FrozenBackbone(nn.Module):
    """Wrap a frozen network as a backbone. Subclasses implement `_features`, which several threads may call at once.

    Values of features do not depend on torch's global modes such as autocast (`vitsplice.numerics`). Features have
    gradients only if the caller's grad mode enables them.

    Args:
        network: the network, available as ``model``. It is frozen and set to eval mode.
        role_facets: default facets (structure, appearance), at the last layer.
        stride: see `vitsplice.contracts.BackboneInfo`; also the default of ``size_multiple`` and ``min_size``.
        structure, appearance: default requests; None: the facets of ``role_facets``.
        info: other fields of `BackboneInfo`, except ``parameters`` and ``sha256``, which are computed from the network.
            ``fixed_size`` and ``cls_normalised`` are None by default.

    Raises:
        TypeError: if a field is missing, unknown or one of the computed ones.
        ConfigError: if the network lacks the facet or layer of a default request, the facet for structure is not local,
            or the facet for appearance is not global.
    """

    info: BackboneInfo

    def __init__(
        self,
        network: nn.Module,
        /,
        *,
        role_facets: tuple[str, str],
        stride: int,
        structure: FeatureRequest | None = None,
        appearance: FeatureRequest | None = None,
        **info: Any,
    ) -> None:
        super().__init__()
        self.model: Any = network.eval().requires_grad_(False)
        defaults = {"size_multiple": stride, "min_size": stride, "fixed_size": None, "cls_normalised": None}
        network_info = BackboneInfo(
            structure=structure or FeatureRequest(role_facets[0]),
            appearance=appearance or FeatureRequest(role_facets[1]),
            stride=stride,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            sha256=digest(network.state_dict()),
            **{**defaults, **info},
        )
        self.info = _with_checked_roles(network_info)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in eval mode, whatever ``mode`` is."""
        return super().train(False)

    def forward(self, images: Tensor, requests: Iterable[FeatureRequest]) -> dict[FeatureRequest, Features]:
        """Compute features; see `vitsplice.contracts.Backbone`."""
        requests = tuple(dict.fromkeys(requests))
        check_inputs(self.info, images, requests)
        inputs, dtype = normalised(self.info, images), next(self.parameters()).dtype
        with numerics(grad=None):
            # oneDNN returns NaN for maps of width 1 in bfloat16
            if dtype == torch.bfloat16 and inputs.device.type == "cpu" and inputs.shape[-1] < 2 * self.info.stride:
                return deepcopy(self).float()._features(inputs.float(), requests)
            return self._features(inputs.to(dtype), requests)

    def _features(self, inputs: Tensor, requests: tuple[FeatureRequest, ...]) -> dict[FeatureRequest, Features]:
        """Compute float32 features of normalised images ``(B, 3, H, W)``, which have the dtype of the weights."""
        raise NotImplementedError


def _with_checked_roles(info: BackboneInfo) -> BackboneInfo:
    """Check the default requests, and return the info with their layers counted from the end (-1 is the last).

    Raises ConfigError for an unknown facet or layer, or unless structure has a local and appearance a global facet.
    """
    structure = info.request(info.structure.facet, info.structure.layer)
    appearance = info.request(info.appearance.facet, info.appearance.layer)
    for role, request in (("structure", structure), ("appearance", appearance)):
        suitable = [facet for facet in info.facets if (facet in info.local_facets) == (role == "structure")]
        if request.facet not in suitable:
            kind = "global" if role == "appearance" else "local"
            raise ConfigError(
                f"{role}={request} is not allowed: the default request for {role} of backbone '{info.name}' "
                f"needs a {kind} facet: {', '.join(suitable)}"
            )
    return replace(info, structure=structure, appearance=appearance)


def timm_info(model: Any) -> dict[str, Any]:
    """Return architecture, mean and std of a timm model, as fields of `BackboneInfo`."""
    cfg = model.pretrained_cfg
    name = cfg.get("architecture") or type(model).__name__
    return {"model": name, "mean": tuple(cfg["mean"]), "std": tuple(cfg["std"])}
