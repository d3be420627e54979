"""Layers: names, shapes, initial parameters. A network (or the layer alone, as a network of one) does the work."""

from fastbp.layers.base import Layer, layer_at
from fastbp.layers.custom import Custom
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout

__all__ = ["Custom", "Dense", "Dropout", "Layer", "layer_at"]  # pickles find layer_at here
