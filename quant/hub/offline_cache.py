"""The folders in which huggingface_hub keeps repositories: what is whole there, which commit a branch was.

Source: huggingface_hub's guide "Understand caching": models--ORG--NAME with blobs (content by hash), snapshots (a
folder of links per commit) and refs (the commit of a branch or tag).
"""

import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quant.base.errors import UserError
from quant.base.files import write_text
from quant.base.units import format_bytes
from quant.hub.select import RepoFile, is_plain

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SPARE_BYTES = 16 << 20


@dataclass(frozen=True)
class Listing:
    """What a repository holds at a commit."""

    repo: str
    revision: str  # as asked
    commit: str
    files: tuple[RepoFile, ...]
    unreachable: str | None = None  # why the hub was not asked; the files are then those in the cache


def is_commit(text: str | None) -> bool:
    """Tell whether a text is a whole commit hash."""
    return bool(text and _COMMIT.fullmatch(text))


def storage_dir(root: Path, repo: str) -> Path:
    """Give a repository's folder."""
    return root / f"models--{repo.replace('/', '--')}"


def snapshot_dir(root: Path, listing: Listing) -> Path:
    """Give the folder of a commit's files."""
    return storage_dir(root, listing.repo) / "snapshots" / listing.commit


def kept_listing(root: Path, repo: str, revision: str, why: str) -> Listing | None:
    """List what the cache holds of a revision; None where it does not know the revision.

    huggingface_hub puts a file into a snapshot only when it is whole, so what is there is whole.
    """
    commit = revision
    if not is_commit(revision):
        commit = ""
        if is_plain(revision):
            with suppress(OSError, UnicodeDecodeError):
                commit = (storage_dir(root, repo) / "refs" / revision).read_text(encoding="utf-8").strip()
    snapshot = storage_dir(root, repo) / "snapshots" / commit
    if not is_commit(commit) or not snapshot.is_dir():
        return None
    files = tuple(
        RepoFile(path=path.relative_to(snapshot).as_posix(), n_bytes=path.stat().st_size)
        for path in sorted(snapshot.rglob("*"))
        if path.is_file()
    )
    return Listing(repo=repo, revision=revision, commit=commit, files=files, unreachable=why)


def remember_revision(root: Path, listing: Listing) -> None:
    """Note which commit a branch or tag is, as huggingface_hub does, so that it is known offline."""
    if listing.unreachable is None and listing.revision != listing.commit and is_plain(listing.revision):
        with suppress(UserError):
            write_text(storage_dir(root, listing.repo) / "refs" / listing.revision, listing.commit)


def require_room(root: Path, listing: Listing, files: Sequence[RepoFile]) -> None:
    """Refuse early when the disk has no room for the files that are not there yet.

    Raises:
        UserError: the free space does not suffice.
    """
    blobs = storage_dir(root, listing.repo) / "blobs"
    missing = [file for file in files if file.blob is None or not (blobs / file.blob).exists()]
    need_bytes = sum(file.n_bytes for file in missing)
    folder = root.absolute()
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    if missing and free_bytes < need_bytes + _SPARE_BYTES:
        raise UserError(
            f"{listing.repo} needs {format_bytes(need_bytes)} in {root}, only {format_bytes(free_bytes)} are free; "
            "free space, or set HF_HOME to a folder on another disk"
        )
