"""Writing whole files so that a failure leaves the previous file in place."""

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from mechbench.errors import StoreError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission is missing; choose another output folder or change its permissions",
    errno.EPERM: "permission is missing; choose another output folder or change its permissions",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another output folder",
    errno.EEXIST: "a file is where the folder should be; choose another output folder",
    errno.ENAMETOOLONG: "the path is too long; choose a shorter name or folder",
}


def store_error(action: str, path: Path, error: OSError) -> StoreError:
    """The StoreError that tells what failed at ``path`` and what to do about it."""
    advice = _ADVICE.get(error.errno or 0, "check the path and try again")
    reason = error.strerror or str(error)
    return StoreError(
        f"Cannot {action} {str(path)!r} ({reason}): {advice}. "
        "Files that were already written are complete and kept."
    )


def make_folder(path: Path) -> Path:
    """``path`` as an existing folder, created with its parents where needed.

    Raises
        StoreError where it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise store_error("create the folder", path, error) from error
    return path


def write_atomically(path: Path, data: bytes | str) -> Path:
    """``path`` after it holds ``data``; a reader sees the old file or the new one, never a part.

    Raises
        StoreError where it cannot be written; the previous file, if any, is then unchanged.
    """
    content = data.encode("utf-8") if isinstance(data, str) else data
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise store_error("write", path, error) from error
    finally:
        with suppress(OSError):  # gone already where all went well
            os.unlink(temporary)
    return path


def read_text(path: Path, what: str) -> str:
    """The text of ``path``.

    Raises
        StoreError, calling the file ``what``, where it is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StoreError(f"There is no {what} at {str(path)!r}: check the path.") from None
    except OSError as error:
        raise store_error("read", path, error) from error
    except UnicodeDecodeError as error:
        raise StoreError(f"The {what} {str(path)!r} is damaged: it is not UTF-8 text.") from error
