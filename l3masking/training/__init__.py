"""Fine-tuning with masked language modelling as an auxiliary task, and masked-LM training alone."""
