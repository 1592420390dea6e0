"""From scores to mask probabilities, and from probabilities to masked batches."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from l3masking.masking.collator import MaskingCollator as MaskingCollator
    from l3masking.masking.corruption import IGNORED as IGNORED
    from l3masking.masking.corruption import corrupt as corrupt
    from l3masking.masking.policies import POLICIES as POLICIES
    from l3masking.masking.probabilities import mask_probabilities as mask_probabilities
    from l3masking.masking.settings import MaskingConfig as MaskingConfig

__getattr__, __all__ = public_names(
    __name__,
    {
        "IGNORED": "corruption",
        "MaskingCollator": "collator",
        "MaskingConfig": "settings",
        "POLICIES": "policies",
        "corrupt": "corruption",
        "mask_probabilities": "probabilities",
    },
)
