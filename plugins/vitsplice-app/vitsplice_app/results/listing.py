"""The results in the folder of ``vitsplice app --folder`` and its subfolders, as labels and HTML."""

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
"""Maximum longer side of the shown outputs of a batch, in pixels."""

NO_FOLDER = (
    "To see evaluations, studies, batches and comparisons here, restart the command with the folder that holds them: "
    "`vitsplice app --folder FOLDER`."
)

WITHOUT_PAGE = {
    "running": "A process is still writing this result. When it has finished, refresh the list to see the page.",
    "unfinished": "The command was stopped before it wrote the page. To resume, run the same command again.",
}
"""Text for an evaluation or a comparison without a page, by the state of the result."""


@dataclass(frozen=True)
class ResultView:
    """View of one result.

    Args:
        html: the page in a frame, the state of a batch, or the label and the reason why neither can be shown.
        images: latest outputs of a batch and their captions.
    """

    html: str
    images: Sequence[tuple[Image, str]] = ()


def label(result: StoredResult) -> str:
    """Return kind, folder, date and state of a result, on one line.

    A folder may hold several studies: for a study, the name of its page, or of its plan, follows the folder.
    """
    name = f"{result.name}/{result.page or result.marker}" if result.kind == "study" else result.name
    return f"{result.kind} · {printable(name)} · {result.date:%Y-%m-%d %H:%M} · {result.state}"


def key(result: StoredResult) -> str:
    """Return an ASCII text that is different for each result, and stays the same when the result's state changes."""
    return f"{result.kind} {result.name!a} {result.marker!a}"


def summary(folder: Path | None, results: Sequence[StoredResult]) -> str:
    """Describe the list of results in a folder, as Markdown; without a folder, explain how to choose one."""
    if folder is None:
        return NO_FOLDER
    name = f"`{printable(str(folder)).replace('`', '')}`"
    if not results:
        return f"{name} holds no evaluation, study, batch or comparison, nor do the subfolders that are searched."
    return f"{with_count(len(results), 'result')} in {name}, the newest first."


def show(result: StoredResult, frames: FramedPages) -> ResultView:
    """Return the view of a result: its page in a frame, the state of a batch, or why neither can be shown.

    Args:
        result: result of the list.
        frames: the page of the result is added here.

    Raises:
        UserError: if the files of a batch cannot be read.
    """
    title = label(result)
    if result.problem:
        return ResultView(f"<p>{escape(title)}</p><p class='note'>{escape(result.problem)}</p>")
    if result.kind == "batch":
        from vitsplice.batch.state import read_state

        state = read_state(result.folder)
        return ResultView("".join(_batch_html(state)), list(_outputs(state.recent)))
    if not result.page:
        return ResultView(f"<p>{escape(title)}</p><p>{WITHOUT_PAGE[result.state]}</p>")
    return ResultView(frames.html(result.folder, result.page, title))


def choose(results: Iterable[StoredResult], chosen: str | None) -> StoredResult:
    """Return the result whose `key` was chosen. Raises UserError if there is none."""
    for result in results:
        if key(result) == chosen:
            return result
    raise UserError("this result is not in the current list; refresh the list")


def _batch_html(state: BatchState) -> Iterator[str]:
    """Format the state of a batch as parts of HTML: a sentence, a table of the variants, reasons of failed runs."""
    of_total = f" of {state.total:,}" if state.total else ""
    process = "the batch is running" if state.running else "no process is running the batch"
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
        others = f" and {with_count(reason.jobs - 1, 'other')}" if reason.jobs > 1 else ""
        text = f"{reason.first}{others}: {reason.message}"
        yield f"<p class='note'>{escape(printable(text))}</p>"


def _outputs(paths: Iterable[Path]) -> Iterator[tuple[Image, str]]:
    """Yield small copies of the outputs that can be read, each with the id of the pair and the name of the variant."""
    from vitsplice.images import read, to_pil

    for path in paths:
        try:
            image = to_pil(read(path).pixels)
        except ImageError:
            continue
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        yield image, printable(f"{path.parent.name}, {path.parents[2].name}")
