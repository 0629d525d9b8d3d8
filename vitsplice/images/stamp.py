"""The identity of an image file, without reading it."""

import os
from pathlib import Path

from vitsplice.errors import ImageError, ImageNotFound
from vitsplice.text import printable


def image_stamp(path: Path) -> tuple[str, int, int]:
    """Return absolute path, size and modification time of an image file, which differ when the image does.

    Raises:
        ImageNotFound: if the file does not exist.
        ImageError: if it cannot be read.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageNotFound(f"'{printable(str(path))}' does not exist") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"'{printable(str(path))}' cannot be read") from error
    return os.path.abspath(path), status.st_size, status.st_mtime_ns
