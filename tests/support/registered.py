"""What a plan knows of every registered encoder and dataset; nothing is fetched."""

from l3masking.data.table import DATASETS
from l3masking.encoders.table import ENCODERS
from study.plan.trials import Identities

KNOWN = Identities(
    encoders={name: f"{name}-commit" for name in ENCODERS}, datasets={name: f"{name}-hash" for name in DATASETS}
)
