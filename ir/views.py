"""networkx graphs of a block or function, for questions about the whole: components, slices, drawings. Build one, ask, drop it.

A graph is a snapshot; the nodes are the ops or values themselves, so answers lead straight back to the program. Edges carry `uses`, a list
of `Use` (user, parameter, position), since one op may use a value several times. networkx is imported here only, where a graph is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ir.core import Block, Function, Op, Use, Value
from ir.walk import walk

if TYPE_CHECKING:
    import networkx as nx


def op_graph(root: Block | Function) -> nx.DiGraph[Op]:
    """Ops, and an edge to each op from every op whose result it uses. Acyclic.

    Ops of nested blocks are nodes too. A value that such an op captures from outside gives an edge to the op itself, and one to each op
    around it that stands beside or below the one that yields the value; the latter, unless the op uses the value itself too, have
    `captured=True`: an op depends on what its nested blocks depend on.
    """
    import networkx as nx

    graph: nx.DiGraph[Op] = nx.DiGraph()
    ops = list(walk(root))
    graph.add_nodes_from(ops)
    for op in ops:
        for value in op.outputs:
            for use in value.uses:
                user = use.user
                if isinstance(user, Op):
                    if user in graph:
                        _add(graph, op, user, use, captured=False)
                    inside: Block | None = user.block
                else:
                    inside = user
                for holder in _holders(inside, op.block):
                    _add(graph, op, holder, use, captured=True)
    return graph


def value_graph(root: Block | Function) -> nx.DiGraph[Value]:
    """Values, and an edge from each value to every result of the ops that use it (`result.op` is then that op).

    Inputs of `root`, and of nested blocks, are nodes as well; those of nested blocks come from nowhere. A value returned by a nested
    block has an edge to each result of the op that holds the block.
    """
    import networkx as nx

    graph: nx.DiGraph[Value] = nx.DiGraph()
    graph.add_nodes_from(root.inputs)
    ops = list(walk(root))
    for op in ops:
        graph.add_nodes_from(value for block in op.blocks for value in block.inputs)
        graph.add_nodes_from(op.outputs)
    for value in list(graph):
        for use in value.uses:
            user = use.user if isinstance(use.user, Op) else use.user.parent
            if not isinstance(user, Op):
                continue
            for result in user.outputs:
                if result in graph:
                    _add(graph, value, result, use)
    return graph


def _add(graph: nx.DiGraph[Any], source: object, target: object, use: Use, captured: bool = False) -> None:
    if not graph.has_edge(source, target):
        graph.add_edge(source, target, uses=[], captured=captured)
    edge = graph.edges[source, target]
    edge["uses"].append(use)
    edge["captured"] = edge["captured"] and captured


def _holders(block: Block | None, outermost: Block | None) -> list[Op]:
    """The ops that hold `block`, from the inside out, up to one that stands in `outermost`."""
    holders: list[Op] = []
    while block is not None and block is not outermost and isinstance(block.parent, Op):
        holders.append(block.parent)
        block = block.parent.block
    return holders if block is outermost else []
