"""From scores to mask probabilities, and from probabilities to masked batches."""

from l3masking.masking.collator import IGNORED as IGNORED
from l3masking.masking.collator import POLICIES as POLICIES
from l3masking.masking.collator import MaskingCollator as MaskingCollator
from l3masking.masking.collator import MaskingConfig as MaskingConfig
from l3masking.masking.collator import corrupt as corrupt
from l3masking.masking.probabilities import mask_probabilities as mask_probabilities
