"""The language between trainer and policy: prompts out, responses in, ideal answers for supervision."""
