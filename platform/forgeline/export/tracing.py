"""A model as a graph: traced by torch.export, written as a pt2 archive or, by torch's own exporter, as ONNX.

Unusual: what torch would write beside the graph is left out, that is the traced samples, which are a user's data, and
the source lines of each operation, which name folders of this machine. Without them the archive holds no pickle either.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forgeline.errors import BundleError
from forgeline.export.errors import NotExportable
from forgeline.export.formats import ExportFormat
from forgeline.export.forward import answering, output_of
from forgeline.export.manifest import LARGEST_MODEL_BYTES
from forgeline.export.pt2_archive import reason_to_refuse

if TYPE_CHECKING:
    import onnx
    from torch import nn
    from torch.export import ExportedProgram

    from forgeline.bundle import Bundle

_TRACED_ROWS = 4  # two would do; 0 and 1 are sizes that a graph is specialised to
_NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")


def trace(bundle: Bundle, model: nn.Module, inputs: Mapping[str, NDArray[Any]]) -> ExportedProgram:
    """The model as a graph in which the first axis of every input may vary.

    Args:
        bundle: whose model it is.
        model: the bundle's, or one that was pruned; it is not changed.
        inputs: encoded samples, in the order of the graph's arguments.

    Raises:
        NotExportable: it is no graph; the message names the family and the reason.
    """
    import torch

    output_of(bundle)
    forward = answering(copy.deepcopy(model).cpu().eval(), bundle.task, tuple(inputs))
    examples = tuple(torch.from_numpy(array) for array in _some(inputs).values())
    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in examples)
    try:
        with torch.no_grad(), quietly():
            program = torch.export.export(forward, examples, dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # torch has no common root for what it cannot trace
        raise NotExportable(_refusal(bundle, ExportFormat.PT2, error)) from error
    return program


def pt2_archive(bundle: Bundle, program: ExportedProgram) -> bytes:
    """The graph with its weights, as `torch.export.load` reads it, without notes, guards and samples.

    Raises:
        NotExportable: something in it would not be opened again.
    """
    import torch

    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for note in _NOTES:
                    node.meta.pop(note, None)
    program._example_inputs = None
    program._guards_code = []  # Python source, which would be run; the loader checks shapes by itself
    stream = io.BytesIO()
    with quietly():
        torch.export.save(program, stream)
    content = _within(stream.getvalue())
    reason = reason_to_refuse(content)
    if reason is not None:
        raise NotExportable(f"{bundle.name} for {bundle.task} cannot be exported to {ExportFormat.PT2}: {reason}")
    return content


def onnx_model(bundle: Bundle, program: ExportedProgram, names: tuple[str, ...]) -> bytes:
    """The graph with its weights as ONNX, checked by onnx's own checker.

    Raises:
        NotExportable: ONNX has no operator for something in it.
    """
    import onnx
    import torch

    try:
        with torch.no_grad(), quietly():
            written = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=list(names),
                output_names=[output_of(bundle).name],
            )
        assert written is not None
        graph = written.model_proto
        _without_notes(graph)
        onnx.checker.check_model(graph, full_check=True)
    except Exception as error:  # neither torch nor onnx has a common root for what has no operator
        raise NotExportable(_refusal(bundle, ExportFormat.ONNX, error)) from error
    return _within(graph.SerializeToString())


def _without_notes(graph: onnx.ModelProto) -> None:
    for holder in (graph, graph.graph, *graph.graph.node, *graph.functions):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    for function in graph.functions:
        for node in function.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        value.ClearField("metadata_props")


def _some(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """A few samples to trace with; a graph whole."""
    if "seeds" in inputs:
        return dict(inputs)
    rows = len(next(iter(inputs.values())))
    chosen = np.arange(_TRACED_ROWS) % rows
    return {name: array[chosen] for name, array in inputs.items()}


def _within(content: bytes) -> bytes:
    if len(content) > LARGEST_MODEL_BYTES:
        raise BundleError(
            f"the exported model has {len(content):,} bytes; a file of one has at most {LARGEST_MODEL_BYTES:,}: "
            "export it with --to safetensors"
        )
    return content


def _refusal(bundle: Bundle, form: ExportFormat, error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    reason = lines[0] if lines else "no reason given"
    return f"{bundle.name} for {bundle.task} cannot be exported to {form}: {type(cause).__name__}: {reason[:300]}"


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without what torch tells of its own steps, on stdout and by warnings; a failure is told by its error."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
