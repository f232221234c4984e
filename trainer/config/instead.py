"""Names of PaddleClas that this trainer does not have, and what to use for them."""

from __future__ import annotations

from collections.abc import Mapping

_OWN_IMAGES = "write its images out as files, and `trainer make-lists FOLDER` lists them for ImageNetDataset"
_IDENTITIES = "it serves metric learning, which this trainer does not do; classify with {}"
_BY_IDENTITY = _IDENTITIES.format("DistributedBatchSampler")
_OF_IDENTITIES = _IDENTITIES.format("ImageNetDataset")

_OF_RETRIEVAL = "it serves metric learning, which this trainer does not do; take TopkAcc"

INSTEAD: Mapping[str, str] = {
    "AFDLoss": "it has parameters of its own; take DistillationDistanceLoss of the same features",
    "RecModel": "it serves metric learning, which this trainer does not do; name the backbone as Arch.name",
    "AttentionModel": "it serves AFDLoss, which this trainer does not have; name its network by itself",
    "TripletLossV2": "it serves metric learning, which this trainer does not do; take CELoss",
    "mAP": _OF_RETRIEVAL,
    "mINP": _OF_RETRIEVAL,
    "Recallk": _OF_RETRIEVAL,
    "Precisionk": _OF_RETRIEVAL,
    "Cifar10": _OWN_IMAGES,
    "Cifar100": _OWN_IMAGES,
    "MixDataset": "join its lists into one for ImageNetDataset",
    "MixSampler": "join its lists into one, and use DistributedBatchSampler",
    "PKSampler": _BY_IDENTITY,
    "DistributedRandomIdentitySampler": _BY_IDENTITY,
    "DistributedGivenIterationSampler": _BY_IDENTITY,
    "LogoDataset": _OF_IDENTITIES,
    "VeriWild": _OF_IDENTITIES,
    "Market1501": _OF_IDENTITIES,
    "MSMT17": _OF_IDENTITIES,
    "ICartoonDataset": _OF_IDENTITIES,
    "PersonReIdDataset": _OF_IDENTITIES,
    "DukeMTMC": _OF_IDENTITIES,
    "AdaFaceDataset": _OF_IDENTITIES,
    "FiveValidationDataset": _OF_IDENTITIES,
}
