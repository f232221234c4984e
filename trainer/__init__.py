"""Fine-tunes, evaluates and exports vision models on PaddlePaddle. Imports nothing of `launcher`."""
