"""Application of a lookup table of colours to many images."""

from __future__ import annotations

from vitsplice.batch.transfer_plan import TransferPlan
from vitsplice.batch.transfers import Applied
from vitsplice.errors import VitspliceError
from vitsplice.images import encode_png, read
from vitsplice.luts import Lut
from vitsplice.support import output_folder
from vitsplice.support.progress import NULL_REPORTER, ProgressReporter


def apply_lut(lut: Lut, plan: TransferPlan, progress: ProgressReporter = NULL_REPORTER) -> Applied:
    """Write the output of a LUT for each structure image of a plan.

    Args:
        lut: LUT to apply.
        plan: outputs to write; existing files are replaced.
        progress: progress reporter; when it requests a stop, the remaining images are left out.

    Returns:
        The outcome, with the error of each output whose image cannot be read or whose file cannot be written.

    Raises:
        UserError: if the folder cannot be created.
    """
    output_folder.create(plan.folder)
    applied = Applied()
    for number, transfer in enumerate(plan.transfers):
        if progress.stopped():
            applied.stopped = True
            break
        progress.part(transfer.name, number, len(plan.transfers))
        try:
            image = read(transfer.structure)
            for note in image.notes:
                progress.note(f"{transfer.name}: {note}")
            output_folder.write_file(plan.folder / transfer.name, encode_png(lut.apply(image.pixels)))
            applied.written += 1
        except VitspliceError as error:
            applied.failures[transfer.name] = error
    return applied
