"""The time of a graph on a calibrated device: the sum over its nodes."""

from collections.abc import Sequence

from profiler.predict.products import Products, interpolated
from profiler.predict.records import GraphWork, NodeWork, ProductWork
from profiler.records.calibration import Calibration, NodeTime, ProductTime


class GraphTimes:
    """What one device takes with one number of threads."""

    def __init__(self, calibration: Calibration, n_threads: int) -> None:
        products: dict[tuple[str, bool], list[ProductTime]] = {}
        for product in calibration.products:
            if product.n_threads == n_threads:
                products.setdefault((product.type, product.repacked), []).append(product)
        self._products = {key: Products(times) for key, times in products.items()}
        nodes: dict[tuple[str, bool], list[NodeTime]] = {}
        for node in calibration.nodes:
            if node.n_threads == n_threads:
                nodes.setdefault((node.kind, node.n_tokens == 1), []).append(node)
        self._nodes = {key: _by_sharing(times) for key, times in nodes.items()}
        self._least_ns = min(each.ns for each in calibration.nodes if each.n_threads == n_threads)
        self._any = {
            one: [(1.0, _by_work([each for (_, of_one), times in nodes.items() if of_one == one for each in times]))]
            for one in (True, False)
        }

    def ns(self, graph: GraphWork, depth: float) -> float:
        """Return the nanoseconds of a pass with so many tokens in the cache before it.

        A token attends to those before it and itself; what is masked costs next to nothing.
        """
        read_bytes, attended = graph.read_bytes, depth + (graph.n_tokens + 1) / 2
        products = sum(count * self._product_ns(each, read_bytes) for each, count in graph.products)
        return products + sum(count * self._node_ns(each, graph.n_tokens, attended) for each, count in graph.nodes)

    def unknown(self, graph: GraphWork) -> set[str]:
        """Return the types and kinds of nodes that were not measured."""
        types = {each.type for each, _ in graph.products if self._of_type(each) is None}
        return types | {each.kind for each, _ in graph.nodes if (each.kind, graph.n_tokens == 1) not in self._nodes}

    def _of_type(self, product: ProductWork) -> Products | None:
        return self._products.get((product.type, product.repacked)) or self._products.get((product.type, False))

    def _product_ns(self, product: ProductWork, read_bytes: int) -> float:
        times = self._of_type(product)
        if times is None:
            return 0.0
        if product.n_tokens == 1:
            one_ns = times.one_token_ns(product.n_cols, product.n_rows, product.n_bytes, read_bytes)
        else:
            one_ns = times.batch_ns(product.n_cols, product.n_rows, product.n_tokens)
        return product.n_matrices * one_ns

    def _node_ns(self, node: NodeWork, n_tokens: int, attended: float) -> float:
        curves = self._nodes.get((node.kind, n_tokens == 1)) or self._any[n_tokens == 1]
        share = min(attended / node.n_positions, 1.0) if node.n_positions else 1.0
        times = [(reads, _at([(0.0, self._least_ns), *points], node.work * share)) for reads, points in curves]
        return interpolated(times, 1 / node.n_sharing)


def _at(points: Sequence[tuple[float, float]], work: float) -> float:
    """Return the time of so much work: between points interpolated, beyond the largest in proportion."""
    largest, ns = points[-1]
    return ns * work / largest if work > largest > 0 else interpolated(points, work)


def _by_sharing(times: Sequence[NodeTime]) -> list[tuple[float, list[tuple[float, float]]]]:
    """Return the curves by what is read of the cache for each query head: all by the first one, nothing by others."""
    groups: dict[float, list[NodeTime]] = {}
    for each in times:
        groups.setdefault(1 / each.n_sharing, []).append(each)
    return [(reads, _by_work(of_group)) for reads, of_group in sorted(groups.items())]


def _by_work(times: Sequence[NodeTime]) -> list[tuple[float, float]]:
    """Return the mean time of each amount of work, in its order."""
    groups: dict[int, list[float]] = {}
    for each in times:
        groups.setdefault(each.work, []).append(each.ns)
    return [(float(work), sum(ns) / len(ns)) for work, ns in sorted(groups.items())]
