"""From a repository on a Hugging Face hub to files on this disk, pinned to one commit.

This is the only importer of huggingface_hub. The commit is looked up first and everything else is asked of that
commit. Files go to the usual Hugging Face cache, so other programs share them; HF_ENDPOINT, HF_HOME, HF_TOKEN and
HF_HUB_OFFLINE mean what they always mean. Where the hub cannot be reached, what the cache holds whole is used, with a
word.
"""

import errno
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub.hf_api
import huggingface_hub.utils.logging
from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from quant.base.errors import UserError
from quant.base.hashes import cached_sha256
from quant.base.progress import Progress, silent
from quant.hub.offline_cache import Listing, is_commit, kept_listing, remember_revision, require_room, snapshot_dir
from quant.hub.select import (
    CONFIG,
    INDEX,
    RepoFile,
    choose_ggufs,
    choose_small,
    choose_weights,
    level_of_name,
    model_ggufs,
)
from quant.hub.tqdm_adapter import meter_class

# Every failure of the transport derives from it: httpx's in huggingface_hub 1, httpx2's in 2.
_TRANSPORT_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]
_TIMEOUT_S = 15.0
_TRIES = 4
_PAUSE_S = 1.0
_MAX_FILES = 50_000
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLIENT = HfApi(library_name="slmprof")


@dataclass(frozen=True)
class Pulled:
    """A checkpoint on disk."""

    path: Path  # the directory that holds config.json
    commit: str
    repo: str


def _refuse_unsupported(config: dict[str, Any]) -> None:
    from quant.convert.checkpoint import refuse_quantized
    from quant.convert.families import family_of

    refuse_quantized(config, "the checkpoint")
    names = config.get("architectures")
    if isinstance(names, list) and names:
        family_of(config)


def pull(
    repo: str,
    revision: str | None = None,
    *,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
    accept: Callable[[dict[str, Any]], object] = _refuse_unsupported,
) -> Pulled:
    """Fetch a checkpoint: config, tokenizer and safetensors; never a pickle, never code.

    Args:
        accept: is given the config before the weights are fetched, and raises UserError to spare them; by default for
            an architecture that cannot be converted.

    Raises:
        UserError: the repository, the revision, the licence, the network, the disk or the content stands in the way.
    """
    listing = _listing(repo, revision)
    with _whole_or_told(listing, say):
        small = choose_small(repo, listing.files)
        paths = _fetch(listing, small, progress)
        accept(_read_config(repo, paths[CONFIG]))
        index = paths[INDEX].read_bytes() if INDEX in paths else None
        _fetch(listing, choose_weights(repo, listing.files, index), progress)
    remember_revision(hub_cache_dir(), listing)
    return Pulled(path=snapshot_dir(hub_cache_dir(), listing), commit=listing.commit, repo=repo)


def pull_config(repo: str, revision: str | None = None) -> dict[str, Any]:
    """Fetch a checkpoint's config.json alone.

    Raises:
        UserError: as `pull`.
    """
    listing = _listing(repo, revision)
    with _whole_or_told(listing):
        found = [file for file in listing.files if file.path == CONFIG]
        if not found:
            raise UserError(f"{repo} has no {CONFIG}; give the repository of a checkpoint")
        config = _read_config(repo, _fetch(listing, found, silent)[CONFIG])
    remember_revision(hub_cache_dir(), listing)
    return config


def pull_ggufs(
    repo: str,
    levels: Sequence[str] | None,
    revision: str | None = None,
    *,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, list[Path]]:
    """Fetch the GGUF files of the levels asked for; of a sharded one all shards, in order.

    Args:
        levels: levels' own names; None takes the only level there is.

    Raises:
        UserError: as `pull`; or a level is not there, or there more than once.
    """
    listing = _listing(repo, revision)
    with _whole_or_told(listing, say):
        chosen = choose_ggufs(repo, listing.files, levels)
        paths = _fetch(listing, [file for files in chosen.values() for file in files], progress)
    remember_revision(hub_cache_dir(), listing)
    return {level: [paths[file.path] for file in files] for level, files in chosen.items()}


def gguf_levels(repo: str, revision: str | None = None) -> list[str]:
    """Give the levels that the names of a repository's GGUF files tell, each once.

    Raises:
        UserError: as `pull`.
    """
    found = (level_of_name(file.path) for file in model_ggufs(_listing(repo, revision).files))
    return list(dict.fromkeys(level for level in found if level))


def holds_ggufs(repo: str, revision: str | None = None) -> bool:
    """Tell whether a repository holds models as GGUF files.

    Raises:
        UserError: as `pull`.
    """
    return bool(model_ggufs(_listing(repo, revision).files))


def hub_cache_dir() -> Path:
    """Give the folder where huggingface_hub keeps what it fetched."""
    return Path(constants.HF_HUB_CACHE).expanduser()


def _host() -> str:
    return urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT


@lru_cache(maxsize=64)
def _listing(repo: str, revision: str | None) -> Listing:
    """Look a repository up, once per process: what was found is then of one commit throughout."""
    asked = revision or "main"
    try:
        return _ask(repo, asked)
    except OfflineModeIsEnabled:
        return _kept(repo, asked, "HF_HUB_OFFLINE is set")
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise _explained(error, repo, asked) from error
        return _kept(repo, asked, f"{_host()} answers with error {error.response.status_code}")
    except _TRANSPORT_ERROR as error:
        return _kept(repo, asked, f"{_host()} cannot be reached ({_brief(error)})")
    except HFValidationError as error:
        raise UserError(f"'{repo}' is no hub id; write it like org/name or org/name@revision") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{_host()} does not answer as a Hugging Face hub does; check HF_ENDPOINT") from error


def _ask(repo: str, revision: str) -> Listing:
    with _quiet():
        commit = _CLIENT.model_info(repo, revision=revision, timeout=_TIMEOUT_S).sha
        if commit is None or not is_commit(commit):
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


def _kept(repo: str, revision: str, why: str) -> Listing:
    """Give what the cache holds, since the hub cannot tell."""
    listing = kept_listing(hub_cache_dir(), repo, revision, why)
    if listing is None:
        raise UserError(
            f"{why}, and {repo} is not in the cache {hub_cache_dir()}; "
            "go online once, set HF_ENDPOINT to a mirror, or give a local directory"
        )
    return listing


@contextmanager
def _whole_or_told(listing: Listing, say: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Tell that the cache is used; what it lacks is then its fault, not the repository's."""
    if listing.unreachable is None:
        yield
        return
    try:
        yield
    except UserError as error:
        lack = str(error).rpartition(";")[0]
        raise UserError(
            f"{listing.unreachable}, and the cache does not hold all of {listing.repo}: {lack}; go online once"
        ) from error
    say(f"{listing.unreachable}; using {listing.repo} from the cache, commit {listing.commit[:12]}")


def _fetch(listing: Listing, files: Sequence[RepoFile], progress: Progress) -> dict[str, Path]:
    """Bring files to the disk and give their paths by name."""
    if listing.unreachable is not None:
        return {file.path: snapshot_dir(hub_cache_dir(), listing) / file.path for file in files}
    require_room(hub_cache_dir(), listing, files)
    total = sum(file.n_bytes for file in files)
    done = 0
    paths = {}
    for file in files:
        meter = meter_class(progress, f"fetch {listing.repo}", done, file.n_bytes, total)
        paths[file.path] = _fetch_one(listing, file, meter, progress)
        done += file.n_bytes
        progress(f"fetch {listing.repo}", done, total)
    return paths


def _fetch_one(listing: Listing, file: RepoFile, meter: type, progress: Progress) -> Path:
    """Bring one file to the disk, and make sure that it is what the hub lists.

    huggingface_hub goes on with a range after a connection that ended early, but gives up on one that was reset, and
    checks the size of what it fetched but not of what it finds in its cache.
    """
    again = False
    for attempt in range(_TRIES):
        try:
            with _quiet():
                got = hf_hub_download(
                    listing.repo,
                    file.path,
                    revision=listing.commit,
                    library_name="slmprof",
                    tqdm_class=meter,
                    force_download=again,
                )
        except (HfHubHTTPError, EntryNotFoundError) as error:
            raise _explained(error, listing.repo, listing.revision) from error
        except _TRANSPORT_ERROR as error:
            if attempt + 1 == _TRIES:
                raise UserError(
                    f"the connection to {_host()} was lost at {file.path} ({_brief(error)}); "
                    "run the same command again, finished files are kept"
                ) from error
            time.sleep(_PAUSE_S)
            continue
        except OSError as error:
            if "Consistency check" not in str(error):
                raise _disk_trouble(error, listing) from error
            again = True
            continue
        except (ValueError, RuntimeError) as error:  # hf_xet tells every trouble so
            raise UserError(f"cannot fetch {file.path} of {listing.repo}: {_brief(error)}; try again") from error
        path = Path(got)
        if path.stat().st_size == file.n_bytes and file.sha256 in (None, cached_sha256([path], progress)):
            return path
        _discard(path)
        again = True
    raise UserError(f"{file.path} of {listing.repo} is not what {_host()} lists, tried {_TRIES} times; try later")


def _discard(path: Path) -> None:
    """Take a wrong file out of the cache, so that nobody takes it for right when the hub cannot be asked."""
    for each in (path.resolve(), path):
        with suppress(OSError):
            each.unlink(missing_ok=True)


def _read_config(repo: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"the {CONFIG} of {repo} is damaged; give another revision of it") from error
    if not isinstance(config, dict):
        raise UserError(f"the {CONFIG} of {repo} holds no JSON object; give another revision of it")
    return config


def _explained(error: Exception, repo: str, revision: str) -> UserError:
    """Say in one line what a hub's refusal means and what to do."""
    token = "HF_TOKEN is set but not enough" if _has_token() else "set HF_TOKEN to your access token"
    if isinstance(error, GatedRepoError):
        return UserError(f"{repo} is gated; accept its licence at {constants.ENDPOINT}/{repo}, and then: {token}")
    if isinstance(error, RevisionNotFoundError):
        return UserError(f"{repo} has no revision '{revision}'; give a branch, a tag or a commit of it")
    if isinstance(error, RepositoryNotFoundError):
        return UserError(f"{_host()} has no model '{repo}', or it is private; check the name, or: {token}")
    if isinstance(error, LocalEntryNotFoundError):
        return UserError(f"the connection to {_host()} was lost; run the same command again, finished files are kept")
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return UserError(f"{_host()} denies access to {repo} (error {status}); {token}, one that may read it")
        if status == 429:
            return UserError(f"{_host()} asks for fewer requests; wait some minutes, or set HF_TOKEN")
        return UserError(f"{_host()} answers {repo} with error {status}; try again later")
    return UserError(f"{_host()} lists a file of {repo} that it does not have; try again later")


def _has_token() -> bool:
    with _quiet():
        return huggingface_hub.get_token() is not None


def _disk_trouble(error: OSError, listing: Listing) -> UserError:
    if error.errno in _DISK_FULL:
        return UserError(
            f"the disk of {hub_cache_dir()} is full at {listing.repo}; free space, or set HF_HOME to another disk"
        )
    return UserError(f"cannot keep {listing.repo} in {hub_cache_dir()}: {_brief(error)}; set HF_HOME to another folder")


def _brief(error: Exception) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= 120 else text[:119] + "…"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep huggingface_hub's own words off stderr: what matters is told by this module."""
    huggingface_hub.utils.logging.set_verbosity(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
