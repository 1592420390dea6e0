"""Whether a study's folder is what it claims to be, for somebody who did not make it.

Everything is only read: nothing in the folder is written, moved or run. A module checks one kind of file.
"""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from study.verify.verification import Verification as Verification
    from study.verify.whole_study import verify_study as verify_study

__getattr__, __all__ = public_names(__name__, {"Verification": "verification", "verify_study": "whole_study"})
