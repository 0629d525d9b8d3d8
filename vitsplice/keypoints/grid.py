"""Which features of which backbones are measured: every facet and layer asked for that a backbone has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from vitsplice.contracts import GLOBAL_FACETS, Backbone, BackboneInfo, FeatureRequest
from vitsplice.engine.backbones import backbone_or_default, load_backbone
from vitsplice.errors import UserError
from vitsplice.text import printable


@dataclass(frozen=True)
class Looker:
    """A backbone and what is asked of it.

    Args:
        info: of the backbone.
        requests: local features.
        load: the backbone, in float32 on the CPU.
    """

    info: BackboneInfo
    requests: tuple[FeatureRequest, ...]
    load: Callable[[], Backbone]


def lookers(
    backbones: Sequence[str],
    facets: Sequence[str],
    layers: Sequence[int],
    note: Callable[[str], object] = lambda _: None,
) -> tuple[Looker, ...]:
    """The backbones, each with the facets and layers that it has; what one has not is told.

    Args:
        backbones: names; none is that of the default preset.
        facets: local ones; none is each backbone's own for structure.
        layers: counted from the end, or from 0; none is all.
        note: told what is left out, and what was taken in place of what cannot be had.

    Raises:
        UserError: if a backbone has none of the facets or of the layers, or a facet has no places.
        VitspliceError: as loading backbones does.
    """
    if whole := GLOBAL_FACETS.intersection(facets):
        raise UserError(f"facet '{min(whole)}' has no places to match; give one that has, such as key, token or map")
    found = []
    names = tuple(dict.fromkeys(backbones or (None,)))
    for name in names:
        loaded, substitution = backbone_or_default(name)
        if substitution:
            note(str(substitution))
        requests, left_out = requests_of(loaded.info, facets, layers)
        if left_out:
            note(f"{loaded.info.name} has no {', '.join(left_out)}")
        found.append(
            Looker(loaded.info, requests, partial(_again, loaded.info.name, loaded if len(names) == 1 else None))
        )
    return tuple(found)


def requests_of(
    info: BackboneInfo, facets: Sequence[str], layers: Sequence[int]
) -> tuple[tuple[FeatureRequest, ...], list[str]]:
    """The requests that a backbone can answer, facet by facet, and in words what it has not.

    Raises:
        UserError: if there is none.
    """
    own = info.local_facets
    wanted = dict.fromkeys(facets or (info.structure.facet,))
    if not (there := [facet for facet in wanted if facet in own]):
        raise UserError(f"backbone '{info.name}' has no facet {printable(', '.join(wanted))}; it has {', '.join(own)}")
    numbers = list(layers or info.every_layer)
    outside = [number for number in numbers if not -info.layers <= number < info.layers]
    if len(outside) == len(numbers):
        info.request(there[0], outside[0])  # raises, and names those there are
    left_out = [f"facet {printable(facet)}" for facet in wanted if facet not in own]
    left_out += [f"layer {number}" for number in outside]
    inside = [number for number in numbers if number not in outside]
    return tuple(dict.fromkeys(info.request(facet, number) for facet in there for number in inside)), left_out


def _again(name: str, loaded: Backbone | None) -> Backbone:
    """A backbone that was loaded before; of several none was held in memory."""
    return loaded or load_backbone(name)
