"""Text-classification data: the table of known datasets, readers, sources, splits and checks."""

from l3masking.data.spec import DataSpec as DataSpec
from l3masking.data.table import DATASETS as DATASETS
from l3masking.data.table import load_data as load_data
from l3masking.data.textdata import Split as Split
from l3masking.data.textdata import TextData as TextData
