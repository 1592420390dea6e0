"""Text-classification data: the table of known datasets, readers, sources, splits and checks."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from l3masking.data.known import DATASETS as DATASETS
    from l3masking.data.spec import DataSpec as DataSpec
    from l3masking.data.table import load_data as load_data
    from l3masking.data.textdata import Split as Split
    from l3masking.data.textdata import TextData as TextData

__getattr__, __all__ = public_names(
    __name__,
    {"DATASETS": "known", "DataSpec": "spec", "Split": "textdata", "TextData": "textdata", "load_data": "table"},
)
