"""Compare what backbones encode of images.

Finished encodings, styled images and transfers are stored, so that a stopped comparison can be resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch

from vitsplice.analysis import encoding
from vitsplice.analysis.comparison import (
    ComparisonData,
    Measure,
    agreement_measures,
    backbone_measures,
    layer_agreement,
)
from vitsplice.analysis.comparison_images import (
    ImageSource,
    backbone_digests,
    image_sources,
    is_readable,
    with_styles,
)
from vitsplice.analysis.comparison_report import report
from vitsplice.analysis.comparison_statistics import differences_csv, intervals_csv
from vitsplice.analysis.encoding import EncodingReader
from vitsplice.config import RunConfig
from vitsplice.contracts import Backbone, BackboneInfo
from vitsplice.engine.backbones import BackboneLoader, load_backbone, load_settings
from vitsplice.engine.device import pick_device
from vitsplice.errors import (
    AlreadyFinished,
    Argument,
    UserError,
    WeightsUnavailable,
)
from vitsplice.images import read
from vitsplice.numerics import numerics
from vitsplice.plugins import catalogue
from vitsplice.presets.settings import pinned, settings_for
from vitsplice.runs.artifacts import RunFolder
from vitsplice.runs.record import versions
from vitsplice.runs.recorder import Recording
from vitsplice.support import output_folder
from vitsplice.support.files import absolute, inside, safe_file_name
from vitsplice.support.page import embedded
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter
from vitsplice.support.resumable_work import ResumableWork, resumable

METRICS, INTERVALS, DIFFERENCES, REPORT = "metrics.csv", "intervals.csv", "differences.csv", "report.html"
ENCODINGS, STYLED, TRANSFERS = "encodings", "styled", "transfers"

WORK = ResumableWork(
    name="comparison",
    plan_file="compare.json",
    parts=(ENCODINGS, STYLED, TRANSFERS),
    results=(METRICS, INTERVALS, DIFFERENCES, REPORT),
)
"""Files and folders of a comparison.

Encodings, styled images and transfers are named by a digest of their inputs, so those of an earlier plan need not be
removed.
"""

FORMAT = 2
"""Format of ``compare.json``."""

MAX_SHOWN_TRANSFERS = 6
"""Maximum number of transfers per backbone whose images the report shows; the metrics are over all transfers."""


@dataclass(frozen=True)
class ComparisonPlan:
    """Settings of a comparison.

    Args:
        images: paths of at least two images.
        backbones: names of the backbones.
        masks: folder with masks of parts of the depicted objects, named like the images; None: no masks.
        size: side of the square crops of the images, in pixels.
        transfers: number of transfers with each backbone, 0 to the number of images. Each gives an image the
            appearance of the next one; the first image follows the last.
        preset: preset of the transfers.
        steps: number of steps of the transfers; None: that of the preset.
        style: preset of the transform ``style``, which gives each image the appearance of the next one. The transform
            is left out if this is None, or if the weights of the preset are unavailable.
        device: see `vitsplice.engine.device.pick_device`.

    Raises:
        UserError: for fewer than two images, too many transfers, or no backbone.
    """

    images: tuple[Path, ...]
    backbones: tuple[str, ...]
    masks: Path | None = None
    size: int = 224
    transfers: int = 1
    preset: str = "quick"
    steps: int | None = None
    style: str | None = "instant"
    device: str = "auto"

    def __post_init__(self) -> None:
        number = len(self.images)
        if number < 2:
            raise UserError("give at least two images: changes are measured relative to the change from image to image")
        if not 0 <= self.transfers <= number:
            raise UserError(
                Argument("transfers", self.transfers),
                f" is not allowed; it must be 0 to {number}, the number of images: each is the structure image of at "
                "most one transfer",
            )
        if not self.backbones:
            raise UserError(
                "give at least one backbone (", Argument("backbone"), "); `vitsplice list backbones` lists them"
            )


class BackboneComparison(ComparisonData):
    """A comparison that displays its report in a notebook."""

    def _repr_html_(self) -> str:
        return embedded(report(self), "Comparison of backbones", "48rem")


@numerics(grad=False)
def compare(
    plan: ComparisonPlan,
    out: str | os.PathLike[str],
    *,
    force: bool = False,
    progress: ProgressReporter = NULL_REPORTER,
) -> BackboneComparison | None:
    """Compare what backbones encode, or resume a stopped comparison of the same plan.

    Args:
        plan: settings of the comparison.
        out: output folder.
        force: replace the results of another plan in the folder. Stored encodings and transfers remain, and those that
            fit are reused.
        progress: progress reporter.

    Returns:
        The comparison, or None if the progress reporter stopped it.

    Raises:
        OutputExists, OutputBusy: see `vitsplice.support.resumable_work.resumable`.
        VitspliceError: before the long work, if an image or mask cannot be used, one of ``plan.backbones`` cannot be
            loaded, or a preset is invalid; later, if a transfer fails or a file cannot be written.
    """
    infos = {name: load_backbone(name).info for name in dict.fromkeys(plan.backbones)}
    plain = image_sources(plan.images, plan.masks, plan.size)
    _note_masks_without_parts(plain, progress)
    for name in infos if plan.transfers else ():
        _transfer_settings(plan, name)  # raises now if the preset does not fit
    style_settings = (
        None if plan.style is None else settings_for(plan.style, device=plan.device, overrides=["metrics=none"])
    )
    with resumable(Path(out), WORK, _record(plan, infos), force=force) as path:
        if (images := _styled_if_available(style_settings, path, plain, progress)) is None:
            return None
        computation = _Computation(plan, path, infos, images, progress)
        if (readers := computation.encode()) is None or (transfers := computation.transfer()) is None:
            return None
        comparison = computation.collect(readers, transfers)
        files = {
            METRICS: comparison.csv(),
            INTERVALS: intervals_csv(comparison),
            DIFFERENCES: differences_csv(comparison),
            REPORT: report(comparison),
        }
        output_folder.write(path, {name: text.encode() for name, text in files.items()})
        return comparison


def _note_masks_without_parts(images: Sequence[ImageSource], progress: ProgressReporter) -> None:
    for image in images:
        labels = image.load().labels if image.mask else None
        if labels is not None and not encoding.has_parts(labels):
            grid = f"{encoding.GRID_SIDE} x {encoding.GRID_SIDE} patches in the central square"
            progress.note(f"{image.name} has no part IoU: mask {image.mask} has a single label on the {grid}")


def _record(plan: ComparisonPlan, infos: Mapping[str, BackboneInfo]) -> dict[str, Any]:
    """Return the content of ``compare.json``: the plan, the features of each backbone, and versions of packages."""
    paths = {"images": tuple(map(absolute, plan.images)), "masks": plan.masks and absolute(plan.masks)}
    settings: dict[str, Any] = json.loads(json.dumps(asdict(plan) | paths, default=str))
    features = {
        name: {"structure": info.structure.facet, "appearance": info.appearance.facet, "layers": [*info.every_layer]}
        for name, info in infos.items()
    }
    return {"format": FORMAT} | settings | {"features": features, "versions": versions()}


def _transfer_settings(plan: ComparisonPlan, backbone: str) -> RunConfig:
    overrides = ["metrics=all", "previews=0"]
    return settings_for(plan.preset, backbone=backbone, steps=plan.steps, device=plan.device, overrides=overrides)


def _styled_if_available(
    settings: RunConfig | None, path: Path, images: list[ImageSource], progress: ProgressReporter
) -> list[ImageSource] | None:
    """Add styled versions to the images; leave them out without settings or weights. None if stopped."""
    if settings is None:
        return images
    try:
        return with_styles(images, settings, inside(path, STYLED), progress)
    except WeightsUnavailable as error:
        progress.note(f"the transform 'style' is left out: {error}")
        return images


@dataclass(frozen=True)
class _Computation:
    """Computes and stores the encodings and transfers of a comparison, and collects its values from them.

    `encode` and `transfer` return None if the progress reporter stopped them.
    """

    plan: ComparisonPlan
    path: Path
    infos: Mapping[str, BackboneInfo]
    images: Sequence[ImageSource]
    progress: ProgressReporter

    @property
    def total(self) -> int:
        """Number of encodings and transfers."""
        return len(self.infos) * (len(self.images) + len(self._pairs))

    @property
    def _pairs(self) -> list[tuple[ImageSource, ImageSource]]:
        """Structure image and appearance image of each transfer."""
        return list(zip(self.images, [*self.images[1:], self.images[0]], strict=True))[: self.plan.transfers]

    def encode(self) -> dict[str, EncodingReader] | None:
        """Compute and store the encodings that are not stored yet; return a reader of all encodings by backbone."""
        readers: dict[str, EncodingReader] = {}
        digest_of, device = cache(lambda image: image.load().digest), pick_device(self.plan.device)
        for name, info in self.infos.items():
            backbone: Backbone | None = None
            files: dict[str, Path] = {}
            for image in self.images:
                if self.progress.stopped():
                    return None
                self.progress.part(f"{name}, {image.name}", len(readers) * len(self.images) + len(files), self.total)
                file = f"{safe_file_name(name)}-{_key(name, backbone_digests(info), digest_of(image))}.safetensors"
                files[image.name] = path = inside(self.path, f"{ENCODINGS}/{file}")
                if encoding.read_encoding(path) is None:
                    if backbone is None:
                        backbone = load_backbone(name).to(device, torch.float32)
                    encoding.write_encoding(path, encoding.encode_image(image.load(), backbone, device))
            readers[name] = encoding.cached_reader(files)
        return readers

    def transfer(self) -> dict[tuple[str, str], RunFolder] | None:
        """Run the transfers that are not finished yet; return the folders of all transfers by backbone and pair."""
        folders: dict[tuple[str, str], RunFolder] = {}
        digests_of = cache(self._digests_of_backbones)
        for name, (structure, appearance) in product(self.infos, self._pairs):
            if self.progress.stopped():
                return None
            pair = f"{structure.name} from {appearance.name}"
            done = len(self.infos) * len(self.images) + len(folders)
            images = {"structure": structure.image, "appearance": appearance.image}
            folder = self._run_transfer(name, digests_of(name), images, f"{name}, {pair}", done)
            if folder is None:
                return None
            folders[name, pair] = folder
        return folders

    def _digests_of_backbones(self, name: str) -> str:
        """Return digests of all backbones of a transfer: the named one, and those that the preset adds."""
        settings = pinned(_transfer_settings(self.plan, name))
        backbones = load_settings(settings, BackboneLoader(), catalogue()).backbones
        return "".join(backbone_digests(backbone.info) for backbone in backbones.values())

    def _run_transfer(
        self, name: str, digests: str, images: Mapping[str, Path], description: str, done: int
    ) -> RunFolder | None:
        self.progress.part(description, done, self.total)
        settings = _transfer_settings(self.plan, name)
        key = _key(settings.model_dump_json(), digests, *(read(image).sha256 for image in images.values()))
        folder = inside(self.path, f"{TRANSFERS}/{safe_file_name(name)}-{key}")
        recording = _recording(images, settings, folder)
        if recording is None:
            return RunFolder(folder)
        with recording:
            for step in recording.steps(self.progress.note):
                self.progress.part(f"step {step.index + 1} of {settings.steps}, {description}", done, self.total)
                if self.progress.stopped() and not recording.run.finished:
                    recording.write_checkpoint(self.progress.note)
                    return None
            recording.save()
        return RunFolder(folder)

    def collect(
        self, readers: Mapping[str, EncodingReader], transfers: Mapping[tuple[str, str], RunFolder]
    ) -> BackboneComparison:
        """Compute the values of the comparison from its encodings and transfers."""
        names, measures = tuple(image.name for image in self.images), list[Measure]()
        total = len(readers) + 1
        for number, (name, read_encoding) in enumerate(readers.items()):
            self.progress.part(f"measures of {name}", number, total)
            measures += backbone_measures(self.infos[name], names, read_encoding)
        self.progress.part("agreement of layers", len(readers), total)
        agreement = layer_agreement(names, list(readers.values()))
        for (name, pair), run in transfers.items():
            metrics = [metric for metric in run.record()["metrics"] if metric["value"] is not None]
            measures += [Measure(name, "", None, "transfer", m["name"], pair, m["value"]) for m in metrics]
        self.progress.part("report", total, total)
        shown = {f"{s.name} from {a.name}": (s, a) for s, a in self._pairs[:MAX_SHOWN_TRANSFERS]}
        return BackboneComparison(
            infos=self.infos,
            images=names,
            measures=(*measures, *agreement_measures(self.infos, agreement)),
            agreement=agreement,
            transfers={key: read(run.output).pixels[0] for key, run in transfers.items() if key[1] in shown},
            inputs={pair: (read(s.image).pixels[0], read(a.image).pixels[0]) for pair, (s, a) in shown.items()},
            transformed={name: pixels[0] for name, pixels in self.images[0].load().transformed.items()},
        )


def _recording(images: Mapping[str, Path], settings: RunConfig, folder: Path) -> Recording | None:
    """Begin or resume a transfer; None if it is finished already.

    The transfer is restarted if it cannot be resumed, or if its output or metrics cannot be read.
    """
    try:
        return Recording.begin_or_resume(images, settings, folder)
    except AlreadyFinished:
        run = RunFolder(folder)
        if is_readable(run.output) and isinstance(run.record().get("metrics"), list):
            return None
    except UserError:  # for example, an image was moved; `begin` repeats errors of the inputs and of the folder
        pass
    return Recording.begin(images, settings, folder, force=True)


def _key(*values: str) -> str:
    """Return a digest of values and of the versions of all packages that results depend on."""
    return hashlib.sha256("".join([*values, str(versions())]).encode()).hexdigest()[:16]
