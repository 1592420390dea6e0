"""How cells are worded and arranged: what is shown, best, missing, and said about the numbers."""

from __future__ import annotations

import unicodedata

from result_cells import cell

from l3masking.data.spec import DataSpec
from study.report.layout import best, caption, convergence, grid, notes, plain, row_label, shown
from study.results.remarks import remarks_of


def test_a_cell_in_words():
    assert shown(cell(mean=0.71307)) == ("71.31", "1.23", "")
    assert shown(cell(n=2, wanted=3)) == ("75.00", "1.23", "n=2/3")
    assert shown(cell(n=1, wanted=1, std=None)) == ("75.00", "", "")
    assert shown(cell(mean=None, n=0, failed=3)) == ("", "", "failed (0/3)")
    assert shown(cell(mean=None, n=0, failed=0)) == ("", "", "not run (0/3)")
    assert shown(cell(mean=None, n=0, failed=1)) == ("", "", "not run (0/3, 1 failed)")


def test_best_is_per_encoder_and_column_and_ties_on_what_is_printed():
    tie = [cell("stl", 0.70), cell("rtm", 0.75002), cell("l3masking", 0.75004)]  # 75.00 twice
    other = [cell("stl", 0.9, dataset="imdb"), cell("rtm", 0.8, dataset="imdb"), cell("rtm", None, dataset="ohs")]
    alone = [cell("stl", 0.99, encoder="roberta"), cell("rtm", None, encoder="roberta")]
    won = best([*tie, *other, *alone])
    assert won == {tie[1].key, tie[2].key, other[0].key}


def test_grid_keeps_the_order_and_puts_the_columns_of_a_dataset_together():
    given = [
        cell("stl", dataset="b"),
        cell("rtm", dataset="b"),
        cell("rtm", dataset="a"),
        cell("rtm", dataset="b", objective="macro_f1"),
    ]
    layout = grid([*given, cell("stl", encoder="albert", dataset="a")], ["encoder"], ["dataset", "objective"])
    assert layout.columns == (("b", "accuracy"), ("b", "macro_f1"), ("a", "accuracy"))
    assert [(block.heading, [row.label for row in block.rows]) for block in layout.blocks] == [
        (("bert",), ["STL", "RTM"]),
        (("albert",), ["STL"]),
    ]
    assert layout.blocks[0].rows[1].entries == (given[1], given[3], given[2])
    assert layout.blocks[1].rows[0].entries[:2] == (None, None)


def labels(*cells) -> list[str]:
    return [row.label for block in grid(cells, ["encoder"], ["dataset", "objective"]).blocks for row in block.rows]


def test_labels_name_the_variant_and_the_mask_mean_only_where_there_are_several():
    assert labels(cell("stl"), cell("l3masking"), cell("l3masking", variant="w"), cell("mine")) == [
        *("STL", "L3Masking", "L3Masking (w)", "mine")
    ]
    assert labels(cell("stl"), cell("rtm"), cell("rtm", variant="best", mask_mean=0.23)) == [
        *("STL", "RTM (mean 0.15)", "RTM (best, mean 0.23)")
    ]
    assert row_label("l3masking", None, [None, 0.2, 0.2]) == "L3Masking (mean 0.2)"


def test_what_a_search_found_for_each_dataset_is_one_row():
    found = [cell("rtm", variant="best", dataset=name, mask_mean=mean) for name, mean in (("a", 0.23), ("b", 0.4))]
    pending = cell("rtm", None, variant="best", dataset="c", mask_mean=None)
    same = cell("rtm", variant="best", dataset="d", mask_mean=0.23)
    layout = grid([*found, pending, same], ["encoder"], ["dataset", "objective"])
    [row] = layout.blocks[0].rows
    assert row == ("RTM (best, mean 0.23 / 0.4)", (*found, pending, same))
    by_dataset = grid(found, ["encoder", "dataset"], ["objective"])
    assert [block.rows[0].label for block in by_dataset.blocks] == ["RTM (best, mean 0.23)", "RTM (best, mean 0.4)"]


def test_two_means_in_one_column_are_two_rows():
    cells = [cell("rtm", mask_mean=0.15), cell("rtm", mask_mean=0.3), cell("rtm", mask_mean=0.3, dataset="imdb")]
    rows = grid(cells, ["encoder"], ["dataset", "objective"]).blocks[0].rows
    assert [(row.label, row.entries) for row in rows] == [
        ("RTM (mean 0.15)", (cells[0], None)),
        ("RTM (mean 0.3)", (cells[1], cells[2])),
    ]


def test_caption_and_notes_say_what_the_numbers_are():
    text = caption([cell("stl"), cell("rtm")])
    for part in ("percent", "mean ± sample standard deviation", "over 3 seeds", "Average mask probability 0.15"):
        assert part in text
    assert "over 3 to 10 seeds" in caption([cell(), cell("stl", wanted=10)])
    first, *others = notes([cell("stl"), cell("mtl_static"), cell("rtm", n=1, failed=1)])
    assert first == "Records: 7 of 9; 1 failed, 1 not run."
    assert "STL and MTL static" in others[1]
    assert others[0].endswith("share the order of batches of both tasks, STL does not.")
    several = notes([cell(name) for name in ("selective", "stl", "rtm", "mask_tuning")])
    assert several[1].endswith("share the order of batches of both tasks, STL, Selective and Mask-tuning do not.")
    assert (
        several[2] == "All methods but STL, Selective and Mask-tuning learn their task weights from validation labels."
    )
    assert notes([cell("rtm")]) == ["Records: 3 of 3; 0 failed, 0 not run."]


def test_arms_that_had_not_converged_are_named_and_the_rest_is_not():
    done, short = cell("stl", converged=3), cell("rtm", converged=1)
    assert convergence([done]) == [
        "Every training had converged: best epoch in the first 90 % of those allowed, flat training loss."
    ]
    (line,) = convergence([done, short, cell("rtm", objective="macro_f1", converged=2)])
    assert line.startswith(
        "Not converged on bert / arc: RTM (1 of 3 seeds had). Raise train.max_epochs before comparing it"
    )
    lines = convergence([short, cell("stl", converged=0), cell("tapt", converged=2, encoder="other")])
    assert [one.split(". ")[0] for one in lines] == [
        "Not converged on bert / arc: RTM (1 of 3 seeds had), STL (0 of 3)",
        "Not converged on other / arc: TAPT (2 of 3 seeds had)",
    ]
    assert lines[0].endswith("before comparing them.")
    assert line in notes([done, short])
    assert convergence([cell("stl")]) == [], "old records hold no curve that was judged"


def test_what_makes_the_trainings_of_a_dataset_others_is_said_once() -> None:
    told = remarks_of("ohs", DataSpec(train="a.csv", test="b.csv", mlm="units.txt", split_seed="per_seed"))
    assert told == (
        "ohs: an epoch of the settings is a pass over its masked-LM texts, not those of train, for every "
        "method: all plan the same number of updates and are evaluated after the same updates.",
        "ohs: validation is cut anew with each seed. Test is given.",
    )
    assert remarks_of("plain", DataSpec(train="a.csv", test="b.csv")) == ()
    lines = notes([cell("stl", remarks=told), cell("rtm", remarks=told)])
    assert [lines.count(line) for line in told] == [1, 1]


def test_a_matched_arm_is_explained() -> None:
    assert not [line for line in notes([cell("stl"), cell("rtm")]) if "plans" in line]
    (line,) = [line for line in notes([cell("stl_matched"), cell("rtm")]) if "plans" in line]
    assert line.startswith("STL matched plans 3 updates for each update of the other methods")


def test_plain_replaces_every_control_and_invisible_character() -> None:
    for number in range(0x3000):  # each of them beside a letter, by its category
        mark = chr(number)
        assert plain(f"a{mark}") == ("a " if unicodedata.category(mark)[0] in "CZ" else f"a{mark}")
    assert plain("a\ud800b\u2028c") == "a b c"
