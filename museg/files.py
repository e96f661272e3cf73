"""Files written in one move and known by their digest, and the versions of what wrote them."""

import errno
import hashlib
import inspect
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType

NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
"""How disks without hard links answer who asks for one."""


def write_whole(file: Path, text: str) -> Path:
    """Replace a file in one move, so that a reader, or a kill, finds the old or the new one; returns it.

    The folder is made where it is not there. What UTF-8 cannot hold (half a surrogate pair) is written as an escape.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    temporary.replace(file)
    return file


def write_new(file: Path, text: str) -> None:
    """Write a file that is not there yet, in one move; of those that do so at the same moment one succeeds.

    Raises FileExistsError for the others, and where it is there already. On a disk without hard links the file is empty
    for a moment.
    """
    draft = write_whole(file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}"), text)
    try:
        os.link(draft, file)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        file.touch(exist_ok=False)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def identity_of(file: Path) -> tuple[int, ...]:
    """Which file has this name now: another after it was replaced or written anew, as far as the disk's clock tells.

    So it is after a folder on the way was renamed, even if it has its name again; links are to be followed before.
    Two writes within one tick of that clock (a few milliseconds on older kernels) are not told apart.
    """
    facts, folders = file.stat(), [folder.stat() for folder in file.parents]
    renamed = [folder.st_ctime_ns - folder.st_mtime_ns for folder in folders]  # what is made in one moves both times
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, *renamed


def check_free(folder: Path) -> None:
    """Raise ValueError where there is a file of that name, or a folder that holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} holds something already: choose another folder, or empty that one")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Fill a folder under another name beside it; it gets its own once everything is in it, and never in part.

    Raises ValueError where it is not free.
    """
    folder = folder.resolve()
    check_free(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.replace(folder)  # takes the place of an empty folder
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def share_as_usual(*files: Path) -> None:
    """Give files the permissions that new files get beside the first; safetensors keeps its own from everybody else."""
    if files:
        new = files[0].with_name(f".{files[0].name}.{os.getpid()}")
        new.touch()
        mode = new.stat().st_mode
        new.unlink()
        for file in files:
            file.chmod(mode)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's contents in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(2**24):
            digest.update(block)
    return digest.hexdigest()


def sources_sha256(*modules: ModuleType) -> str:
    """The SHA-256 of the texts of modules: what they make is to be made anew once they say anything else.

    To be asked for while they are imported: the text is read from the file, which may say something else later.
    """
    return hashlib.sha256("".join(map(inspect.getsource, modules)).encode()).hexdigest()


def version_of(package: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
