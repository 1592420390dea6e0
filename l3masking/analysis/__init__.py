"""What is masked, and how often: the profile of parts of speech, and the tokens of single texts. Data, no drawing."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from l3masking.analysis.columns import MaskColumn as MaskColumn
    from l3masking.analysis.columns import mask_columns as mask_columns
    from l3masking.analysis.pos_profile import TagProfile as TagProfile
    from l3masking.analysis.pos_profile import tag_profile as tag_profile
    from l3masking.analysis.taggers import find_tagger as find_tagger
    from l3masking.analysis.tagging import Tagger as Tagger
    from l3masking.analysis.tagging import TokenTagger as TokenTagger
    from l3masking.analysis.token_view import TokenView as TokenView
    from l3masking.analysis.token_view import view_tokens as view_tokens

__getattr__, __all__ = public_names(
    __name__,
    {
        "MaskColumn": "columns",
        "TagProfile": "pos_profile",
        "Tagger": "tagging",
        "TokenTagger": "tagging",
        "TokenView": "token_view",
        "find_tagger": "taggers",
        "mask_columns": "columns",
        "tag_profile": "pos_profile",
        "view_tokens": "token_view",
    },
)
