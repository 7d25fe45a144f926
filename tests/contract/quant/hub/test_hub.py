"""Fetching through the real huggingface_hub, from a hub on loopback. Each test has a cache and a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hubserver import Hub, Repo, running_hub
from tests.support.paths import ROOT

MIB = 1 << 20
# huggingface_hub reads a body in pieces of 10 MiB and resumes after the last whole one.
BIG = bytes(range(256)) * (24 * MIB // 256)
INDEX = json.dumps(
    {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
).encode()
SMALL = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{ }",
    "README.md": b"---\nlicense: mit\n---\n",
}
CHECKPOINT = {
    **SMALL,
    "model.safetensors": b"weights" * 1000,
    "pytorch_model.bin": b"pickle",
    "modeling_x.py": b"code",
    "original/consolidated.00.pth": b"pickle",
    "onnx/model.onnx": b"onnx",
    "consolidated.safetensors": b"again",
}
SHARDED = {
    **SMALL,
    "model.safetensors.index.json": INDEX,
    "model-00001-of-00002.safetensors": b"one" * 999,
    "model-00002-of-00002.safetensors": b"two" * 999,
    "extra.safetensors": b"no part of it",
}
ADAPTER = {
    "adapter_config.json": b'{"peft_type": "LORA", "base_model_name_or_path": "org/tiny"}',
    "adapter_model.bin": b"pickle",
    "adapter_model.safetensors": b"factors" * 1000,
    "training_args.bin": b"pickle",
    "tokenizer.json": b"{}",
    "README.md": b"",
}
GGUFS = {
    "README.md": b"",
    "x-Q4_K_M.gguf": b"GGUF four",
    "x-q8_0.gguf": b"GGUF eight",
    "big/x-F16-00001-of-00002.gguf": b"GGUF one",
    "big/x-F16-00002-of-00002.gguf": b"GGUF two",
    "mmproj-x-Q8_0.gguf": b"GGUF projector",
    "x-imatrix.gguf": b"GGUF matrix",
    "x-Q6_K.gguf": b"GGUF six",
    "other/y-Q6_K.gguf": b"GGUF another six",
    "x-Q5_K_M-00001-of-00002.gguf": b"GGUF half",
}


def all_repos() -> dict[str, Repo]:
    return {
        "org/tiny": Repo(CHECKPOINT),
        "org/sharded": Repo(SHARDED),
        "org/big": Repo({**SMALL, "model.safetensors": BIG}),
        "org/gated": Repo(CHECKPOINT, gated=True),
        "org/private": Repo(CHECKPOINT, private=True),
        "org/pickled": Repo({**SMALL, "pytorch_model.bin": b"pickle", "training_args.bin": b"pickle", "m.py": b"code"}),
        "org/other-pickled": Repo({**SMALL, "consolidated.00.pth": b"pickle"}),
        "org/unknown": Repo({**CHECKPOINT, "config.json": b'{"architectures": ["FooForCausalLM"]}'}),
        "org/lora": Repo(ADAPTER),
        "org/dora": Repo({**ADAPTER, "adapter_config.json": b'{"peft_type": "LORA", "use_dora": true}'}),
        "org/bare": Repo({"README.md": b"", "data.csv": b""}),
        "org/escaping": Repo(
            {**SMALL, "model.safetensors.index.json": b'{"weight_map": {"a": "../../x.safetensors"}}'}
        ),
        "org/tiny-GGUF": Repo(GGUFS),
        "org/one-GGUF": Repo({"m.gguf-notes.txt": b"", "m-fp16.gguf": b"GGUF"}),
    }


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub(all_repos()) as running:
        yield running


class Client:
    """Calls quant.hub.fetch in a process of its own, since huggingface_hub reads its settings when it is imported."""

    def __init__(self, home: Path, endpoint: str) -> None:
        self.home = home
        self.settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE"))},
            "HF_HOME": str(home / "hf"),
            "SLMPROF_CACHE": str(home / "slmprof"),
            "HF_ENDPOINT": endpoint,
            "no_proxy": "127.0.0.1",
        }

    def run(self, call: str, **settings: str) -> subprocess.CompletedProcess[str]:
        code = (
            "import json, sys\n"
            "from quant.base.errors import UserError\n"
            "from quant.base.progress import watch\n"
            "from quant.hub.fetch import *\n"
            "said, seen = [], []\n"
            "def progress(stage, done, total): seen.append([stage, done, total])\n"
            "def refusal_of(call):\n"
            "    try:\n"
            "        return f'not refused: {eval(call)}'\n"
            "    except UserError as error:\n"
            "        return str(error)\n"
            "try:\n"
            "    with watch(say=said.append, progress=progress):\n"
            f"        result = {call}\n"
            "except UserError as error:\n"
            "    print(error, file=sys.stderr)\n"
            "    sys.exit(2)\n"
            "print(json.dumps({'result': result, 'said': said, 'seen': seen}, default=str))\n"
        )
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**self.settings, **settings},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def good(self, call: str, **settings: str) -> dict:
        done = self.run(call, **settings)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    def refused(self, call: str, **settings: str) -> str:
        done = self.run(call, **settings)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr.strip()

    def pulled(self, repo: str, revision: str | None = None, **settings: str) -> tuple[Path, str, dict]:
        call = f"(lambda p: [p.path, p.commit])(pull({repo!r}, {revision!r}))"
        answer = self.good(call, **settings)
        return Path(answer["result"][0]), answer["result"][1], answer


@pytest.fixture
def client(hub: Hub, tmp_path: Path) -> Client:
    return Client(tmp_path, hub.url)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_checkpoint_is_fetched_at_its_commit_without_pickles_code_or_copies(hub: Hub, client: Client) -> None:
    folder, commit, answer = client.pulled("org/tiny")

    wanted = {name: CHECKPOINT[name] for name in (*SMALL, "model.safetensors")}
    assert files_in(folder) == wanted
    assert commit == hub.repos["org/tiny"].commit
    assert folder.name == commit
    assert hub.fetched() == set(wanted)
    assert all(f"/resolve/{commit}/" in request.path for request in hub.requests if "/resolve/" in request.path)
    assert answer["said"] == []
    fetched = [(done, total) for stage, done, total in answer["seen"] if stage == "fetch org/tiny"]
    assert fetched[-1] == (len(CHECKPOINT["model.safetensors"]),) * 2


def test_pickled_weights_are_fetched_where_there_are_no_others_and_a_line_says_so(hub: Hub, client: Client) -> None:
    folder, _, answer = client.pulled("org/pickled")
    wanted = {*SMALL, "pytorch_model.bin"}
    assert set(files_in(folder)) == hub.fetched() == wanted
    assert len(answer["said"]) == 1
    assert (
        "org/pickled has no safetensors; downloading its pickled weights, which are read as data" in answer["said"][0]
    )


def test_of_an_adapter_its_config_and_weights_are_fetched(hub: Hub, client: Client) -> None:
    call = "[holds_adapter('org/lora'), holds_adapter('org/tiny'), pull_adapter('org/lora').path]"
    is_one, other_is_one, folder = client.good(call)["result"]
    assert (is_one, other_is_one) == (True, False)
    wanted = {name: ADAPTER[name] for name in ("adapter_config.json", "adapter_model.safetensors")}
    assert files_in(Path(folder)) == wanted
    assert hub.fetched() == set(wanted)
    hub.requests.clear()
    assert "use_dora" in client.refused("pull_adapter('org/dora')")
    assert hub.fetched() == {"adapter_config.json"}


def test_what_is_there_is_not_fetched_again(hub: Hub, client: Client) -> None:
    first = client.pulled("org/tiny")[0]
    hub.requests.clear()

    assert client.pulled("org/tiny", "v1")[0] == first
    assert hub.fetched() == set()


def test_the_shards_are_those_that_the_index_names(hub: Hub, client: Client) -> None:
    folder = client.pulled("org/sharded")[0]

    assert files_in(folder) == {name: SHARDED[name] for name in SHARDED if name != "extra.safetensors"}


def test_a_dropped_connection_is_resumed_with_a_range(hub: Hub, client: Client) -> None:
    hub.drop_after["model.safetensors"] = 15 * MIB

    folder, _, answer = client.pulled("org/big")

    assert (folder / "model.safetensors").read_bytes() == BIG
    assert hub.ranges() == [f"bytes={10 * MIB}-"]
    assert all(done <= total for _, done, total in answer["seen"])


def test_a_reset_connection_is_tried_again(hub: Hub, client: Client) -> None:
    hub.reset_after["model.safetensors"] = 3000

    assert (client.pulled("org/tiny")[0] / "model.safetensors").read_bytes() == CHECKPOINT["model.safetensors"]


def test_a_gated_repository_names_the_next_step_and_opens_with_the_token(hub: Hub, client: Client) -> None:
    line = client.refused("pull('org/gated')")
    assert "gated" in line
    assert f"{hub.url}/org/gated" in line
    assert "HF_TOKEN" in line
    assert "not enough" in client.refused("pull('org/gated')", HF_TOKEN="wrong")

    client.pulled("org/gated", HF_TOKEN="secret")
    assert "Bearer secret" in {request.authorization for request in hub.requests}


def test_a_private_repository_opens_with_the_token(client: Client) -> None:
    assert "private" in client.refused("pull('org/private')")
    client.pulled("org/private", HF_TOKEN="secret")


REFUSED = {
    "pull('org/none')": ["no model 'org/none'", "check the name"],
    "pull('org/tiny', 'v9')": ["org/tiny has no revision 'v9'"],
    "pull('org/other-pickled')": ["consolidated.00.pth", "look for a copy with safetensors"],
    "pull('org/lora')": ["holds an adapter", "--adapter org/lora"],
    "pull_adapter('org/tiny')": ["org/tiny has no adapter_config.json"],
    "pull('org/bare')": ["org/bare has no config.json"],
    "pull('org/escaping')": ["../../x.safetensors", "no .safetensors file"],
    "pull('org/tiny-GGUF')": ["GGUF files", "-q LEVELS"],
    "pull_ggufs('org/tiny-GGUF', ['Q2_K'])": ["no Q2_K", "Q8_0", "Q4_K_M"],
    "pull_ggufs('org/tiny-GGUF', ['Q6_K'])": ["more than once", "x-Q6_K.gguf", "other/y-Q6_K.gguf"],
    "pull_ggufs('org/tiny-GGUF', ['Q5_K_M'])": ["lacks a shard", "1 of 2"],
    "pull_ggufs('org/tiny-GGUF', None)": ["choose with -q"],
    "pull_config('org/tiny-GGUF')": ["no config.json"],
}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the refusal of each call; one process makes them all, since each costs the import of huggingface_hub."""
    with running_hub(all_repos()) as hub:
        return Client(tmp_path_factory.mktemp("refusals"), hub.url).good(
            f"{{call: refusal_of(call) for call in {list(REFUSED)!r}}}"
        )["result"]


@pytest.mark.parametrize("call", REFUSED)
def test_each_refusal_is_one_line(refusals: dict[str, str], call: str) -> None:
    line = refusals[call]
    assert len(line.splitlines()) == 1
    assert all(word in line for word in REFUSED[call]), line


def test_levels_pick_their_gguf_files_and_all_shards(hub: Hub, client: Client) -> None:
    answer = client.good("pull_ggufs('org/tiny-GGUF', ['F16', 'Q8_0'])")["result"]

    assert [Path(path).read_bytes() for path in answer["F16"]] == [b"GGUF one", b"GGUF two"]
    assert [Path(path).read_bytes() for path in answer["Q8_0"]] == [b"GGUF eight"]
    assert hub.fetched() == {"big/x-F16-00001-of-00002.gguf", "big/x-F16-00002-of-00002.gguf", "x-q8_0.gguf"}


def test_what_kind_of_repository_it_is(client: Client) -> None:
    call = "[holds_ggufs('org/tiny'), holds_ggufs('org/tiny-GGUF'), gguf_levels('org/tiny-GGUF')]"
    assert client.good(call)["result"] == [False, True, ["Q4_K_M", "Q8_0", "F16", "Q6_K", "Q5_K_M"]]
    assert list(client.good("pull_ggufs('org/one-GGUF', None)")["result"]) == ["F16"]


def test_the_config_alone(hub: Hub, client: Client) -> None:
    assert client.good("pull_config('org/tiny')")["result"] == {"architectures": ["LlamaForCausalLM"]}
    assert hub.fetched() == {"config.json"}


def test_an_architecture_that_cannot_be_converted_spares_its_weights(hub: Hub, client: Client) -> None:
    line = client.refused("pull('org/unknown')")
    assert "FooForCausalLM" in line
    assert "--converter" in line
    assert "model.safetensors" not in hub.fetched()


@pytest.mark.parametrize("setting", ["HF_HUB_OFFLINE", "HF_ENDPOINT"])
def test_offline_a_warm_cache_serves_and_is_reported(client: Client, setting: str) -> None:
    folder, commit, _ = client.pulled("org/tiny")
    client.good("pull_ggufs('org/tiny-GGUF', ['Q8_0'])")
    # A port that nothing listens at stands for a network that is down.
    offline = {setting: "1" if setting == "HF_HUB_OFFLINE" else "http://127.0.0.1:9"}

    again, same, answer = client.pulled("org/tiny", **offline)
    assert (again, same) == (folder, commit)
    assert len(answer["said"]) == 1
    assert "from the cache" in answer["said"][0]
    path, levels, refusal = client.good(
        f"[pull('org/tiny', {commit!r}).path, list(pull_ggufs('org/tiny-GGUF', ['Q8_0'])),"
        " refusal_of(\"pull_ggufs('org/tiny-GGUF', ['Q4_K_M'])\")]",
        **offline,
    )["result"]
    assert Path(path) == folder
    assert levels == ["Q8_0"]
    assert "no Q4_K_M" in refusal


def test_offline_a_cold_cache_is_one_line(client: Client) -> None:
    assert "HF_HUB_OFFLINE is set" in client.refused("pull('org/tiny')", HF_HUB_OFFLINE="1")
    line = client.refused("pull('org/tiny')", HF_ENDPOINT="http://127.0.0.1:9")
    assert "127.0.0.1:9 cannot be reached" in line
    assert "not in the cache" in line


def test_a_hub_out_of_order_is_like_no_hub(hub: Hub, client: Client) -> None:
    folder = client.pulled("org/tiny")[0]
    hub.fail_status = 503

    again, _, answer = client.pulled("org/tiny")
    assert again == folder
    assert "error 503" in answer["said"][0]


def test_a_partial_download_is_never_taken_for_whole(hub: Hub, client: Client) -> None:
    second = "model-00002-of-00002.safetensors"
    hub.corrupt.add(second)

    line = client.refused("pull('org/sharded')")
    assert second in line
    assert "is not what" in line
    assert "does not hold all of org/sharded" in client.refused(
        f"pull('org/sharded', {hub.repos['org/sharded'].commit!r})", HF_HUB_OFFLINE="1"
    )

    hub.corrupt.clear()
    folder = client.pulled("org/sharded")[0]
    assert (folder / second).read_bytes() == SHARDED[second]


def test_offline_a_partial_cache_is_refused(hub: Hub, client: Client) -> None:
    folder, commit, _ = client.pulled("org/sharded")
    (folder / "model-00002-of-00002.safetensors").unlink()

    line = client.refused(f"pull('org/sharded', {commit!r})", HF_HUB_OFFLINE="1")
    assert "does not hold all of org/sharded" in line
    assert "model-00002-of-00002.safetensors" in line


def test_a_damaged_file_in_the_cache_is_fetched_again(hub: Hub, client: Client) -> None:
    folder = client.pulled("org/tiny")[0]
    (folder / "model.safetensors").resolve().write_bytes(b"cut")

    assert client.pulled("org/tiny")[0] == folder
    assert (folder / "model.safetensors").read_bytes() == CHECKPOINT["model.safetensors"]


def test_a_page_that_is_no_hub_is_named(tmp_path: Path) -> None:
    with running_hub({}) as hub:
        hub.fail_status = 200
        line = Client(tmp_path, hub.url).refused("pull('org/tiny')")
    assert "HF_ENDPOINT" in line
