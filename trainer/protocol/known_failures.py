"""Words by which frameworks and drivers say what another attempt meets again, or only on that node."""

from __future__ import annotations

from typing import Final

GPU_MEMORY: Final = (
    r"Out of memory error on GPU|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory|cudaErrorMemoryAllocation"
    r"|CUBLAS_STATUS_ALLOC_FAILED"
)
"""A GPU's memory does not hold the batch."""
GPU_FAULT: Final = (
    r"uncorrectable (ECC|NVLink)|\bXid\b|fallen off the bus|cudaErrorECCUncorrectable|cudaErrorHardware"
    r"|CUDA error\((74|214|719)\)"
)
"""A GPU or its link is broken."""
