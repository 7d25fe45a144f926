"""Download a repository of a Hugging Face hub, pinned to one commit.

The commit is looked up first; every file is then requested at that commit. Files go to the usual Hugging Face cache,
which other programs share; HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE have their usual meaning. When the hub
cannot be reached, whole files in the cache are used and a line reports it.
"""

import errno
import io
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.utils.tqdm import tqdm

from quant.base.errors import UserError
from quant.base.files import require_space
from quant.base.hashes import cached_sha256
from quant.base.progress import progress, say
from quant.convert.weight_files import PICKLED
from quant.hub.listing import (
    TRANSPORT_ERROR,
    Listing,
    first_line,
    hub_cache_dir,
    hub_host,
    look_up,
    quiet_hub,
    refusal,
)
from quant.hub.select import (
    CONFIG,
    RepoFile,
    choose_adapter,
    choose_ggufs,
    choose_small,
    choose_weights,
    is_adapter,
    kind_of_weights,
    level_of_name,
    model_ggufs,
)

_TRIES = 4
_PAUSE_S = 1.0
_SPARE_BYTES = 16 << 20
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Pulled:
    """A checkpoint or an adapter on disk."""

    path: Path  # the directory that holds its config
    commit: str


def _refuse_unsupported(config: dict[str, Any]) -> None:
    from quant.convert.checkpoint import refuse_quantized
    from quant.convert.families import family_of

    refuse_quantized(config, "the checkpoint")
    names = config.get("architectures")
    if isinstance(names, list) and names:
        family_of(config)


def pull(repo: str, revision: str | None = None, *, any_family: bool = False) -> Pulled:
    """Download a checkpoint: config, tokenizer and weights, never code.

    The weights are safetensors. Pickled ones, which are read here without running anything in them, are downloaded only
    where there are no others, and a line reports it.

    Args:
        any_family: download weights even if they cannot be converted here.

    Raises:
        UserError: a problem with the repository, the revision, the licence, the network, the disk or the content.
    """
    with _listed(repo, revision) as listing:
        paths = _fetch(listing, choose_small(repo, listing.files))
        config = _read_config(repo, paths[CONFIG])
        if not any_family:
            _refuse_unsupported(config)
        kind = kind_of_weights(listing.files)
        assert kind is not None
        index = paths[kind.index].read_bytes() if kind.index in paths else None
        if kind is PICKLED:
            how = "" if any_family else ", which are read as data: nothing in them runs"
            say(f"{repo} has no safetensors; downloading its pickled weights{how}")
        _fetch(listing, choose_weights(repo, listing.files, kind, index))
    return Pulled(path=listing.snapshot_dir, commit=listing.commit)


def holds_adapter(repo: str, revision: str | None = None) -> bool:
    """Return whether a repository holds an adapter, and no weights of a model.

    Raises:
        UserError: as `pull`.
    """
    return is_adapter(look_up(repo, revision).files)


def pull_adapter(repo: str, revision: str | None = None) -> Pulled:
    """Download a LoRA adapter of peft: its config and its weights.

    Raises:
        UserError: as `pull`; or the adapter is of a kind that is not merged, which is found before its weights.
    """
    from quant.convert.adapter.lora_config import read_lora_config

    with _listed(repo, revision) as listing:
        config, weights = choose_adapter(repo, listing.files)
        _fetch(listing, [config])
        read_lora_config(listing.snapshot_dir)
        _fetch(listing, [weights])
    return Pulled(path=listing.snapshot_dir, commit=listing.commit)


def pull_config(repo: str, revision: str | None = None) -> dict[str, Any]:
    """Download a checkpoint's config.json alone.

    Raises:
        UserError: as `pull`.
    """
    with _listed(repo, revision) as listing:
        found = [file for file in listing.files if file.path == CONFIG]
        if not found:
            raise UserError(f"{repo} has no {CONFIG}; choose the repository of a checkpoint")
        return _read_config(repo, _fetch(listing, found)[CONFIG])


def pull_ggufs(
    repo: str,
    levels: Sequence[str] | None,
    revision: str | None = None,
) -> dict[str, list[Path]]:
    """Download the GGUF files of the requested levels; of a sharded file all shards, in order.

    Args:
        levels: canonical names of levels; None takes the only level there is.

    Raises:
        UserError: as `pull`; or a level does not exist, or exists more than once.
    """
    with _listed(repo, revision) as listing:
        chosen = choose_ggufs(repo, listing.files, levels)
        paths = _fetch(listing, [file for files in chosen.values() for file in files])
    return {level: [paths[file.path] for file in files] for level, files in chosen.items()}


def gguf_levels(repo: str, revision: str | None = None) -> list[str]:
    """Return the levels found in the names of a repository's GGUF files, each once.

    Raises:
        UserError: as `pull`.
    """
    found = (level_of_name(file.path) for file in model_ggufs(look_up(repo, revision).files))
    return list(dict.fromkeys(level for level in found if level))


def holds_ggufs(repo: str, revision: str | None = None) -> bool:
    """Return whether a repository holds models as GGUF files.

    Raises:
        UserError: as `pull`.
    """
    return bool(model_ggufs(look_up(repo, revision).files))


@contextmanager
def _listed(repo: str, revision: str | None) -> Iterator[Listing]:
    """Look up what a repository holds, and remember its revision when the block succeeds.

    Where the cache is used a line reports it; a missing file is then missing from the cache, not from the repository.
    """
    listing = look_up(repo, revision)
    try:
        yield listing
    except UserError as error:
        if listing.unreachable is None:
            raise
        missing = str(error).rpartition(";")[0]
        raise UserError(
            f"{listing.unreachable}, and the cache does not hold all of {listing.repo}: {missing}; go online once"
        ) from error
    if listing.unreachable is not None:
        say(f"{listing.unreachable}; using {listing.repo} from the cache, commit {listing.commit[:12]}")
    listing.remember_revision()


def _fetch(listing: Listing, files: Sequence[RepoFile]) -> dict[str, Path]:
    """Download files and return their paths by name.

    One after the other: snapshot_download does it in threads, and an interrupt then waits until they are done.
    """
    paths = {file.path: listing.snapshot_dir / file.path for file in files}
    if listing.unreachable is not None:
        return paths
    _require_space(listing, files)
    stage, total, done = f"fetch {listing.repo}", sum(file.n_bytes for file in files), 0
    for file in files:
        _fetch_one(listing, file, _bar_class(stage, done, file.n_bytes, total))
        done += file.n_bytes
        progress(stage, done, total)
    return paths


def _require_space(listing: Listing, files: Sequence[RepoFile]) -> None:
    """Refuse early when the disk has no room for the files that are not cached yet."""
    blobs = listing.storage_dir / "blobs"
    missing = [file for file in files if file.blob is None or not (blobs / file.blob).exists()]
    if missing:
        require_space(
            hub_cache_dir(),
            sum(file.n_bytes for file in missing) + _SPARE_BYTES,
            listing.repo,
            hint="set HF_HOME to a folder on another disk",
        )


def _fetch_one(listing: Listing, file: RepoFile, bar_class: type) -> None:
    """Download one file, and check it against the listing.

    huggingface_hub resumes a connection that ended early, but gives up on one that was reset; and it checks the size of
    what it downloads, but not of what is in its cache.
    """
    damaged = False
    for attempt in range(_TRIES):
        try:
            with quiet_hub():
                found = hf_hub_download(
                    listing.repo,
                    file.path,
                    revision=listing.commit,
                    library_name="slmprof",
                    tqdm_class=bar_class,
                    force_download=damaged,
                )
        except (HfHubHTTPError, EntryNotFoundError) as error:
            raise refusal(error, listing.repo, listing.revision) from error
        except TRANSPORT_ERROR as error:
            if attempt + 1 == _TRIES:
                raise UserError(
                    f"the connection to {hub_host()} was lost at {file.path} ({first_line(error)}); "
                    "run the same command again, finished files are kept"
                ) from error
            time.sleep(_PAUSE_S)
            continue
        except OSError as error:
            if "Consistency check" not in str(error):
                raise _cannot_keep(listing, error) from error
            damaged = True
            continue
        except (ValueError, RuntimeError) as error:  # all errors of hf_xet
            raise UserError(f"cannot download {file.path} of {listing.repo}: {first_line(error)}; try again") from error
        path = Path(found)
        if path.stat().st_size == file.n_bytes and file.sha256 in (None, cached_sha256([path])):
            return
        _discard(path)
        damaged = True
    raise UserError(
        f"{file.path} of {listing.repo} is not what {hub_host()} lists, tried {_TRIES} times; try again later"
    )


def _discard(path: Path) -> None:
    """Remove a damaged file from the cache, so that it is never used offline."""
    for each in (path.resolve(), path):
        with suppress(OSError):
            each.unlink(missing_ok=True)


def _bar_class(stage: str, before: int, n_bytes: int, total: int) -> type:
    """Return a tqdm class that reports one file's bytes as part of the total, and draws nothing."""

    class Bar(tqdm):
        monitor_interval = 0  # no thread

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "file": io.StringIO(), "disable": False})  # type: ignore[no-untyped-call]

        def display(self, *_args: Any, **_options: Any) -> None:
            # hf_xet has a second bar for the bytes on the network, which are not the file's own.
            if "downloading bytes" not in self.desc:
                progress(stage, before + max(0, min(int(self.n), n_bytes)), total)

    return Bar


def _read_config(repo: str, path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"the {CONFIG} of {repo} is damaged; choose another revision of it") from error
    if not isinstance(config, dict):
        raise UserError(f"the {CONFIG} of {repo} holds no JSON object; choose another revision of it")
    return config


def _cannot_keep(listing: Listing, error: OSError) -> UserError:
    if error.errno in _DISK_FULL:
        return UserError(
            f"the disk of {hub_cache_dir()} is full at {listing.repo}; free space, or set HF_HOME to another disk"
        )
    return UserError(
        f"cannot keep {listing.repo} in {hub_cache_dir()}: {first_line(error)}; set HF_HOME to another folder"
    )
