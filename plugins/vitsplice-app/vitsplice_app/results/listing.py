"""The results in the folder of the server, as labels and HTML. Nothing is written to the folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from vitsplice.errors import ImageError, UserError
from vitsplice.text import printable, with_count

if TYPE_CHECKING:
    from PIL.Image import Image

    from vitsplice.batch.state import BatchState
    from vitsplice.results import StoredResult
    from vitsplice_app.frames import FramedPages

THUMBNAIL = 320
"""Maximum longer side of the images of a batch, in pixels."""

NO_FOLDER = (
    "Start the page with a folder to see its evaluations, studies, batches and comparisons: "
    "`vitsplice app --folder FOLDER`."
)

UNFINISHED = {
    "running": "A process is writing to this folder; refresh the list to see its page when it is finished.",
    "unfinished": "It was stopped before its page was written; the same command resumes it.",
}
"""Text for a result without a page, by its state."""


@dataclass(frozen=True)
class Shown:
    """View of one result.

    Args:
        html: description, and the page in a frame or the state of a batch.
        images: outputs and their captions.
    """

    html: str
    images: Sequence[tuple[Image, str]] = ()


def label(result: StoredResult) -> str:
    """Return kind, folder (with the page of a study: there may be several), date and state of a result, on one line."""
    name = f"{result.name}/{result.page}" if result.kind == "study" and result.page else result.name
    return f"{result.kind} · {printable(name)} · {result.date:%Y-%m-%d %H:%M} · {result.state}"


def key(result: StoredResult) -> str:
    """Return what distinguishes a result from all others of its folder."""
    return f"{result.kind} {result.name} {result.page} {result.problem}"


def summary(folder: Path | None, results: Sequence[StoredResult]) -> str:
    """Describe the list of results, as Markdown."""
    if folder is None:
        return NO_FOLDER
    name = f"`{printable(str(folder)).replace('`', '')}`"
    if not results:
        return f"{name} holds no evaluation, study, batch or comparison, nor do its subfolders."
    return f"{with_count(len(results), 'result')} in {name}, the newest first."


def show(result: StoredResult, frames: FramedPages) -> Shown:
    """Show a result: its page in a frame, the state of a batch, or what is wrong with it.

    Raises:
        UserError: if the files of a batch cannot be read.
    """
    title = label(result)
    if result.problem:
        return Shown(f"<p>{escape(title)}</p><p class='note'>{escape(result.problem)}</p>")
    if result.kind == "batch":
        from vitsplice.batch.state import read_state

        state = read_state(result.folder)
        return Shown("".join(_batch_html(state)), list(_outputs(state.recent)))
    if not result.page:
        return Shown(f"<p>{escape(title)}</p><p>{UNFINISHED.get(result.state, '')}</p>")
    return Shown(frames.html(result.folder, result.page, title))


def choose(results: Iterable[StoredResult], chosen: str | None) -> StoredResult:
    """Return the result with a key. Raises UserError if there is none."""
    for result in results:
        if key(result) == chosen:
            return result
    raise UserError("this result is no longer in the folder; refresh the list")


def _batch_html(state: BatchState) -> Iterator[str]:
    """Format the state of a batch: a sentence, a table of the variants, reasons of failures."""
    of_total = f" of {state.total:,}" if state.total else ""
    process = "the batch is running" if state.running else "no process is running it"
    yield f"<p>{state.ended:,}{of_total} runs have ended; {process}.</p>"
    if state.total:
        yield f'<progress aria-label="runs that have ended" max="{state.total}" value="{state.ended}"></progress>'
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("variant", "finished", "refused", "failed"))
    yield f"<table><thead><tr>{heads}</tr></thead><tbody>"
    for name, variant in state.variants.items():
        cells = "".join(f"<td>{number:,}</td>" for number in (variant.done, variant.refused, variant.failed))
        yield f'<tr><th scope="row">{escape(printable(name))}</th>{cells}</tr>'
    yield "</tbody></table>"
    for reason in state.reasons:
        text = f"{with_count(reason.jobs, 'run')}, the first {reason.first}: {reason.message}"
        yield f"<p class='note'>{escape(printable(text))}</p>"


def _outputs(paths: Iterable[Path]) -> Iterator[tuple[Image, str]]:
    """Yield small copies of the outputs that can be read, each with the id of its pair and its variant."""
    from vitsplice.images import read, to_pil

    for path in paths:
        try:
            image = to_pil(read(path).pixels)
        except ImageError:
            continue
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        yield image, printable(f"{path.parent.name}, {path.parents[2].name}")
