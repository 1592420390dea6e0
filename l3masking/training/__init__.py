"""Fine-tuning with masked language modelling as an auxiliary task, and masked-LM training alone."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from l3masking.training.evaluation import Task as Task
    from l3masking.training.loop import fine_tune as fine_tune
    from l3masking.training.mlm import MlmConfig as MlmConfig
    from l3masking.training.mlm import train_mlm as train_mlm
    from l3masking.training.outcome import Outcome as Outcome
    from l3masking.training.settings import PRESETS as PRESETS
    from l3masking.training.settings import FinetuneConfig as FinetuneConfig

__getattr__, __all__ = public_names(
    __name__,
    {
        "FinetuneConfig": "settings",
        "MlmConfig": "mlm",
        "Outcome": "outcome",
        "PRESETS": "settings",
        "Task": "evaluation",
        "fine_tune": "loop",
        "train_mlm": "mlm",
    },
)
