"""The policy: Qwen2.5-VL weights, prompts as tensors, rotary positions, rollouts and log-probabilities."""
