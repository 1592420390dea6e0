"""Which errors mean that the GPU of a process is lost. The peak of a GPU and its shares: estimate/test_peak.py."""

from __future__ import annotations

import pickle

import pytest
import torch

from study.gpu import GpuLost, loss_of

LASTING = [
    torch.AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("Triton Error [CUDA]: device-side assert triggered"),
    RuntimeError("No CUDA GPUs are available"),
]
PASSING = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("CUDA error: in a text of a user"),
    MemoryError(),
]


@pytest.mark.parametrize("error", LASTING, ids=str)
def test_an_error_that_stays_with_the_process_is_a_loss(error: RuntimeError) -> None:
    lost = loss_of(error)
    assert lost is not None
    assert lost.said == str(error).splitlines()[0]
    sent = pickle.loads(pickle.dumps(lost))
    assert (type(sent), sent.said, str(sent)) == (GpuLost, lost.said, str(lost))
    assert str(lost).startswith(f"this process has lost its GPU ({lost.said}): the same command continues")
    assert "\n" not in str(lost)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_other_errors_are_none(error: Exception) -> None:
    assert loss_of(error) is None
