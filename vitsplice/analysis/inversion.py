"""Feature inversion: an image that has one feature of another, made from nothing but that feature.

What is lost is what the feature does not hold: [CLS] inverted has the appearance without the layout, keys inverted
have the layout (Tumanyan et al. 2022, section 3.1). An inversion is a run whose one term is `feature`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from vitsplice.config import RunConfig
from vitsplice.contracts import GLOBAL_FACETS, BackboneInfo, FeatureRequest, layer_file_label
from vitsplice.engine.backbones import load_configured
from vitsplice.engine.loop import Step
from vitsplice.errors import AlreadyFinished, UserError
from vitsplice.images import contact_sheet, encode_png, read
from vitsplice.plugins import catalogue
from vitsplice.presets import loading as settings_yaml
from vitsplice.presets.settings import settings_for
from vitsplice.runs.artifacts import RunFolder, clear_run
from vitsplice.runs.record import versions
from vitsplice.runs.recorder import Recording
from vitsplice.runs.run import Run
from vitsplice.support import output_folder as folders
from vitsplice.support.files import inside, read_regular
from vitsplice.support.output_folder import ResumableWork, resumable

PRESETS = {"network": "invert", "pixels": "invert-pixels"}
"""What holds the image together where the feature says nothing, and the preset that has it."""

TERM = "inversion"
"""The name of the term in the presets."""

SHEET, BEGUN = "inversions.png", "inversions.json"

FACET = re.compile(r"[a-z0-9_-]{1,40}")
"""A facet's name, which is part of a folder's."""


@dataclass(frozen=True)
class Inversions:
    """Inverted features of one image; shows itself in a notebook as a sheet.

    Args:
        image: that was inverted, ``(1, 3, H, W)``.
        made: of each feature, ``(3, h, w)``.
        left: how far each is from its feature, as its term has it at the last step at which it ran.
        layers: how many the backbone has.
    """

    image: Tensor = field(repr=False)
    made: Mapping[FeatureRequest, Tensor] = field(repr=False)
    left: Mapping[FeatureRequest, float]
    layers: int

    @property
    def sheet(self) -> Tensor:
        """The image and its inversions, a row a facet, ``(3, H, W)``."""
        facets = dict.fromkeys(request.facet for request in self.made)
        rows = [[r for r in self.made if r.facet == facet] for facet in facets]
        shown = [[(f"{r.label(self.layers)}: {self.left[r]:.2g} left", self.made[r]) for r in row] for row in rows]
        return contact_sheet([[("image", self.image[0]), *row] for row in shown])

    def _repr_png_(self) -> bytes:
        return encode_png(self.sheet)


@dataclass(frozen=True)
class Plan:
    """What is to be inverted, and how.

    Args:
        image: path of the image.
        settings: of the run of each feature.
        layers: how many the backbone has.
    """

    image: Path
    settings: Mapping[FeatureRequest, RunConfig]
    layers: int


def preset_of(request: FeatureRequest) -> str:
    """The preset by which a feature is inverted: pixels for a global one, for which a network takes many more steps."""
    return PRESETS["pixels" if request.facet in GLOBAL_FACETS else "network"]


def settings_of(
    request: FeatureRequest, preset: str | os.PathLike[str] | RunConfig | None = None, **settings: Any
) -> RunConfig:
    """The settings of one inversion: those of a preset, with facet and layer put in.

    A local facet is inverted without the noise that is added for a global one, as in the released recipe.

    Args:
        request: the feature.
        preset: one with a term named ``inversion``; None is that of the feature: see `preset_of`.
        settings: as `vitsplice.api.settings_for` takes them.

    Raises:
        UserError: if the preset has no such term.
    """
    plain = settings_for(preset_of(request) if preset is None else preset, **settings)
    if TERM not in plain.terms:
        raise UserError(f"this preset has no term '{TERM}'; one that has: {', '.join(PRESETS.values())}")
    changed = plain.model_dump(mode="json")
    changed["terms"][TERM] |= {"facet": request.facet, "layer": request.layer}
    as_it_comes = settings_for(preset_of(request) if preset is None else preset).generator
    untouched = plain.generator.options.get("noise") == as_it_comes.options.get("noise")
    if untouched and plain.generator.name == "prior" and request.facet not in GLOBAL_FACETS:
        changed["generator"]["options"] |= {"noise": [0.0]}
    return settings_yaml.validate(changed, "settings")


def requests_of(info: BackboneInfo, facets: Iterable[str] = (), layers: Iterable[int] = ()) -> list[FeatureRequest]:
    """Every facet at every layer, which counts from either end; by default the requests of the two roles.

    Raises:
        UserError: for one that the backbone has not.
    """
    facets, layers = list(facets), list(layers)
    if not facets and not layers:
        return [info.appearance, info.structure]
    facets = facets or [info.appearance.facet, info.structure.facet]
    return list(dict.fromkeys(info.request(facet, layer) for facet in facets for layer in layers or [-1]))


def invert(
    image: Any,
    settings: Mapping[FeatureRequest, RunConfig],
    on_step: Callable[[FeatureRequest, Step], object] | None = None,
) -> Inversions:
    """Invert features of an image, one after the other.

    Args:
        image: whatever `vitsplice.images.read` takes.
        settings: of each feature: see `settings_of`.
        on_step: called after each step.
    """
    loaded = read(image)
    made, left, layers = {}, {}, 1
    for request, chosen in settings.items():
        run = Run(loaded, loaded, chosen)
        for step in run.steps():
            if on_step:
                on_step(request, step)
        made[request], layers = run.pixels(), run.backbone.info.layers
        left[request] = next(step.losses[TERM] for step in reversed(run.history) if TERM in step.losses)
    return Inversions(loaded.pixels, made, left, layers)


@contextmanager
def begun(plan: Plan, out: str | os.PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """The folder of inversions, for this process alone; those that the same plan has finished are kept.

    Raises:
        ImageError: if the image cannot be read.
        OutputExists: if it holds other inversions, or by other versions, and ``force`` is not given; with it they go.
        OutputBusy: if another process is writing to it.
        UserError, VitspliceError: if it cannot be written to.
    """
    told, runs = _as_json(plan), _folders(plan)
    with suppress(UserError):
        runs += _folders(read_plan(out))
    work = ResumableWork("inversion", BEGUN, results=(SHEET, *dict.fromkeys(runs)), clear=clear_run)
    with resumable(Path(out), work, told, force=force) as path:
        yield path


def read_plan(out: str | os.PathLike[str]) -> Plan:
    """What was to be done in a folder, as its file says; `checked` compares that with the backbones.

    Raises:
        UserError: if the folder holds no such file, or a feature in it is none or is not that of its settings.
    """
    path = Path(out) / BEGUN
    try:
        known = json.loads(read_regular(path))
        image = Path(known["image"]["path"])
        layers = int(known["layers"])
        cells = [_cell(one, layers, str(path)) for one in known["of"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{out} holds no inversions that can go on: no {path} that can be read") from error
    return Plan(image, dict(cells), layers)


def _cell(told: Mapping[str, Any], layers: int, source: str) -> tuple[FeatureRequest, RunConfig]:
    """A feature and its settings, from a file that may be anybody's."""
    (facet, layer), settings = told["feature"], settings_yaml.validate(told["settings"], source)
    term = settings.terms[TERM]
    if (
        type(layer) is not int
        or not -layers <= layer < 0
        or (term.facet, term.layer) != (facet, layer)
        or not FACET.fullmatch(facet)
    ):
        raise ValueError(f"{facet!r} at layer {layer!r} is no feature, or not that of its settings")
    return FeatureRequest(facet, layer), settings


def checked(plan: Plan) -> Plan:
    """The plan, if its backbones have its features. Raises UserError if not, and as loading a backbone does."""
    infos: dict[str, BackboneInfo] = {}
    for request, settings in plan.settings.items():
        key = settings.backbone.model_dump_json()
        if key not in infos:
            infos[key] = load_configured(settings.backbone, catalogue())[0].info
        infos[key].request(request.facet, request.layer)
        if infos[key].layers != plan.layers:
            raise UserError(f"backbone '{infos[key].name}' has {infos[key].layers} layers, not {plan.layers}")
    return plan


def recording(plan: Plan, request: FeatureRequest, out: Path) -> Recording | None:
    """The run of one feature, begun, or gone on with; None if it is finished."""
    images = {"structure": plan.image, "appearance": plan.image}
    try:
        return Recording.begin_or_resume(images, plan.settings[request], inside(out, name_of(request, plan.layers)))
    except AlreadyFinished:
        return None


def finished(plan: Plan, out: Path) -> Inversions:
    """What a folder holds when all is done. Raises UserError if it does not."""
    made, left = {}, {}
    for request in plan.settings:
        folder = RunFolder(inside(out, name_of(request, plan.layers)))
        made[request] = read(folder.output).pixels[0]
        left[request] = folder.last_loss(TERM)
    return Inversions(read(plan.image).pixels, made, left, plan.layers)


def save_sheet(inversions: Inversions, out: Path) -> Path:
    """Write the sheet and return its path. Raises VitspliceError if it cannot be written."""
    folders.write(out, {SHEET: encode_png(inversions.sheet)})
    return out / SHEET


def name_of(request: FeatureRequest, layers: int) -> str:
    """The name of the folder of one inversion; those of one facet sort by depth."""
    return f"{request.facet}_{layer_file_label(request.layer, layers)}"


def _folders(plan: Plan) -> list[str]:
    return [name_of(request, plan.layers) for request in plan.settings]


def _as_json(plan: Plan) -> dict[str, Any]:
    cells = [
        {"feature": [request.facet, request.layer], "settings": settings.model_dump(mode="json")}
        for request, settings in plan.settings.items()
    ]
    image = {"path": os.path.abspath(plan.image), "sha256": read(plan.image).sha256}
    return {"image": image, "layers": plan.layers, "of": cells, "versions": versions()}
