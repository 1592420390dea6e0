"""What a finished study is good for: a trained model as a folder with its card, and predictions with it."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from study.use.model_export import export_cell as export_cell
    from study.use.predicted import predict_file as predict_file

__getattr__, __all__ = public_names(__name__, {"export_cell": "model_export", "predict_file": "predicted"})
