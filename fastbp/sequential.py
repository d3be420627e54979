"""Sequential: a network and every verb that it has, each handed to the room that does it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastbp import losses, training
from fastbp.inspect.explain import explain
from fastbp.inspect.report import Explanation
from fastbp.io import files, model_file
from fastbp.io import sklearn as sklearn_estimators
from fastbp.io import state_dict as state_dicts
from fastbp.io import torch as torch_modules
from fastbp.io.onnx import export
from fastbp.io.pieces import assemble
from fastbp.layers.base import Layer
from fastbp.network.network import Network
from fastbp.network.samples import Evaluation, Samples
from fastbp.training.history import History


class Sequential(Network):
    """A chain of layers, each fed with the output of the one before.

    dtype: "float32" or "float64", of parameters and arithmetic. seed: of the initial parameters, of shuffling and dropout;
    None draws one, which `net.seed` tells.

    `parameters` and `gradients` are flat vectors, without padding: layer by layer the m n weights, then the
    m biases. Of the first layer it is `weight.T` that lies in C order, of the others `weight`. Assigning to them copies in.
    `history` is that of the latest `fit`; `metadata` a dict that `save` keeps. What cannot be set after a network is made
    raises AttributeError.

    Methods that read other libraries' networks (`from_...`) make float64 of parameters where any is float64, otherwise float32
    (of float16 and bfloat16 too), unless `dtype` says otherwise; `seed` is that of the new network. All make copies.
    """

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return f"Sequential({inside}, dtype={self.dtype.name!r}, seed={self.seed})"

    def __str__(self) -> str:
        rows = [f"{i:3d}  {layer!r:60s} {layer.size:>10,d} parameters" for i, layer in enumerate(self.layers)]
        return "\n".join([*rows, f"     {self.dtype.name:60s} {self.parameters.size:>10,d} parameters"])

    # ------------------------------------------------------------------------------------------------------- whole data

    def fit(
        self,
        x: Any,
        y: Any = None,
        loss: Any = "softmax_cross_entropy",
        optimizer: Any = "adam",
        batch_size: int | None = None,
        epochs: int = 1,
        shuffle: bool | None = None,
        validation_data: tuple[Any, ...] | None = None,
        sample_weight: Any = None,
        callbacks: Any = (),
        metrics: Iterable[Any] = (),
        progress: bool = False,
        steps_per_epoch: int | None = None,
    ) -> History:
        """Train on x (rows, inputs) and y, or on minibatches (x, y) that an iterable x hands out; returns the History.

        Rows are shuffled, and batch_size is 32, unless you say otherwise. See `fastbp.training.fit` for all that it does.
        RuntimeError while another thread trains this network, or from within a fit of it.
        """
        with self.turn.taken("fit"):
            return training.fit(
                self, x, y, loss=loss, optimizer=optimizer, batch_size=batch_size, epochs=epochs, shuffle=shuffle,
                validation_data=validation_data, sample_weight=sample_weight, callbacks=callbacks, metrics=metrics,
                progress=progress, steps_per_epoch=steps_per_epoch,
            )  # fmt: skip

    def evaluate(self, x: Any, y: Any, loss: Any = "softmax_cross_entropy", sample_weight: Any = None) -> float:
        """Return the cost over x and y: sum(w_k c_k) / sum(w_k), without dropout."""
        loss = losses.as_loss(loss)
        return Evaluation(self, loss, Samples(self, loss, x, y, sample_weight).checked()).cost()

    def explain(self, batch_size: int = 32, *, loss: Any = None, optimizer: Any = "adam") -> Explanation:
        """Show where the time of a training step goes, and what the machine could do at most: an Explanation, to print.

        loss: None is softmax_cross_entropy, or with one output mean_squared_error.
        A second of training a copy, on random numbers; the network stays as it is.
        """
        return explain(self, batch_size, loss=loss, optimizer=optimizer)

    # ------------------------------------------------------------------------------------------------------------ files

    def save(self, path: str | os.PathLike, metadata: dict[str, Any] | None = None) -> None:
        """Write layers, parameters, seed and metadata to a safetensors file (extra `io`); never leaves half a file. What a
        killed process left of an earlier attempt is cleared away."""
        model_file.save(self, path, self.metadata if metadata is None else metadata)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Sequential:
        """Return the network in a file that `save` wrote; ValueError where it is none, or is damaged."""
        return model_file.load(cls, path)

    # ---------------------------------------------------------------------------------------------------------- PyTorch

    def state_dict(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return the parameters by the names that they have in `torch.nn.Sequential(Linear, activation, Linear, ...)`.

        "0.weight" (m, n), "0.bias" (m,), "2.weight", ...: an activation other than identity, and a dropout, count as
        modules. Arrays in C order, each name after `prefix`. `safetensors.numpy.save_file` makes a file for PyTorch of it.
        """
        return state_dicts.state_dict(self, prefix)

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
        """Return a network of the dense layers whose weight and bias a PyTorch state_dict holds.

        tensors: a mapping of names to arrays or tensors of any library, or the path of a .safetensors file (extra `io`,
        without PyTorch) or of a .pt or .pth file (extra `torch`; tensors alone are unpickled). activation: of all
        layers but the last, or a list with one for every layer. modules: the names of the layers in their order ("fc1",
        "head"); without it, all that begin with `prefix`, by number where they differ in numbers alone ("0", "2", "10"),
        otherwise as the mapping has them; a .safetensors file has no order, so there they are asked for.
        TypeError or ValueError, with the tensor's name, for what is no dense layer or does not fit.
        """
        return assemble(cls, state_dicts.read(tensors, activation, modules, prefix), dtype, seed)

    def to_torch(self) -> Any:
        """Return a `torch.nn.Sequential` with the same forward values (extra `torch`), in evaluation mode: `train()` turns
        its dropout on. ValueError for layers and activations of the user's."""
        return torch_modules.module_of(self.layers, self.dtype.name)

    @classmethod
    def from_torch(cls, module: Any, *, dtype: Any = None, seed: int | None = 0) -> Sequential:
        """Return the network of a `torch.nn.Sequential` of Linear, activations and Dropout, nested or not (extra `torch`).

        Flatten at the start is left out: x is (rows, inputs) in any case. ValueError, with the module's name, for others.
        PyTorch's Softplus is off by 2e-9 above 20, fastbp's is not.
        """
        return assemble(cls, torch_modules.parts_of(module), dtype, seed)

    # ----------------------------------------------------------------------------------------------------- scikit-learn

    def to_sklearn(self, classes: Any = None, multilabel: bool = False) -> Any:
        """Return scikit-learn's own fitted estimator, which predicts the same (extra `sklearn`).

        An MLPRegressor; with `classes`, the labels in ascending order, an MLPClassifier, by softmax over one output for
        each or logistic with one output for two; `multilabel`: a logistic one that may give each row any labels. Two
        outputs for two classes become one, their difference. Dropout is left out. ValueError for what scikit-learn has
        not: activations but identity, sigmoid, tanh and relu, and more than one of them in the hidden layers.
        """
        return sklearn_estimators.estimator_of(self.layers, classes, multilabel)

    @classmethod
    def from_sklearn(cls, mlp: Any, *, dtype: Any = None, seed: int | None = 0) -> Sequential:
        """Return the network of a fitted MLPClassifier or MLPRegressor.

        Its output is what scikit-learn applies softmax, logistic or exp to, the logits that fastbp's costs take: column j
        belongs to `mlp.classes_[j]`; with one column for two classes, it is positive where the second is likelier.
        """
        return assemble(cls, sklearn_estimators.parts_of(mlp), dtype, seed)

    # -------------------------------------------------------------------------------------------------------------- ONNX

    def to_onnx(self, path: str | os.PathLike | None = None, output: str | None = None) -> Any:
        """Return the network as an ONNX model of opset 17 (extra `onnx`), which `path` gets too, whole or not at all.

        Input "x" (batch, inputs) and "output" (batch, outputs) of the network's dtype, batch of any size; `output`:
        "softmax", "sigmoid" or "exp" to end with, for networks of logits. Without dropout. Returns the export.ModelProto,
        which export.checker has passed. ValueError for layers and activations of the user's.
        """
        model = export.model_of(self, output)
        if path is not None:
            files.write_whole(path, model.SerializeToString(deterministic=True))
        return model


Layer.network_class = Sequential  # a layer alone belongs to a network with all methods
