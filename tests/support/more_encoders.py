"""Small random masked LMs of further types, in folders: those with a fast pass, and those that go through their own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import transformers
from small_encoders import FEED, HEADS, HIDDEN, POSITIONS, SENTENCES, save, wordpiece_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

BERT_NAMES = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
ROBERTA_NAMES = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SIZES = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 3,
    "num_attention_heads": HEADS,
    "intermediate_size": FEED,
    "max_position_embeddings": POSITIONS,
}


def unigram_tokenizer(
    texts: Iterable[str], *, names: Sequence[str] = ROBERTA_NAMES, vocab_size: int = 90, longest: int = 4
) -> PreTrainedTokenizerFast:
    """A SentencePiece tokenizer of the Unigram kind: what stands between blanks is one word.

    names: start, padding, end, unknown and mask; their ids are 0 to 4. longest: characters of a piece, at most. The
    pieces are counted, not trained: the trainer of the library gives another order and other scores in each process.
    """
    start, pad, end, unknown, mask = names
    split = pre_tokenizers.Metaspace()
    words = [word for text in texts for word, _ in split.pre_tokenize_str(text)]
    spans = [(at, at + size) for at in range(max(map(len, words))) for size in range(1, longest + 1)]
    counts = Counter(word[at:end_at] for word in words for at, end_at in spans if end_at <= len(word))
    ordered = sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece], piece))[: vocab_size - len(names)]
    scores = [(piece, math.log(counts[piece] / counts.total())) for piece in ordered]
    unigram = Tokenizer(models.Unigram([*((name, 0.0) for name in names), *scores], unk_id=names.index(unknown)))
    unigram.pre_tokenizer = split
    second = ":1" if names == BERT_NAMES else ""  # token types, as the released tokenizers of either kind have them
    unigram.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B{second} {end}{second}",
        special_tokens=[(name, unigram.token_to_id(name)) for name in (start, end)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=unigram,
        bos_token=start,
        cls_token=start,
        pad_token=pad,
        eos_token=end,
        sep_token=end,
        unk_token=unknown,
        mask_token=mask,
    )


def save_type(folder: Path, model_type: str, tokenizer: Any = None, **settings: Any) -> Path:
    """A random masked LM of one of transformers' types; by default with an uncased WordPiece tokenizer."""
    tokenizer = tokenizer or wordpiece_tokenizer(folder)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep", "bos", "eos")}
    config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **SIZES | ids | settings)
    return save(folder, tokenizer, getattr(transformers, MODEL_FOR_MASKED_LM_MAPPING_NAMES[model_type]), config)


def save_electra(folder: Path) -> Path:
    """A generator, whose embeddings are narrower than its layers."""
    return save_type(folder, "electra", embedding_size=8)


def save_albert(folder: Path) -> Path:
    """Three uses of one layer."""
    tokenizer = unigram_tokenizer(SENTENCES, names=BERT_NAMES)
    return save_type(folder, "albert", tokenizer, embedding_size=8, hidden_act="gelu_new")


def save_albert_in_groups(folder: Path) -> Path:
    """Two groups of two layers each, used three times in all."""
    return save_type(folder, "albert", embedding_size=8, num_hidden_groups=2, inner_group_num=2)


def save_xlm_roberta(folder: Path) -> Path:
    return save_type(folder, "xlm-roberta", unigram_tokenizer(SENTENCES), type_vocab_size=1)


def save_mpnet(folder: Path) -> Path:
    """No token types; a bias by distance, shared by all layers; positions that start behind the padding id 1."""
    return save_type(folder, "mpnet", unigram_tokenizer(SENTENCES))


def save_modernbert(folder: Path) -> Path:
    """Rotary positions; the first layer sees all tokens, the next two a few near ones."""
    return save_type(folder, "modernbert", global_attn_every_n_layers=3, local_attention=4)


def save_deberta_v2(folder: Path) -> Path:
    """Attention to relative positions alone, as in the released models."""
    tokenizer = unigram_tokenizer(SENTENCES, names=BERT_NAMES)
    return save_type(
        folder,
        "deberta-v2",
        tokenizer,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_biased_input=False,
        position_buckets=8,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        type_vocab_size=0,
    )


def save_megatron_bert(folder: Path) -> Path:
    """Norms in front of each part."""
    return save_type(folder, "megatron-bert")


def save_roberta_prelayernorm(folder: Path) -> Path:
    """Positions that start behind the padding id, in a type without a fast pass."""
    return save_type(folder, "roberta-prelayernorm", unigram_tokenizer(SENTENCES), type_vocab_size=1)


FAST: dict[str, Callable[[Path], Path]] = {
    "electra": save_electra,
    "albert": save_albert,
    "albert-in-groups": save_albert_in_groups,
    "xlm-roberta": save_xlm_roberta,
    "mpnet": save_mpnet,
    "modernbert": save_modernbert,
}
OWN: dict[str, Callable[[Path], Path]] = {
    "deberta-v2": save_deberta_v2,
    "megatron-bert": save_megatron_bert,
    "roberta-prelayernorm": save_roberta_prelayernorm,
}
