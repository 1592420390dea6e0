"""Log-likelihoods and entropies from logits, beside log-softmax in float64."""

import pytest
import torch

from l3masking.scoring import vocabulary
from l3masking.scoring.vocabulary import read_predictions


@pytest.mark.parametrize("columns", [7, 64, 4096])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 2e-6)])
def test_values_are_those_of_log_softmax(monkeypatch, dtype: torch.dtype, atol: float, columns: int) -> None:
    """bf16 logits too: what is rounded is the logits alone. Logits of each size, from even to certain predictions."""
    monkeypatch.setattr(vocabulary, "VOCABULARY_SLICE", columns)
    generator = torch.Generator().manual_seed(1)
    sizes = torch.logspace(-3, 3, 20, dtype=torch.float64)[:, None]
    logits = (torch.randn(20, 101, generator=generator, dtype=torch.float64) * sizes).to(dtype)
    logits[3, 17] = -torch.inf  # an id that can't be predicted
    truth = torch.randint(101, (20,), generator=generator)
    truth[:3] = logits[:3].argmax(dim=1)
    expected = logits.double().log_softmax(-1)
    found, entropies = read_predictions(logits, truth, entropy=True)
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    one = expected.gather(1, truth[:, None])[:, 0]
    torch.testing.assert_close(found.double(), one, atol=atol, rtol=atol)
    torch.testing.assert_close(entropies.double(), torch.special.entr(expected.exp()).sum(-1), atol=atol, rtol=atol)
    assert (found <= 0).all()
    torch.testing.assert_close(read_predictions(logits, truth, entropy=False), found[None], atol=0, rtol=0)


def test_no_float32_copy_of_the_logits_is_made() -> None:
    """The largest new memory is that of VOCABULARY_SLICE ids."""
    logits, truth = torch.randn(32, 3 * vocabulary.VOCABULARY_SLICE).bfloat16(), torch.arange(32)
    with torch.profiler.profile(profile_memory=True) as recorded:
        read_predictions(logits, truth, entropy=False)
    most = max(event.self_cpu_memory_usage for event in recorded.events())
    assert 0 < most <= 32 * vocabulary.VOCABULARY_SLICE * 4
