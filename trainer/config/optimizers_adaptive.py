"""Optimizers that scale a parameter's step by its gradients so far (PaddleClas d178931, ppcls/optimizer)."""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator

from trainer.config.optimizers import BaseOptimizer


class Adam(BaseOptimizer):
    """Adam (Kingma and Ba, 2015); decay is added to the gradient."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    lazy_mode: bool = False
    """Of sparse gradients, which no network here has."""
    multi_precision: bool = False


class RMSProp(BaseOptimizer):
    """ms = rho × ms + (1 − rho) × g²; v = momentum × v + lr × g / √(ms + epsilon); p −= v."""

    rho: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-6, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    multi_precision: bool = False
    no_weight_decay_name: str | None = None
    """Space-separated parts of parameter names that are not decayed."""
    one_dim_param_no_weight_decay: bool = False


class AdamW(BaseOptimizer):
    """Adam with decoupled weight decay. PaddleClas swallows parameters of it that do not exist."""

    model_config = ConfigDict(extra="allow")

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    multi_precision: bool = False
    no_weight_decay_name: str | None = None
    one_dim_param_no_weight_decay: bool = False

    @model_validator(mode="after")
    def _decoupled(self) -> AdamW:
        if self.regularizer is not None:
            raise ValueError(
                "expected weight_decay, which AdamW keeps apart from the gradient, got regularizer"
            )
        return self


class AdamWDL(BaseOptimizer):
    """AdamW whose learning rate falls from layer to layer towards a transformer's input."""

    model_config = ConfigDict(extra="allow")

    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    layerwise_decay: float | None = Field(default=None, gt=0, le=1)
    """Factor of a layer's learning rate beside that of the layer after it."""
    filter_bias_and_bn: bool = True
    """Let decay leave one-dimensional parameters and biases alone."""

    @model_validator(mode="after")
    def _decoupled(self) -> AdamWDL:
        if self.regularizer is not None:
            raise ValueError(
                "expected weight_decay, which AdamWDL keeps apart from the gradient, got regularizer"
            )
        return self
