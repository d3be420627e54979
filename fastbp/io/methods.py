"""What a Sequential gives to other libraries and takes from them, as its methods."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastbp.io import files
from fastbp.io.pieces import assemble
from fastbp.layers.base import Layer

if TYPE_CHECKING:
    from fastbp.sequential import Sequential


class Exchange:
    """The methods of `fastbp.Sequential` that read and make other libraries' networks. Each makes copies.

    Reading makes float64 of parameters where any is float64, otherwise float32 (of float16 and bfloat16 too), unless
    `dtype` says otherwise; `seed` is that of the new network.
    """

    layers: tuple[Layer, ...]
    dtype: np.dtype

    # ---------------------------------------------------------------------------------------------------------- PyTorch

    def state_dict(self, prefix: str = "") -> dict[str, np.ndarray]:
        """The parameters by the names that they have in `torch.nn.Sequential(Linear, activation, Linear, ...)`.

        "0.weight" (m, n), "0.bias" (m,), "2.weight", ...: an activation other than identity, and a dropout, count as
        modules. Arrays in C order, each name after `prefix`. `safetensors.numpy.save_file` makes a file for PyTorch of it.
        """
        from fastbp.io import state_dict

        return state_dict.state_dict(self.layers, prefix)

    @classmethod
    def from_state_dict(
        cls,
        tensors: Mapping[str, Any] | str | os.PathLike,
        activation: Any = "relu",
        *,
        modules: Sequence[str] | None = None,
        prefix: str = "",
        dtype: Any = None,
        seed: int | None = 0,
    ) -> Sequential:
        """A network of the dense layers whose weight and bias a PyTorch state_dict holds.

        tensors: a mapping of names to arrays or tensors of any library, or the path of a .safetensors file (extra `io`,
        without PyTorch) or of a .pt or .pth file (extra `torch`; tensors alone are unpickled). activation: of all
        layers but the last, or a list with one for every layer. modules: the names of the layers in their order ("fc1",
        "head"); without it, all that begin with `prefix`, by number where they differ in numbers alone ("0", "2", "10"),
        otherwise as the mapping has them; a .safetensors file has no order, so there they are asked for.
        TypeError or ValueError, with the tensor's name, for what is no dense layer or does not fit.
        """
        from fastbp.io import state_dict

        return assemble(cls, state_dict.read(tensors, activation, modules, prefix), dtype, seed)

    def to_torch(self) -> Any:
        """A `torch.nn.Sequential` with the same forward values (extra `torch`), in evaluation mode: `train()` turns its
        dropout on. ValueError for layers and activations of the user's."""
        from fastbp.io import torch

        return torch.module_of(self.layers, self.dtype.name)

    @classmethod
    def from_torch(cls, module: Any, *, dtype: Any = None, seed: int | None = 0) -> Sequential:
        """The network of a `torch.nn.Sequential` of Linear, activations and Dropout, nested or not (extra `torch`).

        Flatten at the start is left out: x is (rows, inputs) in any case. ValueError, with the module's name, for others.
        PyTorch's Softplus is off by 2e-9 above 20, fastbp's is not.
        """
        from fastbp.io import torch

        return assemble(cls, torch.parts_of(module), dtype, seed)

    # ----------------------------------------------------------------------------------------------------- scikit-learn

    def to_sklearn(self, classes: Any = None, multilabel: bool = False) -> Any:
        """scikit-learn's own fitted estimator, which predicts the same (extra `sklearn`).

        An MLPRegressor; with `classes`, the labels in ascending order, an MLPClassifier, by softmax over one output for
        each or logistic with one output for two; `multilabel`: a logistic one that may give each row any labels. Two
        outputs for two classes become one, their difference. Dropout is left out. ValueError for what scikit-learn has
        not: activations but identity, sigmoid, tanh and relu, and more than one of them in the hidden layers.
        """
        from fastbp.io import sklearn

        return sklearn.estimator_of(self.layers, classes, multilabel)

    @classmethod
    def from_sklearn(cls, mlp: Any, *, dtype: Any = None, seed: int | None = 0) -> Sequential:
        """The network of a fitted MLPClassifier or MLPRegressor.

        Its output is what scikit-learn applies softmax, logistic or exp to, the logits that fastbp's costs take: column j
        belongs to `mlp.classes_[j]`; with one column for two classes, it is positive where the second is likelier.
        """
        from fastbp.io import sklearn

        return assemble(cls, sklearn.parts_of(mlp), dtype, seed)

    # -------------------------------------------------------------------------------------------------------------- ONNX

    def to_onnx(self, path: str | os.PathLike | None = None, output: str | None = None) -> Any:
        """The network as an ONNX model of opset 17 (extra `onnx`), which `path` gets too, whole or not at all.

        Input "x" (batch, inputs) and "output" (batch, outputs) of the network's dtype, batch of any size; `output`:
        "softmax", "sigmoid" or "exp" to end with, for networks of logits. Without dropout. Returns the export.ModelProto,
        which export.checker has passed. ValueError for layers and activations of the user's.
        """
        from fastbp.io.onnx import export

        model = export.model_of(self.layers, self.dtype, output)
        if path is not None:
            files.write_whole(path, model.SerializeToString(deterministic=True))
        return model
