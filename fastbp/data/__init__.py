"""Data that users hand in, as arrays, files or tables: checked, and brought into the form that networks take."""

from fastbp.data.scaling import Standardizer
from fastbp.data.split import train_validation_split

__all__ = ["Standardizer", "train_validation_split"]
