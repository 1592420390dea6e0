"""Time an STL update of ours against transformers' Trainer: python tests/benchmarks/against_trainer.py [--device cuda].

Trainer has the flags that make it fast: batches of like lengths (`train_sampling_strategy="group_by_length"`), bf16
with `--dtype bf16`, fused AdamW, no filter of losses (which waits for a GPU at each batch), pinned memory and workers
that make the batches on a GPU, and torch.compile with `--compile`. Which of the two is faster depends on the machine:
run both, and compare with the faster one. It needs accelerate: pip install -e '.[dev]', or pip install accelerate.

Both sides train a model of the same size on the same texts with the same batch, schedule and dropout, in one process
and in turns. A turn is `--updates` whole updates: batches, forward, backward, clipping, optimizer and schedule; the
start and evaluation are outside. Ratios are medians over the pairs of turns. On a CPU they are of the process's own
seconds, as others may use the machine; on a GPU of wall time, read when the GPU has finished.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from training import Bench, ratios
from training_stl import updater
from training_world import World, add_world_arguments, device_words, read_world

from l3masking.errors import InputError
from l3masking.training.batches import Chunk, chunk_of
from l3masking.training.settings import OptimConfig
from l3masking.training.steps import Examples

WORKERS = 2  # processes that make Trainer's batches while a GPU works


@dataclasses.dataclass
class Side:
    """What one side did: seconds, mean loss and the masks of its batches [B, T], turn by turn."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    losses: list[float] = dataclasses.field(default_factory=list)
    masks: list[torch.Tensor] = dataclasses.field(default_factory=list)

    def counts(self, batches: int, turns: int) -> dict[str, Any]:
        """Texts, tokens, and positions with padding, of each turn.

        batches: of a turn. Of those that were made ahead, for turns that never came, nothing is counted.
        """
        parts = [self.masks[turn * batches : (turn + 1) * batches] for turn in range(turns)]
        return {
            "texts": [sum(len(mask) for mask in part) for part in parts],
            "tokens": [sum(int(mask.sum()) for mask in part) for part in parts],
            "positions": [sum(mask.numel() for mask in part) for part in parts],
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Watched(Examples):
    """Texts that note the masks of the batches that they are asked for."""

    masks: list[torch.Tensor]

    def chunks(self, *given: Any) -> list[Chunk]:
        made = super().chunks(*given)
        self.masks.extend(chunk.attention_mask for chunk in made)
        return made


class Ours:
    """The model and the updates of an STL training."""

    def __init__(self, bench: Bench, total: int) -> None:
        self.bench, self.side, self.made = bench, Side(), 0
        train = bench.world.train
        watched = Watched(train.input_ids, train.labels, self.side.masks)
        bench.world = dataclasses.replace(bench.world, train=watched)
        model = bench.fresh_model()
        stepper = bench.stepper(model, multi_task=False, buckets=1)
        self.update = updater(model, stepper, bench.config.optim, total)

    def turn(self) -> None:
        """As many updates as a turn has."""
        losses = []
        began = self.bench.now()
        for _ in range(self.bench.given.updates):
            self.made += 1
            losses.append(self.update(self.made)["primary"])
        self.side.seconds.append((self.bench.now() - began) / len(losses))
        self.side.losses.append(torch.stack(losses).mean().item())


def theirs(bench: Bench, ours: Ours, turns: int) -> Side:
    """All turns of Trainer, and ours between them: after an even one those of this pair and of the next."""
    from transformers import PrinterCallback, Trainer, TrainerCallback

    side, given = Side(), bench.given
    began = 0.0

    class Turns(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            nonlocal began
            began = bench.now()

        def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            nonlocal began
            if state.global_step % given.updates:
                return
            side.seconds.append((bench.now() - began) / given.updates)
            while len(side.seconds) % 2 and len(ours.side.seconds) < min(len(side.seconds) + 1, turns):
                ours.turn()
            began = bench.now()

    class Watching(Trainer):
        def training_step(self, model: Any, inputs: Any, *rest: Any) -> torch.Tensor:
            side.masks.append(inputs["attention_mask"])
            return super().training_step(model, inputs, *rest)

    texts, pad_id = bench.world.train, bench.world.encoder.tokenizer.pad_token_id

    def padded(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids = [row["input_ids"] for row in rows]
        return chunk_of(ids, range(len(ids)), torch.tensor([row["labels"] for row in rows]), pad_id)._asdict()

    rows = [
        {"input_ids": ids, "labels": label} for ids, label in zip(texts.input_ids, texts.labels.tolist(), strict=True)
    ]
    with tempfile.TemporaryDirectory(prefix="l3masking-trainer-") as folder:
        arguments = training_arguments(bench, folder, given.updates * turns)
        loop = Watching(classifier(bench), arguments, data_collator=padded, train_dataset=rows, callbacks=[Turns()])
        loop.remove_callback(PrinterCallback)
        # else Trainer takes the loss of a classifier for one that is already divided by the micro-steps, as its forward
        # takes any argument: it would add their gradients instead of averaging them
        loop.model_accepts_loss_kwargs = False
        loop.train()
    side.losses = [entry["loss"] for entry in loop.state.log_history if "loss" in entry]
    return side


def classifier(bench: Bench) -> Any:
    """transformers' own model for classification, with the encoder's weights."""
    from transformers import AutoModelForSequenceClassification

    encoder = bench.world.encoder
    config = copy.deepcopy(encoder.model.config)
    config.num_labels = bench.world.num_classes
    with torch.random.fork_rng():
        model = AutoModelForSequenceClassification.from_config(config)
    model.base_model.load_state_dict(encoder.body.state_dict(), strict=False)
    return model


def training_arguments(bench: Bench, folder: str, updates: int) -> Any:
    """Our settings in Trainer's words, and the flags that make it fast. It saves and evaluates nothing."""
    from transformers import TrainingArguments

    given, optim, on_gpu = bench.given, bench.config.optim, bench.device.type == "cuda"
    return TrainingArguments(
        output_dir=folder,
        max_steps=updates,
        per_device_train_batch_size=given.batch,
        gradient_accumulation_steps=given.accumulate,
        train_sampling_strategy="group_by_length",
        learning_rate=optim.lr,
        weight_decay=optim.decay,
        adam_beta1=optim.betas[0],
        adam_beta2=optim.betas[1],
        adam_epsilon=optim.eps,
        max_grad_norm=optim.clip,
        optim="adamw_torch_fused",
        bf16=given.dtype == "bf16",
        torch_compile=given.compile,
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        dataloader_num_workers=WORKERS if on_gpu else 0,
        dataloader_persistent_workers=on_gpu,
        remove_unused_columns=False,
        logging_strategy="steps",
        logging_steps=given.updates,  # the mean loss of a turn
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds per update of both sides, pair by pair, their ratios, and what shows that both did the same work.

    Raises InputError where they did not: other numbers of texts, or a loss that did not fall.
    """
    torch.set_num_threads(given.threads)
    given.processor_time = given.device == "cpu"
    if min(given.warmup, given.updates, given.pairs) < 1:
        raise InputError("--warmup, --updates and --pairs must be 1 or more")
    bench = Bench(whole_updates(read_world(given), given.batch * given.accumulate), given)
    bench.config = dataclasses.replace(bench.config, optim=OptimConfig(lr=given.lr))
    turns, batches = given.warmup + given.pairs, given.updates * given.accumulate
    ours = Ours(bench, given.updates * turns)
    sides = {"ours": ours.side, "trainer": theirs(bench, ours, turns)}
    found = {
        "world": bench.world.words,
        **device_words(bench.device),
        **{
            key: getattr(given, key)
            for key in ("batch", "accumulate", "updates", "pairs", "warmup", "dtype", "compile")
        },
        "clock": "processor" if given.processor_time else "wall",
        "seconds": {name: side.seconds[given.warmup :] for name, side in sides.items()},
        "losses": {name: side.losses for name, side in sides.items()},
        "read": {name: side.counts(batches, turns) for name, side in sides.items()},
    }
    check(found)
    found["ratios"] = ratios(found["seconds"]["ours"], found["seconds"]["trainer"])
    longer = ratios(*(found["read"][name]["tokens"][given.warmup :] for name in ("trainer", "ours")))
    per_token = [ratio * more for ratio, more in zip(found["ratios"], longer, strict=True)]
    return found | {"median": statistics.median(found["ratios"]), "median_per_token": statistics.median(per_token)}


def whole_updates(world: World, texts: int) -> World:
    """The world with as many train texts as make whole updates of `texts` each, so that no batch is smaller."""
    kept = len(world.train.labels) // texts * texts
    if not kept:
        raise InputError(f"an update takes {texts} texts, and there are {len(world.train.labels)}: lower --batch")
    return dataclasses.replace(world, train=Examples(world.train.input_ids[:kept], world.train.labels[:kept]))


def check(found: dict[str, Any]) -> None:
    """Raise InputError where the sides did not do the same, or did not learn."""
    texts = {name: read["texts"] for name, read in found["read"].items()}
    wanted = found["batch"] * found["accumulate"] * found["updates"]
    if {wanted} != {number for numbers in texts.values() for number in numbers}:
        raise InputError(f"texts of each turn: {texts}; they must be {wanted}, or the times do not compare")
    for name, losses in found["losses"].items():
        later = statistics.fmean(losses[len(losses) // 2 :])  # one turn alone may read hard texts
        if not later < losses[0]:
            raise InputError(
                f"the loss of {name} did not fall: {losses[0]:.3f} in the first turn, {later:.3f} in the later half; "
                f"give more --updates or another --lr"
            )


def describe(found: dict[str, Any]) -> str:
    """The numbers in lines of text."""
    medians = {name: statistics.median(values) for name, values in found["seconds"].items()}
    tokens, places = (
        {name: sum(read[what]) for name, read in found["read"].items()} for what in ("tokens", "positions")
    )
    padding = {name: 1 - tokens[name] / places[name] for name in tokens}
    losses = {name: f"{values[0]:.3f} to {values[-1]:.3f}" for name, values in found["losses"].items()}
    return "\n".join(
        [
            f"{found['world']}; {found['dtype']}, batch {found['batch']} x {found['accumulate']}"
            + (", Trainer compiled" if found["compile"] else ""),
            f"{found['device']}, {found['threads']} threads, torch {found['torch']}; {found['pairs']} pairs of turns, "
            f"{found['updates']} updates each",
            f"STL update / Trainer's update: {found['median']:.3f} ({min(found['ratios']):.3f} to "
            f"{max(found['ratios']):.3f}; bar: at most 0.7, aim 0.5)",
            f"{found['clock']} seconds per update: ours {medians['ours']:.4f}, Trainer's {medians['trainer']:.4f}",
            f"the ratio per token: {found['median_per_token']:.3f}; tokens of all turns: ours {tokens['ours']}, "
            f"Trainer's {tokens['trainer']}; padding: ours, before it is taken out, {padding['ours']:.0%}, Trainer's "
            f"{padding['trainer']:.0%}",
            f"loss, first turn to last: ours {losses['ours']}, Trainer's {losses['trainer']}",
        ]
    )


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_world_arguments(parser)
    parser.add_argument("--batch", type=int, default=64, help="texts per micro-step")
    parser.add_argument("--accumulate", type=int, default=2, help="micro-steps per update")
    parser.add_argument("--updates", type=int, default=4, help="updates per turn")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of turns that count")
    parser.add_argument("--warmup", type=int, default=1, help="pairs of turns before them")
    parser.add_argument("--lr", type=float, default=OptimConfig.lr, help="first learning rate of both sides")
    parser.add_argument("--compile", action="store_true", help="Trainer with torch_compile=True")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    return parser


def main() -> None:
    """Print the ratio and what shows that both sides did the same work, and write all numbers."""
    given = arguments().parse_args()
    found = measure(given)
    if given.json:
        given.json.write_text(json.dumps(found) + "\n")
    print(describe(found))


if __name__ == "__main__":
    main()
