"""Where the other side comes from: llama.cpp's sources, its built tools, and an environment with torch."""

import json
import os
import subprocess
import sys
import tarfile
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from profiler.tasks.sets import HARNESS

_TORCH_SIDE = ("torch==2.13.0", "accelerate", "sentencepiece", "protobuf", "gguf==0.19.0", "safetensors", "numpy")
# By the first number of its version.
_TRANSFORMERS = {4: "transformers>=4.57,<4.58", 5: "transformers>=5.24,<5.25"}
_STORING = ("bitsandbytes>=0.50,<0.51", "compressed-tensors")
_SERVER = ("-DLLAMA_BUILD_SERVER=ON", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_BUILD_APP=OFF")
_PEFT = "peft>=0.19,<0.20"


class Oracle:
    """Everything that is fetched or built, made on first use inside one folder."""

    def __init__(self, work: Path, python: str) -> None:
        self.work, self.host_python = work, python
        work.mkdir(parents=True, exist_ok=True)

    @cached_property
    def llama_cpp(self) -> Path:
        """llama.cpp's folder inside the unpacked source distribution."""
        pin = version("llama-cpp-python")
        target = self.work / f"llama_cpp_python-{pin}"
        if not target.exists():
            run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python",
                 "--dest", str(self.work), f"llama-cpp-python=={pin}"])  # fmt: skip
            with tarfile.open(next(self.work.glob("llama_cpp_python-*.tar.gz"))) as archive:
                archive.extractall(self.work, filter="data")
        return target / "vendor" / "llama.cpp"

    @cached_property
    def python(self) -> Path:
        """The interpreter that has torch and transformers 4."""
        return self.environment("venv", *_TORCH_SIDE, _TRANSFORMERS[4])

    @cached_property
    def python_5(self) -> Path:
        """The interpreter that has torch and transformers 5."""
        return self.environment("venv-5", *_TORCH_SIDE, _TRANSFORMERS[5])

    @cached_property
    def python_stored(self) -> Path:
        """The interpreter that has the packages which store weights quantized."""
        return self.environment("venv-stored", *_TORCH_SIDE, _TRANSFORMERS[4], *_STORING)

    @cached_property
    def python_peft(self) -> Path:
        """The interpreter that has torch, transformers 4 and peft."""
        return self.environment("venv-peft", *_TORCH_SIDE, _TRANSFORMERS[4], _PEFT)

    @cached_property
    def python_harness(self) -> Path:
        """The interpreter that has torch, transformers 4 and lm-evaluation-harness with its backend for them."""
        return self.environment("venv-harness", *_TORCH_SIDE, _TRANSFORMERS[4], f"lm_eval=={HARNESS}")

    def environment(self, name: str, *packages: str) -> Path:
        """Return the interpreter of a virtual environment, made on first use and when its packages change."""
        folder = self.work / name
        interpreter, installed, wanted = folder / "bin" / "python", folder / "installed", "\n".join(packages)
        if not installed.exists() or installed.read_text() != wanted:
            run([self.host_python, "-m", "venv", str(folder)])
            run([str(interpreter), "-m", "pip", "install", "--quiet", *packages])
            installed.write_text(wanted)
        return interpreter

    @property
    def llama_bench(self) -> Path:
        """llama-bench, built as the package builds llama.cpp."""
        return self._tool("llama-bench")

    @property
    def llama_quantize(self) -> Path:
        """llama-quantize, built as the package builds llama.cpp."""
        return self._tool("llama-quantize")

    @property
    def llama_imatrix(self) -> Path:
        """llama-imatrix, built as the package builds llama.cpp."""
        return self._tool("llama-imatrix")

    @property
    def llama_perplexity(self) -> Path:
        """llama-perplexity, built as the package builds llama.cpp."""
        return self._tool("llama-perplexity")

    @property
    def llama_server(self) -> Path:
        """llama-server, without its web page and without TLS, neither of which runs a model."""
        return self._tool("llama-server", "build-server", *_SERVER)

    @property
    def llama_cli(self) -> Path:
        """llama-cli, which has a server inside."""
        return self._tool("llama-cli", "build-server", *_SERVER)

    def _tool(self, name: str, folder: str = "build", *options: str) -> Path:
        """Build one of llama.cpp's tools: Release, shared libraries, for this machine."""
        build = self.work / folder
        binary = build / "bin" / name
        if not binary.exists():
            tools = self.work / "build-tools"
            if not (tools / "bin" / "ninja").exists():
                run([sys.executable, "-m", "venv", str(tools)])
                run([str(tools / "bin" / "python"), "-m", "pip", "install", "--quiet", "cmake", "ninja"])
            path = os.pathsep.join([str(tools / "bin"), os.environ.get("PATH", "")])
            run(["cmake", "-S", str(self.llama_cpp), "-B", str(build), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                 "-DBUILD_SHARED_LIBS=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF",
                 "-DLLAMA_BUILD_EXAMPLES=OFF", *(options or ("-DLLAMA_BUILD_SERVER=OFF",))], PATH=path)  # fmt: skip
            run(["cmake", "--build", str(build), "--target", name, "--parallel"], PATH=path)
        return binary

    def convert(self, jobs: list[dict[str, str]], interpreter: Path | None = None) -> dict[str, str]:
        """Convert with llama.cpp's own script: {"pre", "checkpoint", "target", "outtype"}; one process for all.

        Args:
            interpreter: None for that with transformers 4.

        Returns:
            The errors of the conversions that failed, by target.
        """
        listed, failures = self.work / "convert.json", self.work / "convert-failures.json"
        listed.write_text(json.dumps(jobs))
        driver = Path(__file__).parent / "drivers" / "convert.py"
        command = [str(interpreter or self.python), str(driver), str(self.llama_cpp), str(listed), str(failures)]
        run(command, quiet=True, PYTHONPATH="")
        found: dict[str, str] = json.loads(failures.read_text())
        return found


def run(command: list[str], *, quiet: bool = False, cwd: Path | None = None, **environment: str) -> str:
    """Run a program to its end and return its output; stop everything when it fails."""
    done = subprocess.run(
        command,
        check=False,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        env={**os.environ, **environment},
    )
    if done.returncode:
        sys.stderr.write((done.stderr or "")[-4000:])
        raise SystemExit(f"parity: '{' '.join(command[:3])} ...' ended with status {done.returncode}")
    return done.stdout
