"""An ONNX model with numbers of 8 bits, by onnxruntime's own quantiser.

Dynamic: weights of matrix products are stored in 8 bits, and the ranges of what they meet are found while it runs.
Static: convolutions too, and all ranges are taken from training data beforehand. Weights keep a range for each output
channel, of 7 bits: on processors without VNNI, sums of 8-bit products saturate.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from forgeline.bundle.inference import batches
from forgeline.export.errors import NotExportable
from forgeline.export.formats import ExportFormat

if TYPE_CHECKING:
    from forgeline.bundle import Bundle

CALIBRATION_SAMPLES = 512
_BATCH = 32
# Convolutions are left to `static`: onnxruntime's integer convolution is slower than the float one on CPUs.
_DYNAMIC = ("Attention", "Gemm", "LSTM", "MatMul")
_STATIC = ("Conv", "Gemm", "MatMul")


def dynamic(bundle: Bundle, content: bytes, samples: Mapping[str, NDArray[Any]]) -> bytes:
    """The model with 8-bit weights.

    Args:
        bundle: whose it is.
        content: the ONNX model.
        samples: as the model takes them, of which a batch is tried.

    Raises:
        NotExportable: nothing in it can be quantised so, or what the quantiser makes of it does not run.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def quantise(source: Path, target: Path) -> None:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=list(_DYNAMIC),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )

    return _quantised(bundle, ExportFormat.INT8_DYNAMIC, content, quantise, samples)


def static(bundle: Bundle, content: bytes, samples: Mapping[str, NDArray[Any]]) -> bytes:
    """The model with 8-bit weights and 8-bit numbers between its layers.

    Args:
        bundle: whose it is.
        content: the ONNX model.
        samples: of the training data, as the model takes them; the first 512 are used.

    Raises:
        NotExportable: nothing in it can be quantised so, or what the quantiser makes of it does not run.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    used = {given.name for given in onnx.ModelProto.FromString(content).graph.input}

    class Samples(CalibrationDataReader):  # type: ignore[misc]  # published without types
        """Hands out the samples in batches."""

        def __init__(self) -> None:
            first = {name: array[:CALIBRATION_SAMPLES] for name, array in samples.items()}
            self._batches = batches(dict(samples) if "seeds" in samples else first, _BATCH)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {name: array for name, array in batch.items() if name in used}

    def quantise(source: Path, target: Path) -> None:
        quantize_static(
            source,
            target,
            Samples(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_STATIC),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )

    return _quantised(bundle, ExportFormat.INT8_STATIC, content, quantise, samples)


def _quantised(
    bundle: Bundle,
    form: ExportFormat,
    content: bytes,
    quantise: Callable[[Path, Path], None],
    samples: Mapping[str, NDArray[Any]],
) -> bytes:
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory(prefix="forgeline-") as folder:
            source, prepared, target = (Path(folder) / name for name in ("source.onnx", "prepared.onnx", "target.onnx"))
            source.write_bytes(content)
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantise(prepared, target)
            written = target.read_bytes()
            _try(written, samples)
    except Exception as error:  # onnxruntime has no common root for what it cannot quantise
        lines = str(error).splitlines() or [""]
        raise NotExportable(
            f"{bundle.name} for {bundle.task} cannot be exported to {form}: {type(error).__name__}: {lines[0][:300]}"
        ) from error
    finally:
        logging.disable(before)
    graph = onnx.ModelProto.FromString(written).graph
    if not any(tensor.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) for tensor in graph.initializer):
        raise NotExportable(
            f"{bundle.name} for {bundle.task} cannot be exported to {form}: it has no "
            f"{' or '.join(_DYNAMIC if form is ExportFormat.INT8_DYNAMIC else _STATIC)} with weights to quantise"
        )
    return written


def _try(content: bytes, samples: Mapping[str, NDArray[Any]]) -> None:
    """Run it once: the quantiser gives graphs that cannot be run for some products of matrices."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the failure is told by its error
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    batch = next(batches(dict(samples), _BATCH))
    session.run(None, {given.name: batch[given.name] for given in session.get_inputs()})
