"""What the user typed: a name, a hub id, a directory, a config.json or a GGUF file."""

import errno
from pathlib import Path

import pytest

from quant.base.errors import UserError
from quant.sources.resolve import resolve


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_name_is_the_registry_s() -> None:
    source = resolve("SmolLM2_135M")
    assert (source.kind, source.repo) == ("registry", "HuggingFaceTB/SmolLM2-135M")
    assert source.spec is not None
    assert source.spec.name == "smollm2-135m"


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("org/name", "org/name", None),
        ("org/name@v1.0", "org/name", "v1.0"),
        ("org/name@refs/pr/3", "org/name", "refs/pr/3"),
        ("Org-1/Na.me_2-GGUF", "Org-1/Na.me_2-GGUF", None),
        ("https://huggingface.co/org/name", "org/name", None),
    ],
)
def test_a_hub_id(text: str, repo: str, revision: str | None) -> None:
    source = resolve(text)
    assert (source.kind, source.repo, source.revision) == ("hub", repo, revision)


@pytest.mark.parametrize(
    "text",
    [
        "a/b/c",
        "org/../name",
        "org/..",
        "org/name@../x",
        "org/name@",
        "org name/x",
        "org/name;rm",
        "-o/x",
        "org/name@/etc",
        "x" * 5000,
        "org/na\0me",
        "https://example.com/org/name",
    ],
)
def test_what_is_nothing_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refusal:
        resolve(text)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "text", ["./none", "../none", "/none/at/all", "~/none-at-all", "none.gguf", "a/config.json", "x/"]
)
def test_a_path_that_is_not_there_is_no_hub_id(text: str) -> None:
    with pytest.raises(UserError, match="there is no file or directory"):
        resolve(text)


def test_a_folder_that_may_not_be_read_is_not_called_missing(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(UserError, match=r"cannot read closed/m\.gguf: Permission denied"):
        resolve("closed/m.gguf")


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_source(text: str) -> None:
    with pytest.raises(UserError, match="empty"):
        resolve(text)


def test_what_is_on_disk_wins_over_names(elsewhere: Path) -> None:
    for name in ("smollm2-135m", "org/name"):
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "config.json").write_text("{}")
        source = resolve(name)
        assert (source.kind, source.path) == ("directory", Path(name))


def test_files_are_known_by_their_ends_and_gguf_files_by_their_content(elsewhere: Path) -> None:
    for name, kind in (("m.gguf", "gguf"), ("config.json", "config"), ("tiny.json", "config")):
        (elsewhere / name).touch()
        assert resolve(name).kind == kind
        assert resolve(f"./{name}").kind == kind
    (elsewhere / "UPPER.GGUF").touch()
    assert resolve("UPPER.GGUF").kind == "gguf"
    for name in ("sha256-c0ffee", "model.bin", "looks-like.json"):
        (elsewhere / name).write_bytes(b"GGUF\x03\0\0\0")
        assert resolve(name).kind == "gguf"
    (elsewhere / "model.safetensors").touch()
    with pytest.raises(UserError, match="pass the directory it is in"):
        resolve("model.safetensors")


def test_a_directory_without_a_config_is_refused(elsewhere: Path) -> None:
    (elsewhere / "folder").mkdir()
    with pytest.raises(UserError, match=r"folder has no config\.json"):
        resolve("folder")
    (elsewhere / "folder" / "m-Q4_0.gguf").touch()
    with pytest.raises(UserError, match=r"folder/m-Q4_0\.gguf"):
        resolve("./folder")


def test_a_misspelt_name_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match=r"'qwen2-0\.5' is no known model.*did you mean 'qwen2-0\.5b'\?"):
        resolve("qwen2-0.5")
