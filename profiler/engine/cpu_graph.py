"""Graphs on ggml's CPU backend without llama.cpp around them. Only a worker process imports this.

Source: ggml.h, ggml-backend.h and ggml-cpu.h of the pinned llama.cpp.
"""

from profiler.engine.ggml import Threadpool, library


class CpuGraph:
    """A graph, and the thread pool that computes it; subclasses make the graph."""

    def __init__(self) -> None:
        self._base, self._cpu = library("ggml-base"), library("ggml-cpu")
        self._backend = self._cpu.ggml_backend_cpu_init()
        self._pool: Threadpool | None = None
        self._buffers: list[int] = []
        self._contexts: list[int] = []
        self._graph = 0

    def set_threads(self, n_threads: int) -> None:
        """Run the next passes on a pool of this many threads."""
        self._free_pool()
        self._pool = Threadpool(n_threads, None)
        self._cpu.ggml_backend_cpu_set_n_threads(self._backend, n_threads)
        self._cpu.ggml_backend_cpu_set_threadpool(self._backend, self._pool.pointer)

    def run(self) -> None:
        """Compute the graph once, in all threads, and wait.

        Raises:
            OSError: ggml could not.
        """
        status = self._base.ggml_backend_graph_compute(self._backend, self._graph)
        if status:
            raise OSError(f"ggml ended a graph with status {status}")

    def _allocate(self, context: int, buffer_type: int) -> None:
        """Give the tensors of a context memory of a buffer type.

        Raises:
            MemoryError: there is not enough.
        """
        buffer = self._base.ggml_backend_alloc_ctx_tensors_from_buft(context, buffer_type)
        if not buffer:
            raise MemoryError
        self._buffers.append(buffer)

    def rest(self) -> None:
        """Stop the threads, which else wait in a loop for the next pass and take time from others."""
        self._free_pool()

    def _free_pool(self) -> None:
        if self._pool:
            self._cpu.ggml_backend_cpu_set_threadpool(self._backend, None)
            self._pool.free()
            self._pool = None

    def _free_tensors(self) -> None:
        for buffer in self._buffers:
            self._base.ggml_backend_buffer_free(buffer)
        for context in self._contexts:
            self._base.ggml_free(context)
        self._buffers, self._contexts = [], []

    def close(self) -> None:
        """Free everything."""
        self._free_pool()
        self._base.ggml_backend_free(self._backend)
        self._free_tensors()
