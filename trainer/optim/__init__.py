"""What `Optimizer` names: the optimizer, and the learning rate as a function of the step."""
