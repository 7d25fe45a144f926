"""What a repository holds at one commit: looked up at the hub, or in the cache when the hub cannot be reached.

Errors of huggingface_hub become one-line messages here.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub.hf_api
import huggingface_hub.utils.logging
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from quant.base.errors import UserError
from quant.base.files import write_text
from quant.hub.select import RepoFile, is_plain

# Every failure of the transport derives from it: httpx's in huggingface_hub 1, httpx2's in 2.
TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]
_TIMEOUT_S = 15.0
_MAX_FILES = 50_000
_MAX_MESSAGE = 120
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CLIENT = HfApi(library_name="slmprof")


@dataclass(frozen=True)
class Listing:
    """The files of a repository at a commit."""

    repo: str
    revision: str  # as requested: a branch, a tag or a commit
    commit: str
    files: tuple[RepoFile, ...]
    unreachable: str | None = None  # why the hub was not used; the files are then those in the cache

    @property
    def storage_dir(self) -> Path:
        """The repository's folder in huggingface_hub's cache, with `blobs`, `refs` and `snapshots`.

        Source: huggingface_hub's guide "Understand caching".
        """
        return hub_cache_dir() / repo_folder_name(repo_id=self.repo, repo_type="model")

    @property
    def snapshot_dir(self) -> Path:
        """The folder with this commit's files; a file appears there only when it is whole."""
        return self.storage_dir / "snapshots" / self.commit

    def remember_revision(self) -> None:
        """Record which commit a branch or tag is, so that the revision can be found offline."""
        if self.unreachable is None and self.revision != self.commit and is_plain(self.revision):
            with suppress(UserError):
                write_text(self.storage_dir / "refs" / self.revision, self.commit)


def hub_cache_dir() -> Path:
    """Return the folder where huggingface_hub keeps its downloads."""
    return Path(constants.HF_HUB_CACHE).expanduser()


def hub_host() -> str:
    """Return the hub's host name, for messages."""
    return urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT


@lru_cache(maxsize=64)
def look_up(repo: str, revision: str | None) -> Listing:
    """List a repository's files, once per process, so that everything comes from one commit.

    Raises:
        UserError: the repository or the revision does not exist, or the hub cannot be reached and nothing is cached.
    """
    requested = revision or "main"
    try:
        return _from_hub(repo, requested)
    except OfflineModeIsEnabled:
        reason = "HF_HUB_OFFLINE is set"
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise refusal(error, repo, requested) from error
        reason = f"{hub_host()} answers with error {error.response.status_code}"
    except TRANSPORT_ERROR as error:
        reason = f"{hub_host()} cannot be reached ({first_line(error)})"
    except HFValidationError as error:
        raise UserError(f"'{repo}' is no hub id; write it like org/name or org/name@revision") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{hub_host()} does not answer like a Hugging Face hub; check HF_ENDPOINT") from error
    return _from_cache(repo, requested, reason)


def _from_hub(repo: str, revision: str) -> Listing:
    with quiet_hub():
        commit = _CLIENT.model_info(repo, revision=revision, timeout=_TIMEOUT_S).sha
        if commit is None or not _COMMIT.fullmatch(commit):
            raise ValueError("no commit")
        tree = islice(_CLIENT.list_repo_tree(repo, recursive=True, revision=commit), _MAX_FILES)
        files = tuple(
            RepoFile(
                path=entry.path,
                n_bytes=int(entry.size),
                blob=entry.lfs.sha256 if entry.lfs else entry.blob_id,
                sha256=entry.lfs.sha256 if entry.lfs else None,
            )
            for entry in tree
            if isinstance(entry, huggingface_hub.hf_api.RepoFile)
        )
    return Listing(repo=repo, revision=revision, commit=commit, files=files)


def _from_cache(repo: str, revision: str, reason: str) -> Listing:
    try:
        with quiet_hub():  # no patterns: only the snapshot's folder is looked up
            folder = Path(snapshot_download(repo, revision=revision, local_files_only=True, allow_patterns=[]))
        if not _COMMIT.fullmatch(folder.name):
            raise LocalEntryNotFoundError("no commit")
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"{reason}, and {repo} is not in the cache {hub_cache_dir()}; "
            "go online once, set HF_ENDPOINT to a mirror, or pass a local directory"
        ) from error
    files = tuple(
        RepoFile(path=path.relative_to(folder).as_posix(), n_bytes=path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )
    return Listing(repo=repo, revision=revision, commit=folder.name, files=files, unreachable=reason)


def refusal(error: Exception, repo: str, revision: str) -> UserError:
    """Return what a hub's refusal means, and what to do, in one line."""
    with quiet_hub():
        has_token = huggingface_hub.get_token() is not None
    token = "HF_TOKEN is set but not enough" if has_token else "set HF_TOKEN to your access token"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, GatedRepoError):
        text = f"{repo} is gated; accept its licence at {constants.ENDPOINT}/{repo}, and then: {token}"
    elif isinstance(error, RevisionNotFoundError):
        text = f"{repo} has no revision '{revision}'; choose a branch, a tag or a commit of it"
    elif isinstance(error, RepositoryNotFoundError):
        text = f"{hub_host()} has no model '{repo}', or it is private; check the name, or: {token}"
    elif isinstance(error, LocalEntryNotFoundError):
        text = f"the connection to {hub_host()} was lost; run the same command again, finished files are kept"
    elif status in (401, 403):
        text = f"{hub_host()} denies access to {repo} (error {status}); {token}, one that may read it"
    elif status == 429:
        text = f"{hub_host()} limits the rate of requests; wait some minutes, or set HF_TOKEN"
    elif status is not None:
        text = f"{hub_host()} answers {repo} with error {status}; try again later"
    else:
        text = f"{hub_host()} lists a file of {repo} that it does not have; try again later"
    return UserError(text)


def first_line(error: Exception) -> str:
    """Return an error's first line, cut to a readable length."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Keep huggingface_hub's own messages off stderr; this package reports what matters."""
    huggingface_hub.utils.logging.set_verbosity(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
