"""What users hand in: arrays, files, tables; checked and brought into the form that networks take."""

from fastbp.data.scaling import Standardizer
from fastbp.data.split import train_validation_split

__all__ = ["Standardizer", "train_validation_split"]
