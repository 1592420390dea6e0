"""Texts and an encoder to time training with; run alone, it prints their sizes.

Without --texts they are generated, with the lengths of ACL-ARC; without --encoder it is a BERT with random weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # l3masking

from processor import processor_name

from l3masking.encoders.load import Encoder, load_encoder
from l3masking.errors import InputError
from l3masking.masking.settings import MaskingConfig
from l3masking.scoring.words import encode_texts
from l3masking.training.steps import Auxiliary, Examples

LONGEST = 128  # ids of a text, specials included
# Deciles (0, 10, ... 100 %) of the number of ids, specials included, cut to 128: first 1,700 training texts (IMDb: of
# the development file), uncased WordPiece vocabulary of BERT
LENGTHS = {
    "acl-arc": (9, 27, 33, 37, 42, 47, 53, 60, 69, 86, 128),
    "ohsumed": (44, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128),
    "imdb": (18, 111, 128, 128, 128, 128, 128, 128, 128, 128, 128),
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@dataclass(frozen=True, eq=False, kw_only=True)
class World:
    """An encoder with its task: every tenth text is validation, the others are train and masked-LM texts."""

    encoder: Encoder
    train: Examples
    validation: Examples
    auxiliary: Auxiliary
    num_classes: int
    words: str  # what this is, for the report


def add_world_arguments(parser: argparse.ArgumentParser) -> None:
    """What `read_world` reads."""
    parser.add_argument("--encoder", type=Path, help="folder of a masked LM; none: a BERT with random weights")
    parser.add_argument("--layers", type=int, default=6, help="of the random BERT")
    parser.add_argument("--hidden", type=int, default=384, help="width of the random BERT; 64 per attention head")
    parser.add_argument("--vocabulary", type=int, default=30522, help="tokens of the random BERT")
    parser.add_argument("--texts", type=Path, help="JSON lines with `text` and `label`; none: generated")
    parser.add_argument("--lengths", choices=LENGTHS, default="acl-arc", help="lengths of the generated texts")
    parser.add_argument("--num-texts", type=int, default=600, help="generated texts")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bf16"), default="float32", help="bf16: under autocast")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")


def read_world(given: argparse.Namespace) -> World:
    """The world of these arguments; the same for the same arguments."""
    rows = read_rows(given.texts) if given.texts else []
    encoder = (
        load_encoder(str(given.encoder), device=given.device)
        if given.encoder
        else random_encoder(given.layers, given.hidden, given.vocabulary, [text for text, _ in rows], given.device)
    )
    if rows:
        texts, names = [text for text, _ in rows], [label for _, label in rows]
        ids = [text.input_ids for text in encode_texts(encoder.tokenizer, texts, max_length=LONGEST)]
    else:
        ids, names = generated_ids(encoder.tokenizer, given.lengths, given.num_texts)
    classes = sorted(set(names))
    labels = torch.tensor([classes.index(name) for name in names])
    train = [index for index in range(len(ids)) if index % 10 != 9]
    held = [index for index in range(len(ids)) if index % 10 == 9]
    masking = MaskingConfig()
    eligible = [np.r_[0.0, np.full(len(ids[index]) - 2, masking.mean), 0.0] for index in train]
    what = given.encoder.name if given.encoder else f"random BERT {given.layers} x {given.hidden}"
    where = f"{given.texts.parent.name}/{given.texts.name}" if given.texts else f"lengths of {given.lengths}"
    return World(
        encoder=encoder,
        train=Examples([ids[index] for index in train], labels[train]),
        validation=Examples([ids[index] for index in held], labels[held]),
        auxiliary=Auxiliary([ids[index] for index in train], eligible, masking),
        num_classes=len(classes),
        words=f"{what}, {where}: {len(ids)} texts, {np.mean([len(row) for row in ids]):.1f} ids each",
    )


def read_rows(path: Path) -> list[tuple[str, str]]:
    """Texts with their labels. Raises InputError where there are fewer than ten."""
    with path.open() as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    if len(rows) < 10:
        raise InputError(f"{path}: {len(rows)} texts; give 10 or more")
    return [(row["text"], str(row["label"])) for row in rows]


def generated_ids(tokenizer: Any, lengths: str, count: int) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Ids drawn from the vocabulary, and six classes; lengths are drawn between the deciles of LENGTHS.

    Seven of twelve texts are of one class: a training learns that at once, so that its loss falls.
    """
    draw, special = np.random.default_rng(7), set(tokenizer.all_special_ids)
    ordinary = np.array([index for index in range(len(tokenizer)) if index not in special])
    ids = []
    for share in draw.random(count):
        length = round(float(np.interp(10 * share, range(11), LENGTHS[lengths])))
        ids.append(np.r_[tokenizer.cls_token_id, draw.choice(ordinary, length - 2), tokenizer.sep_token_id])
    return ids, [str(min(index % 12, 5)) for index in range(count)]


def random_encoder(layers: int, hidden: int, vocabulary: int, texts: list[str], device: str) -> Encoder:
    """A BERT with random weights, whose vocabulary holds the most frequent words of the texts."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    splitter = pre_tokenizers.BertPreTokenizer()
    counted = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(text))
    words = [word for word, _ in counted.most_common(vocabulary - len(SPECIAL)) if word not in SPECIAL]
    fill = [f"[unused{number}]" for number in range(vocabulary - len(SPECIAL) - len(words))]
    numbers = {word: index for index, word in enumerate([*SPECIAL, *words, *fill])}
    backend = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    backend.pre_tokenizer = splitter
    ends = [(word, numbers[word]) for word in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(names, SPECIAL, strict=True)))
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64),
        intermediate_size=4 * hidden,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = BertForMaskedLM(config)
    return Encoder(model=model.to(device).eval(), tokenizer=tokenizer, revision="random", max_positions=512)


def device_words(device: torch.device) -> dict[str, Any]:
    """What a number was measured on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def main() -> None:
    """Print the sizes of a world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_world_arguments(parser)
    world = read_world(parser.parse_args())
    print(f"{world.words}; {len(world.train.labels)} train, {len(world.validation.labels)} validation")


if __name__ == "__main__":
    main()
