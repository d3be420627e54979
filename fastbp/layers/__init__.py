"""Layers: names, shapes, initial parameters. A network (or the layer alone, as a network of one) does the work."""

from fastbp.layers.base import Layer, layer_at
from fastbp.layers.custom import Custom
from fastbp.layers.dense import Dense
from fastbp.layers.dropout import Dropout
from fastbp.layers.scale import Scale

__all__ = ["Custom", "Dense", "Dropout", "Layer", "Scale", "layer_at"]
