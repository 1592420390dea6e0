"""What a reader of a dataset's results must know of how its trainings are made, in words."""

from __future__ import annotations

from l3masking.data.spec import DataSpec
from study.space.spec import Generated


def remarks_of(name: str, spec: DataSpec | Generated) -> tuple[str, ...]:
    """A sentence for each choice of the dataset `name` that makes its trainings other than those of most datasets."""
    if isinstance(spec, Generated):
        return ()
    found = []
    if spec.mlm != "instance":
        found.append(
            f"{name}: an epoch of the settings is a pass over its masked-LM texts, not those of train, for every "
            "method: all plan the same number of updates and are evaluated after the same updates."
        )
    if spec.per_seed:
        what = " and ".join(spec.cut)
        held = "The deviation over seeds holds the choice of test texts too" if "test" in spec.cut else "Test is given"
        found.append(f"{name}: {what} {'are' if len(spec.cut) > 1 else 'is'} cut anew with each seed. {held}.")
    return tuple(found)
