"""The networkx views: nodes are the program's own objects, edges say how they are used."""

from __future__ import annotations

import subprocess
import sys

import networkx as nx

from ir.builder import FunctionBuilder
from ir.core import OUTPUTS, Op, Use
from ir.opset import IOS18
from ir.types import FP16, INT32, TensorType
from ir.views import op_graph, value_graph

X = TensorType(FP16, (2,))


def diamond() -> tuple[FunctionBuilder, list[Op]]:
    """x → relu → (tanh, sin) → add; add(relu, relu) apart."""
    f = FunctionBuilder("main", {"x": X}, IOS18)
    relu = f.op("relu", x=f.inputs["x"])
    tanh, sin = f.op("tanh", x=relu), f.op("sin", x=relu)
    add = f.op("add", x=tanh, y=sin)
    twice = f.op("add", name="twice", x=relu, y=relu)
    f.outputs(add)
    return f, [relu, tanh, sin, add, twice]


def loop() -> tuple[FunctionBuilder, dict[str, Op]]:
    """A while loop whose body captures `outer`."""
    f = FunctionBuilder("main", {"i": TensorType(INT32), "x": X}, IOS18)
    ops = {"outer": f.op("relu", name="outer", x=f.inputs["x"])}
    with f.nested({"i": TensorType(INT32), "v": X}) as condition:
        ops["less"] = condition.op("less", name="less", x=condition.inputs["i"], y=f.inputs["i"])
        condition.outputs(ops["less"])
    with f.nested({"i": TensorType(INT32), "v": X}) as body:
        ops["mul"] = body.op("mul", name="mul", x=body.inputs["v"], y=ops["outer"])
        body.outputs(body.inputs["i"], ops["mul"])
    ops["loop"] = f.op("while_loop", name="loop", loop_vars=[f.inputs["i"], f.inputs["x"]], blocks=[condition, body])
    f.outputs(ops["loop"].outputs[1])
    return f, ops


class TestOps:
    def test_the_nodes_are_the_ops_in_program_order(self) -> None:
        f, ops = diamond()
        assert list(op_graph(f.function)) == list(f.block) == ops

    def test_edges_run_from_producers_to_users(self) -> None:
        f, (relu, tanh, sin, add, twice) = diamond()
        assert set(op_graph(f.function).edges) == {(relu, tanh), (relu, sin), (tanh, add), (sin, add), (relu, twice)}

    def test_an_edge_lists_every_use(self) -> None:
        f, ops = diamond()
        relu, twice = ops[0], ops[-1]
        assert op_graph(f.block).edges[relu, twice] == {"uses": [Use(twice, "x", 0), Use(twice, "y", 0)], "captured": False}

    def test_a_captured_value_reaches_the_nested_op_and_the_op_around(self) -> None:
        f, ops = loop()
        graph = op_graph(f.function)
        use = Use(ops["mul"], "y", 0)
        assert graph.edges[ops["outer"], ops["mul"]] == {"uses": [use], "captured": False}
        assert graph.edges[ops["outer"], ops["loop"]] == {"uses": [use], "captured": True}

    def test_a_graph_is_acyclic(self) -> None:
        for f in (diamond()[0], loop()[0]):
            assert nx.is_directed_acyclic_graph(op_graph(f.function))

    def test_a_nested_block_alone_has_its_ops_only(self) -> None:
        _, ops = loop()
        assert ops["mul"].block is not None
        assert list(op_graph(ops["mul"].block)) == [ops["mul"]]


class TestValues:
    def test_the_nodes_are_inputs_and_results(self) -> None:
        f, ops = diamond()
        assert list(value_graph(f.function)) == [*f.function.inputs, *(op.output for op in ops)]

    def test_edges_run_from_operands_to_results(self) -> None:
        f, ops = diamond()
        graph = value_graph(f.function)
        relu, add = ops[0].output, ops[3].output
        assert list(nx.shortest_path(graph, f.function.inputs[0], add))[0:2] == [f.function.inputs[0], relu]
        assert nx.descendants(graph, relu) == {op.output for op in ops[1:]}

    def test_an_edge_lists_every_use(self) -> None:
        f, ops = diamond()
        twice = ops[-1]
        edge = value_graph(f.function).edges[ops[0].output, twice.output]
        assert edge["uses"] == [Use(twice, "x", 0), Use(twice, "y", 0)]

    def test_what_a_nested_block_returns_leads_to_the_results_of_the_op_around(self) -> None:
        f, ops = loop()
        graph = value_graph(f.function)
        body = ops["loop"].blocks[1]
        assert graph.edges[ops["mul"].output, ops["loop"].outputs[1]]["uses"] == [Use(body, OUTPUTS, 1)]

    def test_inputs_of_nested_blocks_come_from_nowhere(self) -> None:
        f, ops = loop()
        graph = value_graph(f.function)
        assert all(graph.in_degree(value) == 0 for block in ops["loop"].blocks for value in block.inputs)

    def test_values_that_share_a_component_are_found(self) -> None:
        f = FunctionBuilder("main", {"x": X, "y": X}, IOS18)
        a, b = f.op("relu", x=f.inputs["x"]), f.op("relu", x=f.inputs["y"])
        components = list(nx.weakly_connected_components(value_graph(f.function)))
        assert sorted(map(len, components)) == [2, 2]
        f.op("add", x=a, y=b)
        assert nx.number_weakly_connected_components(value_graph(f.function)) == 1


def test_networkx_is_imported_with_the_first_graph_only() -> None:
    code = "import sys, ir.views; assert 'networkx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
